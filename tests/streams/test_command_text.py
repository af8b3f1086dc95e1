"""A command written in two halves is a `Command`, whole and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.command import Command
from streams.command_text import _Same, _Varies
from tests.streams.making import NOW_MS, decided, decision, fetched, policy

RUNS = policy([{"name": 'a "rule"\n', "then": "autonomous"}])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff~"), min_size=1, max_size=20)
AGO_MS = st.integers(-100, 400_000) | st.just(...)


def test_the_halves_are_the_fields_of_a_command() -> None:
    halves = _Varies.__struct_fields__ + _Same.__struct_fields__
    assert sorted(halves) == sorted(Command.__struct_fields__)


@given(TEXT, TEXT, TEXT | st.none(), AGO_MS, AGO_MS, st.booleans())
def test_whatever_a_decision_holds_its_command_reads_back_as_one(
    identifier: str, entity: str, model: str | None, decided_ago: object, sent_ago: object, broker_time: bool
) -> None:
    times: dict[str, Any] = {
        name: NOW_MS - ago if isinstance(ago, int) else ...
        for name, ago in (("decided_at_ms", decided_ago), ("sent_at_ms", sent_ago))
    }
    made = decision(id=identifier, entity=entity, model=model, observed_at_ms=NOW_MS - 400_000, **times)
    (sent,) = decided(fetched([made], broker_time=broker_time), [RUNS]).records
    command = msgspec.json.decode(sent.value, type=Command)
    assert sent.output == "commands"
    assert (command.decision_id, command.entity, command.model) == (identifier, entity, model)
    assert (command.rule, command.policy, command.kind) == ('a "rule"\n', "billing@3", "disposition")
    assert msgspec.json.decode(sent.value).keys() == msgspec.json.decode(msgspec.json.encode(command)).keys()
