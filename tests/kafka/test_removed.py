"""What retention took before it was read, beyond the gate's own input: each role, and who looks back later."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agents.cli.main import cli
from streams.errors import CheckFailed
from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import Record, audited, read, remove_before, send, worker
from tests.kafka.test_truths import decide, lost_ranges

pytestmark = pytest.mark.kafka
REVIEWED = """\
workflow: billing
version: 3
freshness: {budget: 10m, total: 20m}
boundary: {rules: []}
"""


def invoked(kafka: Broker, prefix: str, *arguments: str, **environment: str) -> Any:
    options = {"SLUICEGATE_BOOTSTRAP": kafka.bootstrap, "SLUICEGATE_PREFIX": prefix, **environment}
    return CliRunner().invoke(cli, list(arguments), env=options)


@pytest.mark.parametrize(
    ("role", "lost", "told"),
    [("reevaluation", "reevaluations", "exceptions"), ("reviews", "verdicts", "rejections")],
)
async def test_each_role_tells_what_it_lost(
    kafka: Broker, prefix: str, tmp_path: Path, role: str, lost: str, told: str
) -> None:
    await apply(kafka.bootstrap, prefix, partitions=1)
    with worker(kafka.bootstrap, prefix, tmp_path, role=role) as child:
        await child.said("partition ready")
        assert await child.stop() == 0
    await send(kafka.bootstrap, [Record(prefix + lost, b"acct-1", b"{}", 0)] * 6)
    await remove_before(kafka.bootstrap, prefix + lost, 6)
    with worker(kafka.bootstrap, prefix, tmp_path, "second", role=role) as child:
        await child.said("removed before they were read")
        (source,) = await lost_ranges(kafka.bootstrap, prefix, told, 1)
        assert await child.stop() == 0
    assert source == {"topic": prefix + lost, "partition": 0, "offset": 0, "through": 5}
    found = await audited(kafka.bootstrap, prefix)
    assert found["lost_ranges"] == [source]
    assert found["lost"] == 6
    assert found["unanswered"] == found["missing"] == found["unexplained"] == 0


async def test_an_allocator_does_not_miss_old_heartbeats(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await apply(kafka.bootstrap, prefix, partitions=1)
    for name in ("first", "second"):
        with worker(kafka.bootstrap, prefix, tmp_path, name, role="exposure") as child:
            said = await child.said("partition ready")
            assert await child.stop() == 0
        await send(kafka.bootstrap, [Record(prefix + "workers", b"w", b"{}", 0)] * 6)
        await remove_before(kafka.bootstrap, prefix + "workers", 6)
    assert "removed before" not in said
    assert (await audited(kafka.bootstrap, prefix))["ok"]


async def test_input_that_was_answered_may_go_and_what_was_not_is_named(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    """Retention after seven days is green; what went unanswered is red, to whoever asks, without any worker."""
    await apply(kafka.bootstrap, prefix, partitions=1)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "billing.yaml").write_text(REVIEWED)
    store = {"SLUICEGATE_STORE": f"sqlite:///{tmp_path / 'reviews.db'}"}
    with worker(kafka.bootstrap, prefix, tmp_path) as child:
        await child.said("partition ready")
        await decide(kafka.bootstrap, prefix, "answered", 2)
        await read(kafka.bootstrap, [prefix + "reviews"], 2)
        listed = await asyncio.to_thread(invoked, kafka, prefix, "reviews", "list", **store)
        assert (listed.exit_code, listed.stderr) == (0, "")
        await decide(kafka.bootstrap, prefix, "answered too", 4)
        await read(kafka.bootstrap, [prefix + "reviews"], 6)
        assert await child.stop() == 0
    await remove_before(kafka.bootstrap, prefix + "decisions", 6)
    assert (await audited(kafka.bootstrap, prefix))["ok"]
    await decide(kafka.bootstrap, prefix, "never read", 4)
    await remove_before(kafka.bootstrap, prefix + "decisions", 9)
    for group in (None, prefix + "gate"):
        found = await audited(kafka.bootstrap, prefix, group)
        assert (found["lost"], found["ok"]) == (3, False)
        assert [(one["offset"], one["through"]) for one in found["lost_ranges"]] == [(6, 8)]

    await remove_before(kafka.bootstrap, prefix + "reviews", 5)
    listed = await asyncio.to_thread(invoked, kafka, prefix, "reviews", "list", **store)
    assert listed.exit_code == 0
    assert "what was removed in between is not in the store" in listed.stderr

    with worker(kafka.bootstrap, prefix, tmp_path, "second"):
        await lost_ranges(kafka.bootstrap, prefix, "exceptions", 1)
    why = await asyncio.to_thread(invoked, kafka, prefix, "why", "never read-1")
    assert isinstance(why.exception, CheckFailed)
    assert f"removed before they were read were {prefix}decisions/0 6 to 8" in str(why.exception)
