"""Heartbeats on the topic `workers`: that this process lives, and which policies it works under.

They are the acknowledgement of policies and halts: one goes out as soon as a change is in force and what was decided
before it is committed. Nothing on the path waits for them; a broker that does not take them is tried again. The
broker's time of each is what this process's clock is held against.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.heartbeat import Heartbeat
from streams.encoding import Unwritable, readable
from streams.runtime.clock import Clock
from streams.runtime.in_force import InForce
from streams.runtime.settings import REQUEST_S, RETRY_S, Kafka
from streams.runtime.tasks import closed
from streams.runtime.transactions import LOG_APPEND_TIME

log = structlog.get_logger()

EVERY_MS = 3_000
COMPARE_MS = 500  # the same while this clock and the broker's are apart: all work waits for them to agree
LAST_WORD_S = 2.0
TROUBLES_MAX = 20
TROUBLE_CHARS_MAX = 300  # of each: where more is to be said, the log has it
HEARTBEAT_BYTES_MAX = 1_000_000  # the topic takes inputs, of 1 MiB, and so does the client
_ERRORS = (KafkaError, TimeoutError, OSError, AssertionError, Unwritable)


def beat_bytes(beat: Heartbeat) -> bytes:
    """The heartbeat as it is sent. Troubles are cut, and where its policies leave no room for them, left out."""
    troubles = [one[:TROUBLE_CHARS_MAX] for one in beat.troubles[:TROUBLES_MAX]]
    value = readable(msgspec.structs.replace(beat, troubles=troubles))
    return value if len(value) <= HEARTBEAT_BYTES_MAX else readable(msgspec.structs.replace(beat, troubles=[]))


class Heartbeats:
    """`settled` returns when what was being decided when it was called has ended."""

    def __init__(
        self,
        kafka: Kafka,
        role: str,
        group: str,
        in_force: InForce,
        settled: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._kafka, self._role, self._group = kafka, role, group
        self._in_force, self._clock = in_force, clock
        self._settled = settled
        self.worker = f"{role}/{socket.gethostname()[:100]}/{os.getpid()}/{secrets.token_hex(4)}"
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        """Tells until cancelled; then its last word, in a bounded time."""
        quiet = False
        try:
            while True:
                try:
                    await self._tell()
                    quiet = False
                except _ERRORS as error:
                    if not quiet:
                        log.warning("no heartbeat", why=f"{type(error).__name__}: {error}")
                    quiet = True
                    await self._close()
                    await asyncio.sleep(RETRY_S)
        finally:
            with contextlib.suppress(*_ERRORS):
                async with asyncio.timeout(LAST_WORD_S):
                    if self._producer is not None:
                        await self._send(self._in_force.offset, ended=True)
            await self._close()

    async def _tell(self) -> None:
        changed = self._in_force.changed
        while True:
            changed.clear()
            offset = self._in_force.offset
            await self._settled()
            await self._send(offset)
            with contextlib.suppress(TimeoutError):
                every_ms = COMPARE_MS if self._clock.apart else EVERY_MS
                await asyncio.wait_for(changed.wait(), every_ms / 1000)

    async def _send(self, offset: int, ended: bool = False) -> None:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._kafka.bootstrap, client_id=self.worker[:200], request_timeout_ms=5_000
            )
            await asyncio.wait_for(self._producer.start(), REQUEST_S)
        snapshot = self._in_force.snapshot
        beat = Heartbeat(
            worker=self.worker,
            role=self._role,
            at_ms=self._clock.now_ms(),
            every_ms=EVERY_MS,
            policies_offset=offset,
            policies={one.workflow: one.document.version for one in snapshot.by_index},
            troubles=list(self._in_force.troubles),
            ended=ended,
            group=self._group,
        )
        topic = self._kafka.topic("workers")
        sent = self._clock.read()
        sending = self._producer.send_and_wait(topic, beat_bytes(beat), key=self.worker.encode(), partition=0)
        written = await asyncio.wait_for(sending, REQUEST_S)
        self._clock.compare(sent, written.timestamp if written.timestamp_type == LOG_APPEND_TIME else None)

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await closed(producer.stop(), 1.0)
