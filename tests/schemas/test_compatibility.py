"""What breaks whom: each rule once red and once green, and the check as it is run."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas import generate
from schemas.compatibility import SIDES, Breaking, breaking
from schemas.generate import FAMILIES, schema_of

# A record with everything that our schemas say; both sides rely on it, and what breaks the one often not the other.
RELEASED: dict[str, Any] = {
    "$id": "https://sluicegate.example/schemas/x.v1.json",
    "type": "object",
    "required": ["id", "kind", "at_ms"],
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 200},
        "kind": {"enum": ["a", "b"]},
        "at_ms": {"type": "integer", "minimum": 0, "maximum": 100, "description": "when"},
        "share": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}], "default": None},
        "reason": {"type": "string", "x-extensible-enum": ["stale.age", "halted"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "where": {"anyOf": [{"$ref": "#/$defs/Where"}, {"type": "null"}]},
        "action": {},
    },
    "$defs": {
        "Where": {
            "type": "object",
            "required": ["topic"],
            "properties": {"topic": {"type": "string"}},
        }
    },
}
Change = Callable[[dict[str, Any]], object]


def field(name: str, **keywords: Any) -> Change:
    return lambda schema: schema["properties"][name].update(keywords)


def replaced(name: str, schema_of_field: dict[str, Any]) -> Change:
    return lambda schema: schema["properties"].update({name: schema_of_field})


def where(change: Change) -> Change:
    return lambda schema: change(schema["$defs"]["Where"])


# (change, what it says to those who write, what it says to those who read); "" where it breaks nothing
CHANGES: dict[str, tuple[Change, str, str]] = {
    "a field is added": (replaced("new", {"type": "string"}), "", ""),
    "a required field is added": (
        lambda schema: (replaced("new", {"type": "string"})(schema), schema["required"].append("new")),
        "new: was optional, now required",
        "",
    ),
    "a field becomes required": (
        lambda schema: schema["required"].append("share"),
        "share: was optional, now required",
        "",
    ),
    "a field is no longer required": (
        lambda schema: schema["required"].remove("at_ms"),
        "",
        "at_ms: was required, now optional",
    ),
    "a field is removed": (
        lambda schema: schema["properties"].pop("tags"),
        "tags: was there, now gone",
        "tags: was there, now gone",
    ),
    "a required field is removed": (
        lambda schema: (schema["properties"].pop("id"), schema["required"].remove("id")),
        "id: was there, now gone",
        "id: was there, now gone",
    ),
    "a type becomes another": (
        field("at_ms", type="string"),
        "at_ms: was integer, now only string",
        "at_ms: was only integer, now string",
    ),
    "a type is widened": (
        replaced("id", {**RELEASED["properties"]["id"], "type": ["string", "null"]}),
        "",
        "id: was only string, now null",
    ),
    "a whole number may have a fraction": (
        field("at_ms", type="number"),
        "",
        "at_ms: was only integer, now number",
    ),
    "null is no longer taken": (
        replaced("share", {"type": "number", "minimum": 0}),
        "share: was null, now only number",
        "",
    ),
    "a limit is narrowed": (field("id", maxLength=100), "id: was maxLength 200, now maxLength 100", ""),
    "a limit is widened": (field("id", maxLength=300), "", "id: was maxLength 200, now maxLength 300"),
    "a limit is taken away": (
        replaced("id", {"type": "string", "minLength": 1}),
        "",
        "id: was maxLength 200, now any string",
    ),
    "a lower limit is raised": (
        field("share", anyOf=[{"type": "number", "minimum": 1}, {"type": "null"}]),
        "share: was minimum 0, now minimum 1",
        "",
    ),
    "a pattern is added": (field("id", pattern="^x"), "id: was any string, now pattern ^x", ""),
    "a list of values is widened": (field("kind", enum=["a", "b", "c"]), "", "kind: was only a, b, now also c"),
    "a list of values is narrowed": (field("kind", enum=["a"]), "kind: was also b, now only a", ""),
    "a code is added to an open list": (
        field("reason", **{"x-extensible-enum": ["stale.age", "halted", "new"]}),
        "",
        "",
    ),
    "a code is removed from an open list": (
        field("reason", **{"x-extensible-enum": ["halted"]}),
        "reason code stale.age: was there, now gone",
        "reason code stale.age: was there, now gone",
    ),
    "items are of another type": (
        field("tags", items={"type": "integer"}),
        "tags[]: was string, now only integer",
        "tags[]: was only string, now integer",
    ),
    "a field inside is removed": (
        where(lambda inner: (inner["properties"].pop("topic"), inner["required"].remove("topic"))),
        "where.topic: was there, now gone",
        "where.topic: was there, now gone",
    ),
    "a field inside is no longer required": (
        where(lambda inner: inner["required"].remove("topic")),
        "",
        "where.topic: was required, now optional",
    ),
    "other fields are refused": (
        lambda schema: schema.update(additionalProperties=False),
        "the record: was open to other fields, now closed",
        "",
    ),
    "anything becomes text": (replaced("action", {"type": "string"}), "action: was anything, now only string", ""),
    "words for people change": (field("at_ms", description="the time", title="T"), "", ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_breaks_those_whom_it_breaks_and_no_others(name: str) -> None:
    change, to_writers, to_readers = CHANGES[name]
    now = copy.deepcopy(RELEASED)
    change(now)
    assert "; ".join(map(str, breaking("decision", RELEASED, now))) == to_writers
    assert "; ".join(map(str, breaking("command", RELEASED, now))) == to_readers


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_breaks_when_nothing_changes(family: str) -> None:
    assert breaking(family, schema_of(family), schema_of(family)) == []


def test_every_family_has_a_side_and_a_released_schema() -> None:
    assert set(SIDES) == set(FAMILIES)
    assert {path.name for path in generate.RELEASED.iterdir()} == {f"{name}.schema.json" for name in FAMILIES}


def test_a_schema_within_itself_is_compared_and_comes_to_an_end() -> None:
    rule = {"type": "object", "required": ["name"], "properties": {"inner": {"$ref": "#/$defs/Rule"}}}
    released: dict[str, Any] = {
        "type": "object",
        "properties": {"rule": {"$ref": "#/$defs/Rule"}},
        "$defs": {"Rule": rule},
    }
    assert breaking("policy", released, released) == []
    now = copy.deepcopy(released)
    now["$defs"]["Rule"]["required"].append("then")
    assert Breaking("rule.then", "optional", "required") in breaking("policy", released, now)


def test_a_keyword_that_cannot_be_compared_is_not_passed_over() -> None:
    now = copy.deepcopy(RELEASED)
    now["properties"]["id"]["uniqueItems"] = True
    with pytest.raises(ValueError, match="cannot compare uniqueItems"):
        breaking("decision", RELEASED, now)


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(generate, "RELEASED", tmp_path / "released")
    monkeypatch.setattr(generate, "FOLDER", tmp_path / "generated")
    assert generate.release() == 0
    assert generate.main(check=False) == 0
    return tmp_path / "released"


def edit(file: Path, change: Change) -> None:
    schema = json.loads(file.read_text())
    change(schema)
    file.write_text(json.dumps(schema))


def test_the_check_names_file_path_what_was_and_what_is(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(released / "command.schema.json", replaced("account", {"type": "string"}))
    edit(released / "receipt.schema.json", lambda schema: schema["required"].remove("at_ms"))
    capsys.readouterr()
    assert generate.main(check=True) == 1
    assert capsys.readouterr().out.splitlines() == [
        "these changes break programs that rely on the released schemas:",
        "  schemas/generated/command.schema.json: account: was there, now gone "
        "(command records are read by others; see schemas/released/)",
        "  schemas/generated/receipt.schema.json: at_ms: was optional, now required "
        "(receipt records are written by others; see schemas/released/)",
    ]


def test_what_breaks_is_not_released_and_what_was_released_does_not_go(
    released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (released / "bygone.schema.json").write_text("{}")
    assert generate.main(check=True) == 1
    assert "bygone.schema.json: the record was released and is gone" in capsys.readouterr().out
    assert generate.release() == 1
    assert "not released" in capsys.readouterr().out


def test_what_is_new_since_the_release_is_free_to_change_until_the_next(released: Path) -> None:
    edit(released / "review.schema.json", lambda schema: schema["properties"].pop("queue"))
    edit(released / "review.schema.json", lambda schema: schema["required"].remove("queue"))
    (released / "receipt.schema.json").unlink()
    assert generate.main(check=True) == 0
    assert generate.release() == 0
    assert json.loads((released / "receipt.schema.json").read_text()) == schema_of("receipt")


def test_a_new_family_is_released_alone(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What changed in the others is not promised with it."""
    (released / "receipt.schema.json").unlink()
    edit(released / "review.schema.json", lambda schema: schema["properties"].pop("queue"))
    edit(released / "review.schema.json", lambda schema: schema["required"].remove("queue"))
    before = (released / "review.schema.json").read_text()
    assert generate.release(["receipt"]) == 0
    assert json.loads((released / "receipt.schema.json").read_text()) == schema_of("receipt")
    assert (released / "review.schema.json").read_text() == before
    assert generate.release(["recept"]) == 2
    assert "there is no family recept" in capsys.readouterr().out
