"""The gate's stage: the path and the window together, and what the next owner of a partition is left with."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from agents.gate import GateStage, role
from streams.admission import SAVED_MS
from streams.batch import Fetched
from streams.errors import ConfigurationError
from streams.path import Snapshot
from streams.runtime import policies
from streams.runtime.in_force import InForce
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.settings import Kafka
from streams.runtime.world import Needs
from tests.kafka.harness import decision, write_policies

NOW_MS = 1_764_000_000_000


def staged(folder: Path) -> GateStage:
    return GateStage(0, in_force(policies.load(folder)))


def in_force(snapshot: Snapshot) -> InForce:
    made = InForce(Kafka("nowhere:1", "t."), Needs.of_gate, lambda: NOW_MS, Meter(Board.private()))
    made.snapshot = snapshot
    return made


@pytest.fixture
def stage(tmp_path: Path) -> GateStage:
    return staged(write_policies(tmp_path))


def fetched(*identifiers: str, offset: int = 0, **more: int) -> Fetched:
    bodies = [{**decision(one, observed_at_ms=NOW_MS), **more} for one in identifiers]
    offsets = list(range(offset, offset + len(bodies)))
    keys: list[bytes | None] = [b"acct-1"] * len(bodies)
    values: list[bytes | None] = [orjson.dumps(body) for body in bodies]
    return Fetched("t.decisions", "decisions", 0, offsets, [NOW_MS] * len(bodies), keys, values, True, NOW_MS)


def test_a_batch_is_one_record_each_one_change_and_the_earliest_deadline(stage: GateStage) -> None:
    batch = stage.decide([fetched("a", "b"), fetched("c", offset=2, expires_at_ms=NOW_MS + 5)], NOW_MS)
    assert [record.output for record in batch.records] == ["commands"] * 3
    assert list(batch.changelog) == ["window/1"]
    assert batch.earliest_deadline_ms == NOW_MS + 5


def test_the_next_owner_knows_the_ids_that_were_committed(stage: GateStage, tmp_path: Path) -> None:
    changelog = dict(stage.decide([fetched("a")], NOW_MS).changelog)
    stage.committed()
    changelog |= stage.decide([fetched("b", offset=1)], NOW_MS).changelog
    heir = staged(tmp_path)
    kept = {slot: value for slot, value in changelog.items() if value is not None}
    heir.restore({**kept, "other-store/1": b"not the window's"}, NOW_MS)
    batch = heir.decide([fetched("a", "b", "c", offset=2)], NOW_MS)
    assert [record.output for record in batch.records] == ["exceptions", "exceptions", "commands"]
    assert [orjson.loads(record.value)["reason"] for record in batch.records[:2]] == ["duplicate.repeat"] * 2


def test_a_stage_that_was_given_nothing_knows_nothing(tmp_path: Path, stage: GateStage) -> None:
    stage.decide([fetched("a")], NOW_MS)
    fresh = staged(tmp_path)
    fresh.restore({}, NOW_MS)
    assert [record.output for record in fresh.decide([fetched("a")], NOW_MS).records] == ["commands"]


def test_a_batch_without_new_ids_changes_nothing(stage: GateStage) -> None:
    stage.decide([fetched("a")], NOW_MS)
    stage.committed()
    again = stage.decide([fetched("a", offset=1)], NOW_MS)
    assert again.changelog == {}
    assert again.earliest_deadline_ms is None


def test_a_batch_that_cannot_be_decided_leaves_the_stage_as_it_was(
    stage: GateStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a lane may decide smaller pieces at once."""
    assert stage.decide([], NOW_MS).records == []
    with monkeypatch.context() as broken:
        broken.setattr("streams.path.publish", lambda *row: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stage.decide([fetched("a")], NOW_MS)
    assert stage.intact
    assert [record.output for record in stage.decide([fetched("a")], NOW_MS).records] == ["commands"]
    with monkeypatch.context() as broken:
        broken.setattr("streams.memory.Memory.plan", lambda *new: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stage.decide([fetched("b")], NOW_MS)
    assert stage.intact
    assert [record.output for record in stage.decide([fetched("a")], NOW_MS).records] == ["commands"]


def test_a_batch_that_was_undone_is_decided_as_if_for_the_first_time(stage: GateStage) -> None:
    """Late by the end of its transaction: what is left in time goes out, nothing is a repeat of itself."""
    both = [fetched("a", "b", expires_at_ms=NOW_MS + 100), fetched("c", offset=2)]
    first = stage.decide(both, NOW_MS, commit_ms=50)
    assert [record.output for record in first.records] == ["commands"] * 3
    assert stage.undone()
    again = stage.decide(both, NOW_MS + 60, commit_ms=50)
    assert [orjson.loads(record.value)["reason"] for record in again.records] == [
        *["stale.unactionable"] * 2,
        "within_bounds",
    ]
    stage.committed()
    assert [record.output for record in stage.decide(both, NOW_MS).records] == ["commands", "commands", "exceptions"]


def test_the_role_reads_both_inputs_and_a_partition_number_has_its_own_memory(tmp_path: Path) -> None:
    snapshot = policies.load(write_policies(tmp_path))
    gate = role("g", in_force(snapshot))
    assert (gate.name, gate.inputs) == ("gate", ("decisions", "successors"))
    first, second = gate.new_stage(0), gate.new_stage(0)
    first.decide([fetched("a")], NOW_MS)
    assert second.decide([fetched("a")], NOW_MS).records[0].output == "commands"


def test_a_folder_without_policies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no policy"):
        policies.load(tmp_path)


async def test_a_set_capacity_is_kept_by_waiting_before_the_next_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = policies.load(write_policies(tmp_path))
    gate = role("g", in_force(snapshot), capacity_per_s=100)
    stage, slept_s = gate.new_stage(0), list[float]()

    async def sleep(seconds: float) -> None:
        slept_s.append(seconds)

    monkeypatch.setattr("agents.gate.clock_ms", lambda: NOW_MS + 5)
    monkeypatch.setattr("agents.gate.asyncio.sleep", sleep)
    await stage.prepare([fetched("a")])
    assert slept_s == []
    stage.decide([fetched(*map(str, range(30)))], NOW_MS)
    stage.committed()
    await stage.prepare([fetched("d", offset=30)])
    assert slept_s == [pytest.approx((300 - SAVED_MS - 5) / 1000)]
    assert gate.batch_records_max == 100
