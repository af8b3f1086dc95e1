"""Tells on `workers` that this executor lives, and up to where it follows `policies`: the acknowledgement of a halt.

Acting never waits for it, and an executor that may not write there acts all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Struct

from sluicegate_kit import kafka as broker
from sluicegate_kit.errors import KitError
from sluicegate_kit.following import Following

log = logging.getLogger("sluicegate_kit")

EVERY_MS = 5_000
SEND_S = 5.0
LAST_WORD_S = 2.0
TROUBLES_MAX = 20
_ERRORS = (KafkaError, OSError, TimeoutError, AssertionError, ValueError, KitError)


class Heartbeat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All records of `policies` before `policies_offset` are followed. Times are milliseconds; `ended`: the last word.

    `troubles`: what cannot be read, there or on `commands`, in words.
    """

    worker: str
    role: str
    at_ms: int
    every_ms: int
    policies_offset: int
    troubles: list[str] = []
    ended: bool = False


class Heartbeats:
    """Every few seconds, and at once after each halt, resumption or recall that is followed."""

    def __init__(
        self,
        options: Mapping[str, Any],
        prefix: str,
        worker: str,
        following: Following,
        lost: Sequence[str],
        clock: Callable[[], int],
    ) -> None:
        self._options, self._topic, self._lost = options, prefix + "workers", lost
        self._worker, self._following, self._clock = worker[:200], following, clock
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        """Tells until it is cancelled; then its last word, in a bounded time."""
        is_quiet = False
        try:
            while True:
                self._following.changed.clear()
                try:
                    await self._send()
                    is_quiet = False
                except _ERRORS as error:
                    if not is_quiet:
                        log.warning("no heartbeats on %s: %s", self._topic, f"{error}" or type(error).__name__)
                    is_quiet = True
                    await self._close()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._following.changed.wait(), EVERY_MS / 1000)
        finally:
            with contextlib.suppress(*_ERRORS):
                async with asyncio.timeout(LAST_WORD_S):
                    if self._producer is not None:
                        await self._send(ended=True)
            await self._close()

    async def _send(self, ended: bool = False) -> None:
        if self._producer is None:
            self._producer = await broker.start(
                lambda: AIOKafkaProducer(**broker.options_of(AIOKafkaProducer, self._options)),
                str(self._options["bootstrap_servers"]),
            )
        beat = Heartbeat(
            worker=self._worker,
            role="executor",
            at_ms=self._clock(),
            every_ms=EVERY_MS,
            policies_offset=self._following.offset,
            troubles=[*self._following.halts.troubles.values(), *self._lost][:TROUBLES_MAX],
            ended=ended,
        )
        sending = self._producer.send_and_wait(
            self._topic, msgspec.json.encode(beat), key=self._worker.encode(), partition=0
        )
        await asyncio.wait_for(sending, SEND_S)

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await broker.within(producer.stop(), LAST_WORD_S)
