"""What a gate did with thousands of mixed decisions is what a backtest says it would do, to the last one."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from agents.cli.main import cli
from streams.batch import Fetched
from streams.errors import ConfigurationError
from streams.memory import Memory
from streams.path import decide
from streams.runtime.broker import Broker
from streams.runtime.policies import load
from tests.kafka.harness import (
    now_ms,
    write_policies,
)
from tests.kafka.recorded_hour import BILLING, PAYOUT, Hour, reason_of

pytestmark = [pytest.mark.kafka]
MIXED = {
    "commands",
    "reviews",
    "stale.age",
    "stale.context",
    "stale.unactionable",
    "superseded",
    "duplicate.repeat",
    "duplicate.conflict",
    "boundary.blocked",
    "invalid.json",
    "invalid.unknown_workflow",
}


@pytest.fixture(scope="module")
def hour(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Hour:
    return Hour(kafka.bootstrap, tmp_path_factory.mktemp("backtest"))


def test_under_the_policies_that_were_in_force_every_disposition_agrees(hour: Hour) -> None:
    found = hour.document(hour.policies)
    assert found["decisions"] == hour.count - found["left_out"]["nobody"]
    assert found["changed"] == 0, json.dumps([one for one in found["matrix"] if one["changed"]], indent=1)[:4000]
    assert found["agree"] == found["decisions"]
    assert found["command_ids_differ"] == 0
    assert (found["estimate"], found["estimate_reasons"]) == (False, [])
    seen = Counter(reason_of(one) for one in hour.answers.values())
    assert seen.keys() >= MIXED, seen
    assert any("exposure" in body.get("reasons", ()) for _, body in hour.answers.values())
    assert len({(body["gated_at_ms"], body["source"]["partition"]) for _, body in hour.answers.values()}) > 8


TIGHTER = BILLING.replace("version: 3", "version: 4").replace("value_minor_at_most: 5000", "value_minor_at_most: 99")


def test_a_tighter_limit_moves_every_command_to_a_person_and_nothing_else(hour: Hour, tmp_path: Path) -> None:
    """A review retires earlier observations as a command does, so nothing follows from it."""
    candidate = write_policies(tmp_path, TIGHTER)
    found = hour.document(candidate, "--workflow", "billing", "--examples", "2")
    commands = [body for output, body in hour.answers.values() if (output, body["workflow"]) == ("commands", "billing")]
    expected, value = {("command", "review"): len(commands)}, Counter[str]()
    for body in commands:
        value[body["currency"]] += body["value_minor"]
    moved = {(row["before"], row["after"]): row for row in found["matrix"] if row["before"] != row["after"]}
    assert {pair: row["count"] for pair, row in moved.items()} == expected
    assert moved["command", "review"]["value_minor"] == dict(value)
    assert found["estimate"] is False
    row = {"from": "autonomous", "to": "review", "count": len(commands), "value_minor": dict(value)}
    assert found["moves"] == [row]
    example = moved["command", "review"]["examples"][0]
    assert (example["before"]["rule"], example["after"]["reason"]) == ("small", "value_over_limit")
    source = example["source"]
    recorded = hour.answers[source["topic"], source["partition"], source["offset"]][1]
    assert (recorded["decision_id"], recorded["gated_at_ms"]) == (example["decision_id"], example["at_ms"])
    assert len(moved["command", "review"]["examples"]) == 2


LOOSE = """\
workflow: billing
version: 5
freshness: {budget: 3s, total: 40s, skew_tolerance: 1s}
boundary:
  rules:
    - {name: odd, when: {segment: {equals: odd}}, then: block}
    - {name: dear, when: {value_minor: {over: 1000000, currency: USD}}, then: block}
    - {name: sure, then: autonomous, limits: {confidence_at_least: 0.8}}
