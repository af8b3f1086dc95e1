"""Follows `policies`, so that no action starts under a halt: read to its end before the first command, then on.

Its reader is one of its own, without a group: a long poll that the broker answers as soon as a record is committed. The
client hides that a broker is gone, so the topic's end is asked for again and again: what was read up to an end is known
to be all there was when it was asked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from sluicegate_kit import careful
from sluicegate_kit import kafka as broker
from sluicegate_kit.errors import BrokerUnreachable, KitError
from sluicegate_kit.halts import Halts
from sluicegate_kit.reading import Unreadable
from sluicegate_kit.records import Command

log = logging.getLogger("sluicegate_kit")

READ_S = 30.0  # for all of the topic at start: some thousand records
REQUEST_MS = 5_000
POLL_MS = 200  # a record ends the wait at once
RECORDS_MAX = 1000  # taken at once: a batch may hold a million
LOOK_S_MAX = 5.0  # how often the end is asked for
LOOKS_A_PATIENCE = 4  # three may fail
RETRY_S = 0.5
_ERRORS = (KafkaError, OSError, TimeoutError, AssertionError)  # the last is aiokafka's, of a node that just came up


class Following:
    """`refuses` tells, from any thread, what stops a command. `patience_ms`: how old what is known may be."""

    def __init__(self, options: Mapping[str, Any], prefix: str, patience_ms: int) -> None:
        self._options, self._place = options, TopicPartition(prefix + "policies", 0)
        self._patience_ms = patience_ms
        self._consumer: AIOKafkaConsumer | None = None
        self._current_s = 0.0  # all that was there at this monotonic time is known
        self._is_lost = False
        self._read = asyncio.Event()
        self.halts = Halts()
        self.offset = 0  # all records before it are followed
        self.changed = asyncio.Event()

    def refuses(self, command: Command) -> str | None:
        """Why it must not be started now; None where nothing speaks against it."""
        if (told := self.halts.over(command)) is not None:
            return told
        silent_ms = (time.monotonic() - self._current_s) * 1000
        if silent_ms < self._patience_ms:
            return None
        return f"{self._place.topic} could not be read for {silent_ms:.0f} ms: cannot tell whether a halt applies"

    async def start(self) -> None:
        """Reads to the end as it is now. Raises BrokerUnreachable, or KitError where reading is not allowed."""
        topic = self._place.topic
        try:
            async with asyncio.timeout(READ_S):
                consumer = await self._connected()
                asked_s = time.monotonic()
                end = await self._end(consumer)
                while self.offset < end:
                    await self._take(consumer)
        except TopicAuthorizationFailedError as error:
            await self.stop()
            raise KitError(
                f"{topic} may not be read by this client, and without it no halt could be followed: allow it"
            ) from error
        except _ERRORS as error:
            await self.stop()
            raise BrokerUnreachable(
                f"{topic} could not be read to its end ({type(error).__name__}), and without it no halt can be "
                "followed: start again when the broker answers"
            ) from error
        self._current_s = asked_s
        log.info("following halts: %s read up to %d", topic, end)

    async def run(self) -> None:
        """Follows until it is cancelled; what goes wrong is logged and tried again."""
        while True:
            error = await self._follow()
            if not self._is_lost:
                log.warning(
                    "%s cannot be read, trying again until the broker answers: %s",
                    *(self._place.topic, f"{error}" or repr(error)),
                )
            self._is_lost = True
            await self.stop()
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> BaseException:
        """Returns what went wrong. A connection that breaks makes aiokafka cancel what waits for it: not our end."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            consumer = self._consumer or await self._connected()
            tasks = {
                asyncio.create_task(self._keep_taking(consumer)),
                asyncio.create_task(self._keep_looking(consumer)),
            }
            ended = (await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))[0].pop()
            if ended.cancelled():
                return BrokerUnreachable("the connection broke")
            ended.result()
        except (*_ERRORS, KitError) as error:
            return error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise AssertionError("neither ends by itself")

    async def stop(self) -> None:
        """Gives the reader back."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await broker.within(consumer.stop(), REQUEST_MS / 1000)

    async def _connected(self) -> AIOKafkaConsumer:
        def make() -> AIOKafkaConsumer:
            return careful.consumer(
                group_id=None,
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                **{"request_timeout_ms": REQUEST_MS, **broker.options_of(AIOKafkaConsumer, self._options)},
            )

        consumer = self._consumer = await broker.start(make, str(self._options["bootstrap_servers"]))
        consumer.assign([self._place])
        consumer.seek(self._place, self.offset)
        return consumer

    async def _end(self, consumer: AIOKafkaConsumer) -> int:
        ends = await asyncio.wait_for(consumer.end_offsets([self._place]), 2 * REQUEST_MS / 1000)
        return int(ends[self._place])

    async def _take(self, consumer: AIOKafkaConsumer) -> None:
        found = await consumer.getmany(self._place, timeout_ms=POLL_MS, max_records=RECORDS_MAX)
        # each is taken, whatever the ones before it were
        ours = [self._takes(record) for record in found.get(self._place, ())]
        async with asyncio.timeout(2 * REQUEST_MS / 1000):
            offset = int(await consumer.position(self._place))
        if offset < self.offset:
            log.error(
                "%s was made anew: halts of the former one stay in force until they are resumed", self._place.topic
            )
        self.offset = offset
        if ours:
            self.changed.set()

    def _takes(self, record: Any) -> bool:
        """Whether it is about a halt or a recall, or may be."""
        if type(record) is not Unreadable:
            return self.halts.take(record.key, record.value)
        where = f"{record.topic}/{record.partition}, offsets {record.offset} to {record.through}"
        self.halts.take_unreadable(f"{where} cannot be read: {record.detail}")
        return True

    async def _keep_taking(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await self._take(consumer)
            self._read.set()

    async def _keep_looking(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            asked_s = time.monotonic()
            end = await self._end(consumer)
            async with asyncio.timeout(REQUEST_MS / 1000):
                while self.offset < end:
                    self._read.clear()
                    await self._read.wait()
            self._current_s = asked_s
            if self._is_lost:
                log.info("%s is read again, up to %d", self._place.topic, self.offset)
            self._is_lost = False
            await asyncio.sleep(min(LOOK_S_MAX, self._patience_ms / 1000 / LOOKS_A_PATIENCE))
