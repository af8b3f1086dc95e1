"""Foreign bytes pass `streams.foreign`: no other place decodes them, but for those that are listed with a reason."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

HOME = Path(__file__).parents[2]
HELPER = "streams/foreign.py"
# What decodes, as it is called. `bytes.decode()` is strict where no handler is named.
DECODERS = {"loads", "Decoder", "JSONDecoder", "raw_decode"}
OWN = {"dumps", "b64encode", "urlsafe_b64encode", "encode", "urandom"}  # what these return is ours: ASCII or UTF-8
# Where else: how many calls, and why they may. The list may only shrink.
EXEMPT: dict[str, tuple[int, str]] = {
    "streams/ingest.py": (4, "the measured decoders of the hot path; they catch the same"),
    "streams/strict_json.py": (4, "the slow road of ingest: it catches each error to name it, and `_repeats` is last"),
    "streams/publish.py": (2, "`cut` catches the error to find the character that the cut went through"),
    "streams/shed_text.py": (1, "the entity of a glance, which was read as text"),
    "streams/runtime/evaluators/child_main.py": (1, "the question, which is ours; runs without anything of ours"),
    "streams/runtime/broker/relock.py": (1, "our own lock"),
    "agents/audit/scan.py": (3, "the judge imports nothing of `streams`, and finds its own faults"),
    "agents/audit/events.py": (1, "likewise"),
    "agents/desk/keys.py": (1, "a file of the user's, which is refused with a sentence"),
    "agents/workflows/billing/compare.py": (1, "records of its own run, on a Kafka of its own"),
    "agents/demo/run.py": (1, "what our own audit printed"),
}


def decodes(text: str) -> int:
    """How many calls in a module decode bytes."""
    return sum(_decodes(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))


def _decodes(call: ast.Call) -> bool:
    called = call.func
    if isinstance(called, ast.Name):
        return called.id in DECODERS
    if not isinstance(called, ast.Attribute):
        return False
    if called.attr in DECODERS:
        return True
    if called.attr != "decode":
        return False
    if call.args and isinstance(called.value, ast.Attribute) and called.value.attr == "json":
        return True  # msgspec.json.decode(...)
    inner = called.value
    ours = isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and inner.func.attr in OWN
    return not call.args and not call.keywords and not ours


def test_no_other_place_decodes_foreign_bytes() -> None:
    found: Counter[str] = Counter()
    for room in ("streams", "agents"):
        for path in sorted((HOME / room).rglob("*.py")):
            found[path.relative_to(HOME).as_posix()] = decodes(path.read_text(encoding="utf-8"))
    found.pop(HELPER)
    assert dict(+found) == {name: count for name, (count, _) in EXEMPT.items()}, (
        "read foreign bytes with streams.foreign; the list of exemptions may only shrink"
    )


def test_the_search_finds_what_it_looks_for() -> None:
    assert decodes("orjson.loads(value)") == decodes("value.decode()") == decodes("msgspec.json.decode(v)") == 1
    assert decodes("msgspec.json.Decoder(Review).decode") == decodes("loads(value)") == 1
    assert decodes("value.decode('utf-8', 'replace')") == decodes("orjson.dumps(body).decode()") == 0
