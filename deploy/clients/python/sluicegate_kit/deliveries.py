"""The consumer's side: commands of the partitions that are ours, and the offsets of those whose receipt is there."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from sluicegate_kit import careful
from sluicegate_kit import kafka as broker
from sluicegate_kit.errors import BrokerUnreachable
from sluicegate_kit.progress import Progress
from sluicegate_kit.reading import Unreadable
from sluicegate_kit.records import Command, read_command

log = logging.getLogger("sluicegate_kit")

COMMIT_S = 0.2  # what a crash makes another instance look up again in the store
POLL_MS = 500
RETRY_S = 0.5
# the group's heartbeats say that we live; actions that take long are bounded by their own limit
POLL_INTERVAL_MS = 2**31 - 1


class Delivery:
    """One command as it came. `loose` are the handlers that may be cancelled, because they have not begun."""

    def __init__(self, progress: Progress, loose: set[asyncio.Task[None]], record: Any, command: Command) -> None:
        self.command, self.key, self.partition = command, record.key, int(record.partition)
        self.headers: Sequence[tuple[str, bytes]] = record.headers
        self._progress, self._offset, self._loose = progress, int(record.offset), loose
        self._task: asyncio.Task[None] | None = None

    def handled_by(self, task: asyncio.Task[None]) -> None:
        """It may be cancelled until it says `hold(True)`."""
        self._task = task
        self._loose.add(task)
        task.add_done_callback(self._loose.discard)

    def hold(self, held: bool) -> None:
        if self._task is not None:
            (self._loose.discard if held else self._loose.add)(self._task)

    def done(self) -> None:
        """Its receipt is acknowledged. If its partition was lost meanwhile, nobody looks at this any more."""
        self._progress.done(self._offset)


class Deliveries(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Reads committed commands in a group. What cannot be read is counted in `counts`, logged, and passed by."""

    def __init__(self, topic: str, workflows: Collection[str], counts: Counter[str]) -> None:
        self._topic, self._workflows, self._counts = topic, workflows, counts
        self._ours: dict[TopicPartition, Progress] = {}
        self._loose: set[asyncio.Task[None]] = set()
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self, bootstrap: str, group: str, session_ms: int, options: Mapping[str, Any]) -> None:
        """Joins the group. Raises BrokerUnreachable or KitError."""

        def make() -> AIOKafkaConsumer:
            consumer = careful.consumer(
                group_id=group,
                isolation_level="read_committed",  # without it commands that were taken back would be acted on
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=max(session_ms // 4, 50),
                max_poll_interval_ms=POLL_INTERVAL_MS,
                **options,
            )
            consumer.subscribe([self._topic], listener=self)
            return consumer

        self._consumer = await broker.start(make, bootstrap)

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def fetch(self, count_max: int) -> list[Delivery]:
        """What there is, at most so many. Raises BrokerUnreachable for what a retry does not mend."""
        assert self._consumer is not None
        try:
            fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=count_max)
        except KafkaError as error:
            if not error.retriable:
                raise BrokerUnreachable(f"{self._topic} cannot be read: {type(error).__name__}: {error}") from error
            log.warning("%s cannot be read now, trying again: %s", self._topic, type(error).__name__)
            await asyncio.sleep(RETRY_S)
            return []
        found = []
        for place, records in fetched.items():
            if (progress := self._ours.get(place)) is None:
                continue  # taken away while it was fetched: whoever has it now gets these
            for record in records:
                if type(record) is Unreadable:
                    self._pass_by(record, progress)
                    continue
                progress.take(record.offset)
                if (command := self._command(record)) is None:
                    progress.done(record.offset)
                else:
                    found.append(Delivery(progress, self._loose, record, command))
        return found

    def _pass_by(self, batch: Unreadable, progress: Progress) -> None:
        """Commands that cannot be read are not acted on, and get no receipt: nothing tells which they were."""
        progress.take(batch.through)
        progress.done(batch.through)
        self._counts["unreadable"] += 1
        place = f"{batch.topic}/{batch.partition}, offsets {batch.offset} to {batch.through}"
        log.error(
            "%s: the commands there cannot be read (%s). They are not acted on and get no receipt: find out what they "
            "were, the gate's topics `decisions` and `state` have their ids",
            place,
            batch.detail,
        )

    def _command(self, record: Any) -> Command | None:
        try:
            command = read_command(record.value)
        except ValueError as error:
            self._counts["poison"] += 1
            digest = hashlib.sha256(record.value or b"").hexdigest()
            place = f"{record.topic}/{record.partition}/{record.offset}"
            log.error("%s is no command and is passed by: %s (sha256 %s)", place, error, digest)
            return None
        if self._workflows and command.workflow not in self._workflows:
            self._counts["skipped"] += 1
            return None
        return command

    def drop_waiting(self) -> None:
        """What has not begun is left for whoever has its partition next."""
        for task in list(self._loose):
            task.cancel()

    async def keep_committing(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            await self.commit()

    async def commit(self) -> None:
        """Never over a command whose receipt is not acknowledged. One that fails is made up for by the next."""
        ours = dict(self._ours)
        offsets = {place: at for place, progress in ours.items() if (at := progress.to_commit()) is not None}
        if not offsets or self._consumer is None:
            return
        try:
            await self._consumer.commit(offsets)
        except (KafkaError, IllegalStateError) as error:
            log.info("offsets not committed: %s", type(error).__name__)
            return
        for place, at in offsets.items():
            ours[place].committed(at)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self.commit()
        self.drop_waiting()
        self._ours.clear()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._ours = {place: Progress() for place in assigned}
        log.info("partitions: %s", sorted(place.partition for place in assigned))
