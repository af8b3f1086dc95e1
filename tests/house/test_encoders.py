"""Records that people and roles write outside the measured path leave by one helper, which reads them back."""

from __future__ import annotations

import ast
from pathlib import Path

HOME = Path(__file__).parents[2]
# who encodes with msgspec itself, and why what it writes can be read all the same
PROVED = "on the measured path: tests/streams/test_path.py holds its outputs against the schemas, whatever comes in"
OURS = "read by this program alone, in the same version or by an older worker's successor"
MAY = {
    "streams/encoding.py": "the helper",
    "schemas/asyncapi.py": "examples of the documentation, held against the schemas by their tests",
    "schemas/examples.py": "the same",
    "streams/publish.py": PROVED,
    "streams/command_text.py": PROVED,
    "streams/shed_text.py": "on the measured path: tests/streams/test_shedding.py holds it against publish.py",
    "streams/sampling.py": PROVED,
    "streams/rejections.py": "no field of its own has a limit: tests/streams/test_rejections.py",
    "streams/reevaluation.py": "its successors pass ingest before they are sent: tests/streams/test_reevaluation.py",
    "streams/review_records.py": "made of records that were read: tests/streams/test_reviews_machine.py",
    "streams/review_life.py": "a decision to be judged, which passes ingest",
    "streams/review_open.py": OURS,
    "streams/review_reading.py": OURS,
    "streams/leases.py": OURS,
    "streams/truths.py": OURS,
    "streams/window.py": "hashed, not written",
    "streams/cel.py": "what an expression looks at, measured",
    "streams/document.py": "measured, not written",
    "streams/runtime/store/facts.py": "the store of reviews, which is made anew from the topics",
    "streams/runtime/evaluators/child.py": "the answer of a function that gave none",
    "agents/backtest/differences.py": "compared, not written",
    "agents/backtest/documents.py": "handed to another process of the same call",
}


def encoders(source: str) -> list[int]:
    """The lines on which msgspec encodes JSON."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("msgspec.json.encode", "msgspec.json.Encoder"):
            found.append(node.lineno)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("msgspec"):
            found += [node.lineno for alias in node.names if alias.name in ("encode", "Encoder", "json")]
    return found


def test_nothing_else_encodes_records() -> None:
    using = {
        path.relative_to(HOME).as_posix()
        for room in ("schemas", "streams", "agents")
        for path in (HOME / room).rglob("*.py")
        if encoders(path.read_text())
    }
    assert using - {*MAY} == set(), "use streams.encoding.readable, which reads back what it writes"
    assert {*MAY} - using == set(), "an exception that nobody needs"


def test_the_search_finds_what_it_looks_for() -> None:
    assert encoders("import msgspec\nmsgspec.json.encode(1)\nx = msgspec.json.Encoder().encode") == [2, 3]
    assert encoders("from msgspec.json import Encoder") == [1]
    assert encoders("import msgspec\nmsgspec.json.decode(b'')") == []
