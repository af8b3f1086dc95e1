"""A policy document out of JSON or YAML values: the typed document, or what is wrong with its shape, in our words.

msgspec names types where an owner knows words, and leaves out the names of conditions and segments on the way; both
are put right here, so that a fault always has its path, what was found and what was expected.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from schemas.policy import Condition, PolicyDocument, Segment
from streams.foreign import Unreadable, json_of
from streams.terms import Problem

DOCUMENT_BYTES_MAX = 1024 * 1024  # as JSON: the topic `policies` carries it whole, in one record
CURRENCY_CODE = "an ISO 4217 code: three capital letters"
_JSON = "a policy document in JSON"
_STEP = re.compile(r"\[(?:\.\.\.|(\d+))\]|\.?([^.\[]+)")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "fields with values",
    "null": "nothing",
    " | ": ", or ",
}
_WORD = re.compile("|".join(map(re.escape, _WORDS)))
_DURATION = re.compile(
    r"freshness\.(budget|total|skew_tolerance|segments\..+\.budget|allowance\.(initial|at_least|at_most))"
    r"|evaluator\.timeout|boundary\.exposure\[\d+\]\.window|review\.sla"
)
SPAN = "a length of time with its unit, such as 250ms, 90s, 10m or 1h30m"
# where msgspec names types and we know words
_EXPECTED = {
    _DURATION: SPAN,
    re.compile(r"freshness\.(segments\..+\.)?on_stale"): "drop, reevaluate or escalate",
    re.compile(r"boundary\.rules\[\d+\]\.then"): "autonomous, escalate or block",
    re.compile(r"freshness\.allowance"): f"{SPAN}, or initial and at_most where it is measured",
    re.compile(r"freshness\.context"): (
        "any, or a list of fields of the context's state; without the line it is not looked at"
    ),
    re.compile(r"freshness\.overload"): "fields with values, {} for the usual ones",
    re.compile(r".+\.currency"): CURRENCY_CODE,
    re.compile(r".+\.limits\.reversible"): "true; without the line, reversible or not is all the same",
}


def read_document(value: bytes | None) -> tuple[PolicyDocument | None, list[Problem]]:
    """The document in these bytes of JSON, or everything that is wrong with its shape. Raises nothing.

    What it means is not looked at: that is `streams.policy.compile_policy`.
    """
    if not value:
        return None, [Problem("", "nothing", _JSON)]
    if len(value) > DOCUMENT_BYTES_MAX:
        return None, [_too_large(len(value))]
    content = json_of(value)
    if isinstance(content, Unreadable):
        return None, [Problem("", f"a mistake ({content.why[:300]})", _JSON)]
    return document_of(content)


def document_of(content: Any) -> tuple[PolicyDocument | None, list[Problem]]:
    """The document in what YAML or JSON was read into: dicts, lists and scalars. Raises nothing."""
    try:
        if (odd := _odd(content, "")) is not None:
            return None, [odd]
        document = msgspec.convert(content, PolicyDocument)
        size_bytes = len(msgspec.json.encode(document))
        return (document, []) if size_bytes <= DOCUMENT_BYTES_MAX else (None, [_too_large(size_bytes)])
    except msgspec.ValidationError as error:
        return None, [_problem(str(error), content)]
    except (RecursionError, OverflowError, ValueError) as error:
        return None, [Problem("", f"what cannot be taken in ({error})", "a policy document")]


def _odd(content: Any, path: str) -> Problem | None:
    """What YAML has and a policy has not: sets, and texts that nobody can write again."""
    if isinstance(content, str):
        if content.isascii() or content.encode(errors="replace").decode(errors="replace") == content:
            return None
        return Problem(path, f"{content!a:.80}", "text: half a character stands in it")
    if isinstance(content, dict):
        for name, inner in content.items():
            own = name if isinstance(name, str) else "..."
            found = _odd(name, path) or _odd(inner, f"{path}.{own}".removeprefix(".")[:200])
            if found is not None:
                return found
    elif isinstance(content, (list, tuple)):
        return next((one for at, inner in enumerate(content) if (one := _odd(inner, f"{path}[{at}]"))), None)
    elif isinstance(content, (set, frozenset)):
        return Problem(path, "a set", "a list: values, each after a dash or within [ ]")
    return None


def _too_large(size_bytes: int) -> Problem:
    return Problem(
        "", f"{size_bytes} bytes as JSON", f"at most {DOCUMENT_BYTES_MAX}: the topic carries it in one record"
    )


def _problem(text: str, content: Any) -> Problem:
    """msgspec's "Expected `int`, got `str` - at `$.version`" in our words, with what stands there."""
    what, _, where = text.replace("`", "").partition(" - at ")
    path, found = _resolve(where.removeprefix("key in ").removeprefix("$").removeprefix("."), content)
    field = what.rpartition(" ")[2]
    if what.startswith("Object missing required field "):
        return Problem(".".join(filter(None, (path, field))), "nothing", "this field")
    if what.startswith("Object contains unknown field "):
        return Problem(path, f"an unknown field {field}", "only the fields that a policy has")
    if where.startswith("key in "):
        return Problem(path, "a name that is no text", "names that are text, in quotes where need be")
    return Problem(path, "nothing" if found is None else f"{found!r:.80}", _expected(what, path))


def _expected(what: str, path: str) -> str:
    for place, words in _EXPECTED.items():
        if place.fullmatch(path):
            return words
    return _WORD.sub(lambda word: _WORDS[word[0]], what.removeprefix("Expected ").partition(", got ")[0])


def _resolve(where: str, content: Any) -> tuple[str, Any]:
    """The path with the names of conditions and segments, which msgspec leaves out, and what stands there."""
    path = ""
    for index, given in _STEP.findall(where):
        if index:
            inner = content[int(index)] if isinstance(content, (list, tuple)) and int(index) < len(content) else None
            path, content = f"{path}[{index}]", inner
            continue
        name = given or _first_wrong(content, Segment if path == "freshness.segments" else Condition)
        path, content = f"{path}.{name}".removeprefix("."), content.get(name) if isinstance(content, dict) else None
    return path, content


def _first_wrong(named: Any, kind: type[Condition | Segment]) -> str:
    for name, given in named.items() if isinstance(named, dict) else ():
        try:
            msgspec.convert(given, kind)
        except msgspec.ValidationError:
            return str(name)
    return "..."
