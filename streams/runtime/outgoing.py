"""What a batch becomes in its transaction: outputs, and what the partition remembers of it."""

from __future__ import annotations

from collections.abc import Mapping

from streams.runtime.settings import Worker
from streams.runtime.stage import Batch
from streams.runtime.transactions import Outgoing

# What was read last, also in the changelog: a group that was empty for a week loses its offsets, and another group on
# the same topics has none. Neither may decide again what has been decided.
OFFSETS = "offsets/"


def outgoing(worker: Worker, number: int, batch: Batch, read_to: Mapping[str, int]) -> list[Outgoing]:
    """The records of a batch of partition `number`; `read_to`: the next offsets, by input. None: nothing happened."""
    topic, mine = worker.kafka.topic, f"{worker.role.name}/{number}/"
    changelog = {**batch.changelog, **{OFFSETS + name: b"%d" % at for name, at in read_to.items()}}
    records = [Outgoing(topic(sent.output), sent.key, sent.value, sent.headers) for sent in batch.records]
    records += [Outgoing(topic("state"), (mine + slot).encode(), value) for slot, value in changelog.items()]
    return records
