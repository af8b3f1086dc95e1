"""The JSON Schemas: valid, current, and true of the contract's own examples."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from schemas import generate
from schemas.decision import LINEAGE_FIELDS
from schemas.generate import FAMILIES, FOLDER
from tests.corpus.cases import CASES
from tests.streams.making import NOW_MS

SOURCE = {"topic": "sluicegate.decisions", "partition": 2, "offset": 9_917}
STAGES = {"inference": 120, "producer": 30, "transport": 4, "queue": 7, "gate": 2}
# the examples of CONTRACT.md, typed again, with `…` filled in
EXAMPLES: dict[str, dict[str, Any]] = {
    "decision": {
        "id": "d-7f3a",
        "workflow": "billing",
        "entity": "acct-17",
        "action": {"type": "invoice.post", "lines": [1.5]},
        "observed_at_ms": 1764000000000,
        "decided_at_ms": 1764000000120,
        "sent_at_ms": 1764000000150,
        "confidence": 0.93,
        "value_minor": 125050,
        "currency": "USD",
        "model": "rater@2026-11-01",
        "proposer": "rating-service",
        "context_version": 41,
        "expires_at_ms": 1764000600000,
        "reversible": True,
        "segment": "fleet-2",
        "attributes": {"vendor": "1"},
    },
    "command": {
        "command_id": "c-0123456789abcdef0123456789abcdef",
        "decision_id": "d-7f3a",
        "workflow": "billing",
        "entity": "acct-17",
        "action": {"type": "invoice.post"},
        "gated_at_ms": 1764000000163,
        "deadline_ms": 1764000600000,
        "age_ms": 163,
        "stages_ms": STAGES,
        "kind": "disposition",
        "authority": "autonomous",
        "authority_version": 0,
        "policy": "billing@3",
        "rule": "small-and-sure",
        "reason": "within_bounds",
        "context_version_seen": 41,
        "attempt": 1,
        "value_minor": 125050,
        "currency": "USD",
        "model": "rater@2026-11-01",
        "segment": "fleet-2",
        "review_id": None,
        "caused_by": None,
        "source": SOURCE,
    },
    "review": {
        "review_id": "r-2-0123456789abcdef0123456789abcdef",
        "kind": "disposition",
        "decision_id": "d-7f3a",
        "workflow": "billing",
        "entity": "acct-17",
        "reasons": ["value_over_limit"],
        "queue": "billing-desk",
        "quorum": 1,
        "action_digest": "sha256:00",
        "gated_at_ms": 0,
        "fresh_until_ms": 0,
        "escalate_at_ms": 0,
        "deadline_ms": 0,
        "on_timeout": "reject",
        "policy": "billing@3",
        "rule": "small-and-sure",
        "age_ms": 163,
        "stages_ms": STAGES,
        "attempt": 1,
        "decision": {"id": "d-7f3a"},
        "caused_by": None,
        "source": SOURCE,
    },
    "exception": {
        "exception_id": "x-0123456789abcdef0123456789abcdef",
        "kind": "disposition",
        "decision_id": None,
        "workflow": None,
        "entity": None,
        "reason": "stale.age",
        "stage": "freshness",
        "detail": "one sentence for a person",
        "age_ms": 900123,
        "budget_ms": 600000,
        "policy": "billing@3",
        "rule": None,
        "attempt": 1,
        "first_reason": "stale.age",
        "fingerprint": "f1-0",
        "value_minor": 125050,
        "currency": "USD",
        "caused_by": None,
        "gated_at_ms": 0,
        "deadline_ms": 0,
        "final_deadline_ms": 0,
        "stages_ms": None,
        "decision": None,
        "raw": None,
        "raw_sha256": "0" * 64,
        "raw_bytes": 412,
        "source": SOURCE,
        "trace": [],
    },
    "receipt": {
        "command_id": "c-0123456789abcdef0123456789abcdef",
        "workflow": "billing",
        "entity": "acct-17",
        "gated_at_ms": 0,
        "deadline_ms": 0,
        "status": "executed",
        "started_at_ms": 0,
        "at_ms": 0,
        "executor": "erp-2",
        "detail": "…",
    },
}
EXAMPLES["successor"] = {
    **EXAMPLES["decision"],
    "id": "d-7f3a~2",
    "root_id": "d-7f3a",
    "attempt": 2,
    "first_observed_at_ms": 1763999000000,
    "final_deadline_ms": 1764000900000,
    "cause": "stale.age",
    "source": SOURCE,
    "caused_by": SOURCE,
}
_ATTEMPT = {
    "attempt": 1,
    "observed_at_ms": 1764000000000,
    "gated_at_ms": 1764000700000,
    "reason": "stale.age",
    "policy": "billing@3",
}
EXAMPLES["reevaluation"] = {
    "request_id": "q-2-0123456789abcdef0123456789abcdef",
    "kind": "disposition",
    "decision_id": "d-7f3a",
    "root_id": "d-7f3a",
    "workflow": "billing",
    "entity": "acct-17",
    "reason": "stale.age",
    "detail": "observed 700000 ms ago; the budget is 600000 ms",
    "attempt": 1,
    "attempts": [_ATTEMPT],
    "first_observed_at_ms": 1764000000000,
    "final_deadline_ms": 1764001800000,
    "gated_at_ms": 1764000700000,
    "age_ms": 700000,
    "budget_ms": 600000,
    "stages_ms": STAGES,
    "policy": "billing@3",
    "value_minor": 125050,
    "currency": "USD",
    "segment": None,
    "decision": EXAMPLES["decision"],
    "caused_by": None,
    "source": SOURCE,
}
EXAMPLES["context"] = {"entity": "acct-17", "version": 42, "at_ms": 0, "state": {"rate_card": "2019-02"}}
EXAMPLES["rejection"] = {
    "rejection_id": "n-00000000000000000000000000000000",
    "reason": "invalid.json",
    "detail": "the value cannot be read",
    "raw": None,
    "raw_base64": "//4=",
    "raw_sha256": "1ef1aeb2",
    "raw_bytes": 2,
    "source": {"topic": "sluicegate.context", "partition": 0, "offset": 1},
}
EXAMPLES["question"] = {
    "id": "d-7f3a~2",
    "root_id": "d-7f3a",
    "attempt": 2,
    "workflow": "billing",
    "entity": "acct-17",
    "reason": "stale.age",
    "deadline_ms": 1764000702000,
    "final_deadline_ms": 1764001800000,
    "decision": EXAMPLES["decision"],
    "context": {"version": 42, "at_ms": 0, "state": {"rate_card": "2019-02"}},
}
EXAMPLES["answer"] = {"action": {"type": "invoice.post"}, "observed_at_ms": 1764000700008, "confidence": 0.95}
EXAMPLES["policy"] = {
    "workflow": "billing",
    "version": 3,
    "freshness": {"budget": "10m", "total": "1h30m", "skew_tolerance": "2s"},
    "boundary": {"rules": [{"name": "r", "then": "autonomous", "limits": {"reversible": True}}]},
}


EXAMPLES["verdict"] = {
    "review_id": "r-2-00000000000000000000000000000000",
    "verdict": "approve",
    "action_digest": "sha256:00",
    "by": "ana",
    "at_ms": 0,
    "note": "as agreed",
}
_DONE = {"why": "w", "by": "ana", "at_ms": 0}
EXAMPLES["halt"] = {"halted": True, **_DONE}
EXAMPLES["recall"] = {**_DONE}
EXAMPLES["heartbeat"] = {"worker": "w", "role": "executor", "at_ms": 0, "every_ms": 5000, "policies_offset": 3}
_VERSION = {"workflow": "billing", "version": 3, **_DONE}
EXAMPLES["published_policy"] = {**_VERSION, "document": EXAMPLES["policy"], "digest": "sha256:00"}
EXAMPLES["current"] = {**_VERSION, "pending": "keep", "before": [{"version": 2, "pending": "invalidate", **_DONE}]}
EXAMPLES["preapproval"] = {"id": "p-1", "workflow": "billing", "from_ms": 0, "until_ms": 9, **_DONE}


PUBLISHED = {"asyncapi.json", *(f"{name}.schema.json" for name in FAMILIES)}


def validator(name: str) -> Any:
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_schema_is_valid_2020_12_and_says_so(name: str) -> None:
    schema = validator(name).schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].endswith(f"/{name}.v1.json")
    assert schema["description"], "the Struct's docstring"
    assert not ("$defs" in schema and not json.dumps(schema).count("#/$defs/"))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_contracts_example_is_valid(name: str) -> None:
    validator(name).validate(EXAMPLES[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_contracts_example_has_every_required_field(name: str) -> None:
    """And each is asked for: without it the example is not valid."""
    required = validator(name).schema["required"]
    assert set(required) <= set(EXAMPLES[name])
    for field in required:
        cut = {key: value for key, value in EXAMPLES[name].items() if key != field}
        assert not validator(name).is_valid(cut), field


def test_records_take_fields_to_come_and_policies_do_not() -> None:
    for name in set(FAMILIES) - {"policy"}:
        assert validator(name).is_valid({**EXAMPLES[name], "field_of_next_year": 1})
    assert not validator("policy").is_valid({**EXAMPLES["policy"], "freshnes": {}})


def test_a_decision_with_lineage_is_refused_by_its_schema_too() -> None:
    for field in LINEAGE_FIELDS:
        assert not validator("decision").is_valid({**EXAMPLES["decision"], field: 2})
    assert not validator("decision").is_valid({**EXAMPLES["decision"], "id": "d~2"})


def test_a_receipt_of_what_was_never_started_says_less_and_another_status_is_none() -> None:
    """An executor in another language may write null where ours writes nothing."""
    expired = {**EXAMPLES["receipt"], "status": "expired", "started_at_ms": None}
    assert validator("receipt").is_valid(expired)
    for field in ("started_at_ms", "executor", "detail"):
        del expired[field]
    assert validator("receipt").is_valid(expired)
    assert not validator("receipt").is_valid({**expired, "status": "done"})


def test_an_evaluator_may_decline_repeat_what_it_was_asked_and_say_more() -> None:
    answer = validator("answer")
    assert answer.is_valid({"decline": "the invoice was paid meanwhile"})
    assert answer.is_valid({**EXAMPLES["answer"], "id": "d-7f3a~2", "entity": "acct-17", "took_ms": 31})
    for wrong in ({"decline": ""}, {"observed_at_ms": "now"}, {"confidence": 2}):
        assert not answer.is_valid({**EXAMPLES["answer"], **wrong})
    entity = EXAMPLES["question"] | {"context": None}
    assert validator("question").is_valid(entity), "an entity without context"


def test_what_the_gate_accepts_its_schema_accepts() -> None:
    """A producer that validates is never refused for what its schema could have told it, nor stopped for nothing."""
    for case in CASES:
        if case.reason is None:
            value = case.at(NOW_MS)
            assert value is not None
            name = "decision" if case.input == "decisions" else "successor"
            assert validator(name).is_valid(json.loads(value)), case.name


def test_the_generated_files_are_current() -> None:
    assert generate.main(check=True) == 0
    assert {path.name for path in FOLDER.iterdir()} == PUBLISHED


def test_as_a_program_it_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(generate.__file__, run_name="__main__")
    assert ended.value.code == 0


def test_a_file_that_is_not_current_is_named_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert generate.main(check=False) == 0
    assert capsys.readouterr().out == f"schemas/generated: {len(PUBLISHED)} written, 0 unchanged\n"
    (tmp_path / "review.schema.json").write_text("{}")
    (tmp_path / "command.schema.json").unlink()
    assert generate.main(check=True) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"schemas/generated/{name}.schema.json is not what the Structs say: run `make schemas`"
        for name in ("command", "review")
    ]
    assert generate.main(check=False) == 0
    assert capsys.readouterr().out == f"schemas/generated: 2 written, {len(PUBLISHED) - 2} unchanged\n"
    assert generate.main(check=True) == 0


def test_no_description_depends_on_the_python_that_wrote_it() -> None:
    """From 3.13 on docstrings lose their indentation when they are compiled; the published texts have none."""
    for file in sorted((Path(__file__).parents[2] / "schemas/generated").glob("*.json")):
        assert "\\n    " not in file.read_text(), file.name
