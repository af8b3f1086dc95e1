"""What a batch becomes in its transaction: outputs, and what the partition remembers of it."""

from __future__ import annotations

from collections.abc import Mapping

from streams.runtime.settings import Kafka, Worker
from streams.runtime.stage import Batch
from streams.runtime.transactions import Outgoing
from streams.truths import OFFSETS, Identity, written


def outgoing(worker: Worker, number: int, batch: Batch, read_to: Mapping[str, int]) -> list[Outgoing]:
    """The records of a batch of partition `number`; `read_to`: the next offsets, by input. None: nothing happened."""
    topic, mine = worker.kafka.topic, f"{worker.role.name}/{number}/"
    changelog = {**batch.changelog, **{OFFSETS + name: b"%d" % at for name, at in read_to.items()}}
    records = [Outgoing(topic(sent.output), sent.key, sent.value, sent.headers) for sent in batch.records]
    records += [Outgoing(topic("state"), (mine + slot).encode(), value) for slot, value in changelog.items()]
    return records


def claim(kafka: Kafka, role: str, number: int, identity: Identity, positions: Mapping[str, int]) -> list[Outgoing]:
    """The records that say how far partition `number` of a role was read, and of what."""
    topic, mine = kafka.topic("state"), f"{role}/{number}/"
    return [Outgoing(topic, (mine + slot).encode(), value) for slot, value in written(identity, positions).items()]
