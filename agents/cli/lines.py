"""One record as one line for a person: when, where, who, what happened and why, how old, how much.

Values come from outside and go to a terminal: control characters are shown, never passed on.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from agents.readable import duration, money
from streams.foreign import Unreadable, json_of, object_of, text_of

TEXT_CHARS_MAX = 160  # of an unreadable value or a detail: a line, not a page
TIME_MS_MAX = 253_402_300_799_999  # what a datetime can hold


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as it was read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """`color` is a name that click.style knows; it belongs to `what`."""

    where: str
    who: str
    what: str
    tail: str
    color: str


def printable(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """The text without control characters, cut."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[: chars_max + 1])
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


def as_line(kind: str, seen: Seen) -> Line:
    body = object_of(seen.value)
    where = f"{_clock(seen.timestamp_ms)} {seen.partition}/{seen.offset}"
    if kind == "context" and seen.value is None:
        return Line(where, _text(seen.key), "removed: it has no context any more", "", "yellow")
    if body is None:
        text = "tombstone" if seen.value is None else (seen.value[: 4 * TEXT_CHARS_MAX].decode("utf-8", "replace"))
        return Line(where, _text(seen.key), printable(text), f"{len(seen.value or b'')} bytes", "red")
    what, color = _WHAT.get(kind, _other)(body)
    ident = next((body[name] for name in _IDS if isinstance(body.get(name), str)), "")
    who = printable(f"{body.get('entity') or _text(seen.key)} {ident}".strip(), 100)
    return Line(where, who, printable(what, 2 * TEXT_CHARS_MAX), _age_and_value(body, seen.timestamp_ms), color)


def as_document(seen: Seen) -> bytes:
    """One JSON object on one line, the value's own bytes within it; `raw` instead where it is not JSON."""
    head: dict[str, Any] = {
        "topic": seen.topic,
        "partition": seen.partition,
        "offset": seen.offset,
        "timestamp_ms": seen.timestamp_ms,
        "key": None if seen.key is None else seen.key.decode("utf-8", "backslashreplace"),
        "value": None,
        "headers": header_texts(seen.headers),
    }
    if seen.value is not None:
        if isinstance(json_of(seen.value), Unreadable):
            head |= _raw(seen.value)
        else:
            # line breaks can only stand between tokens there, where a space means the same
            head["value"] = orjson.Fragment(seen.value.replace(b"\r", b" ").replace(b"\n", b" "))
    return orjson.dumps(head)


def header_texts(headers: Sequence[tuple[str, bytes | None]]) -> dict[str, str | list[str | None] | None]:
    """Headers by name as text, what is not UTF-8 with backslashes; one that stands more than once is a list."""
    found: dict[str, list[str | None]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(None if value is None else value.decode("utf-8", "backslashreplace"))
    return {name: texts[0] if len(texts) == 1 else texts for name, texts in found.items()}


def _raw(value: bytes) -> dict[str, str]:
    text = text_of(value)
    return {"raw_base64": base64.b64encode(value).decode()} if text is None else {"raw": text}


def _text(key: bytes | None) -> str:
    return "(no key)" if key is None else printable(key.decode("utf-8", "replace"), 80)


def _clock(time_ms: int) -> str:
    told_ms = min(max(time_ms, 0), TIME_MS_MAX)  # a record's timestamp can be anything
    return f"{datetime.fromtimestamp(told_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}.{told_ms % 1000:03d}Z"


def _age_and_value(body: dict[str, Any], timestamp_ms: int) -> str:
    inner = body.get("decision")
    source = body if "value_minor" in body or not isinstance(inner, dict) else inner
    age_ms = body.get("age_ms")
    seen_at_ms = body.get("observed_at_ms", body.get("at_ms") if "state" in body else None)
    if age_ms is None and isinstance(seen_at_ms, int):
        age_ms = max(0, timestamp_ms - seen_at_ms)
    shown = [f"age {duration(age_ms)}"] if isinstance(age_ms, int) else []
    if isinstance(source.get("value_minor"), int) and isinstance(source.get("currency"), str):
        shown.append(money(source["value_minor"], printable(source["currency"], 3)))
    return "  ".join(shown)


def _rule(body: dict[str, Any]) -> str:
    named = ", ".join(str(body[name]) for name in ("rule", "policy") if body.get(name))
    return f" ({named})" if named else ""


def _command(body: dict[str, Any]) -> tuple[str, str]:
    return f"{body.get('authority')}: {body.get('reason')}{_rule(body)}", "green"


def _review(body: dict[str, Any]) -> tuple[str, str]:
    reasons = body.get("reasons")
    why = ", ".join(map(str, reasons)) if isinstance(reasons, list) else "?"
    return f"for {body.get('queue')}: {why}{_rule(body)}", "yellow"


def _exception(body: dict[str, Any]) -> tuple[str, str]:
    attempt, first = body.get("attempt"), body.get("first_reason")
    before = f" (attempt {attempt}, first {first})" if isinstance(attempt, int) and attempt > 1 else ""
    return f"{body.get('reason')}: {body.get('detail')}{before}", "red"


def _reevaluation(body: dict[str, Any]) -> tuple[str, str]:
    gated_at_ms, final_ms = body.get("gated_at_ms"), body.get("final_deadline_ms")
    left = ""
    if isinstance(gated_at_ms, int) and isinstance(final_ms, int):
        left = f", {duration(max(0, final_ms - gated_at_ms))} left"
    named = f" ({body['policy']})" if body.get("policy") else ""
    return f"ask again after attempt {body.get('attempt')}{left}: {body.get('reason')}: {body.get('detail')}{named}", (
        "magenta"
    )


def _successor(body: dict[str, Any]) -> tuple[str, str]:
    proposed, color = _decision(body)
    return f"attempt {body.get('attempt')} after {body.get('cause')}: {proposed}", color


def _context(body: dict[str, Any]) -> tuple[str, str]:
    return f"version {body.get('version')}: {orjson.dumps(body.get('state')).decode()}", "blue"


def _decision(body: dict[str, Any]) -> tuple[str, str]:
    action = body.get("action")
    kind = action.get("type") if isinstance(action, dict) else None
    by = f" by {body['model']}" if body.get("model") else ""
    sure = f", confidence {body['confidence']}" if body.get("confidence") is not None else ""
    return f"{body.get('workflow')} proposes {kind or 'an action'}{by}{sure}", "cyan"


def _receipt(body: dict[str, Any]) -> tuple[str, str]:
    status = body.get("status")
    detail = f": {body['detail']}" if body.get("detail") else ""
    return f"{status}{detail}", "green" if status == "executed" else "red"


def _other(body: dict[str, Any]) -> tuple[str, str]:
    return orjson.dumps(body).decode(), "white"


_IDS = ("decision_id", "id", "command_id", "review_id", "exception_id", "request_id")
_WHAT: dict[str, Callable[[dict[str, Any]], tuple[str, str]]] = {
    "commands": _command,
    "reviews": _review,
    "exceptions": _exception,
    "decisions": _decision,
    "successors": _successor,
    "reevaluations": _reevaluation,
    "context": _context,
    "receipts": _receipt,
}