"""


def test_a_candidate_comes_out_as_another_replay_by_hand(hour: Hour, tmp_path: Path) -> None:
    """Everything is different: budget, no context, no superseding, rules. The other replay reads topics by itself."""
    candidate = write_policies(tmp_path, LOOSE)
    found = hour.document(candidate, "--workflow", "billing")
    snapshot, inputs = load(candidate), asyncio.run(hour.inputs())
    batches: dict[tuple[int, int], list[tuple[str, int, int]]] = {}
    for place, (_, body) in sorted(hour.answers.items()):
        if body["workflow"] in ("billing", None):
            batches.setdefault((body["gated_at_ms"], place[1]), []).append(place)
    memories, otherwise, counts = [Memory() for _ in range(4)], set[str](), Counter[tuple[str, str, str]]()
    for (now, number), places in sorted(batches.items()):
        left = set[str]()
        for topic, those in groupby(places, key=lambda place: place[0]):
            kind: Any = topic.removeprefix(hour.prefix)
            going = [one for one in those if kind == "decisions" or inputs[one][1]["root_id"] not in otherwise]
            values = [inputs[one][0] for one in going]
            keys, offsets, times = [one.key for one in values], [one[2] for one in going], [now] * len(going)
            bytes_ = [one.value for one in values]
            fetched = Fetched(topic, kind, number, offsets, times, keys, bytes_, True, now)
            decided = decide([fetched], now, snapshot, memories[number])
            memories[number].commit(decided.remembered, now)
            for place, sent in zip(going, decided.records, strict=True):
                output, body = hour.answers[place]
                after = orjson.loads(sent.value)
                if sent.output != output and body["decision_id"] is not None:
                    left.add(body["decision_id"])
                if body["workflow"] == "billing":
                    counts[reason_of((output, body)), sent.output, str(after.get("reason", after.get("reasons")))] += 1
        otherwise |= left
    assert found["decisions"] == sum(1 for _, body in hour.answers.values() if body["workflow"] == "billing")
    absent = sum(row["count"] for row in found["matrix"] if row["after"] == "absent")
    assert sum(counts.values()) + absent == found["decisions"]
    by_output = {"commands": "command", "reviews": "review"}
    for output, name in by_output.items():
        there = sum(count for (_, after, _), count in counts.items() if after == output)
        assert sum(row["count"] for row in found["matrix"] if row["after"] == name) == there > 0
    for reason, name in (("stale", "stale"), ("boundary", "blocked"), ("duplicate", "duplicate")):
        there = sum(count for (_, _, after), count in counts.items() if after.startswith(reason))
        assert sum(row["count"] for row in found["matrix"] if row["after"] == name) == there > 0


def test_two_processes_find_what_one_does(hour: Hour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.backtest.run.SMALL_RECORDS", 0)
    candidate = write_policies(tmp_path, TIGHTER)
    to = ("--to", str(now_ms()))
    one, two = (hour.document(candidate, "--processes", count, *to) for count in ("1", "2"))
    assert one == two
    assert one["changed"] > 0


def test_against_a_folder_both_are_replayed(hour: Hour, tmp_path: Path) -> None:
    candidate = write_policies(tmp_path, TIGHTER)
    against = hour.document(candidate, "--against", str(hour.policies), "--workflow", "billing")
    recorded = hour.document(candidate, "--workflow", "billing")
    assert against["matrix"] == recorded["matrix"]
    assert against["against"] == ["billing@3", "payout@1"]


def test_what_the_recording_does_not_hold_makes_it_an_estimate(hour: Hour, tmp_path: Path) -> None:
    """What is shown to a person alone, and never asked about again, is exact."""
    asking = BILLING.replace("budget: 20s", "budget: 3s")
    looking = BILLING.replace("context: [card]", "context: [other]")
    more = PAYOUT.replace("count_at_most: 60", "count_at_most: 1000")
    for name, text, said in (
        ("asking", asking, "questions:"),
        ("looking", looking, "context:"),
        ("more", more, "leases:"),
    ):
        found = hour.document(write_policies(tmp_path / name, text))
        assert found["estimate"] is True
        assert [why for why in found["estimate_reasons"] if why.startswith(said)], (name, found["estimate_reasons"])


def test_diff_compares_with_what_is_in_force(hour: Hour, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(TIGHTER)
    about = ["--bootstrap", hour.bootstrap, "--prefix", hour.prefix]
    same = CliRunner().invoke(cli, ["policy", "diff", str(hour.policies / "billing.yaml"), *about])
    assert (same.exit_code, same.stdout) == (0, "billing@3 -> billing@3: the same\n")
    found = CliRunner().invoke(cli, ["policy", "diff", str(tmp_path / "new.yaml"), *about])
    assert found.exit_code == 1
    assert "  ~ boundary.rules[small].limits.value_minor_at_most: 5000 -> 99\n" in found.stdout


def test_people_read_a_table_and_what_moves(hour: Hour, tmp_path: Path) -> None:
    said = hour.run(write_policies(tmp_path, TIGHTER)).stdout
    assert "billing@4 against what was recorded: " in said
    assert "autonomous -> review: " in said
    assert "left out, for they have no candidate: nobody (150), payout (" in said
    assert "exact: this is what the gate would have done" in said
    assert max(map(len, said.splitlines()[1:8])) <= 80


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "1h", "--to", "2h"), r"the range is empty: --from .* is not before --to"),
        (("--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z"), r"nothing of billing, payout was decided"),
        (("--workflow", "biling"), r"is for the workflow 'biling'; there is billing, payout"),
        (("--prefix", "none."), r"there is no topic none\.commands"),
        (("--against", "nowhere"), r"nowhere cannot be read"),
    ],
)
def test_errors_teach(hour: Hour, arguments: tuple[str, ...], said: str) -> None:
    result = hour.run(hour.policies, *arguments)
    assert isinstance(result.exception, ConfigurationError), result.output
    with pytest.raises(ConfigurationError, match=said):
        raise result.exception
