"""Strangers on the topics: what a cluster holds that is not ours, beside the load of a fault test.

- Producers that compress with lz4 and zstd, and send good decisions.
- A librdkafka producer with its default partitioner, which puts most keys elsewhere than Java's does.
- Random bytes as keys, values and header names on every topic, about one record in a hundred.

What a stranger writes on `decisions` and `successors` is answered like everything else; so the audit has no more to say
about it. On a topic that only Sluicegate writes, the audit names each such record: `unexplained` counts them.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from schemas.topics import TOPICS

SHARE_OF_BYTES = 0.01  # of what the load sends
SHARE_OF_EACH = 0.05  # of what the load sends, by each of the three producers
CODECS = ("lz4", "zstd")
JUDGED = ("commands", "reviews", "exceptions", "reevaluations")  # the outputs that the audit reads
FLUSH_S = 60


def ours(value: bytes | None) -> dict[str, Any] | None:
    """What Sluicegate wrote, or None for what a stranger did."""
    try:
        found = orjson.loads(value or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class Strangers:
    """Send from threads of their own until `end`. `source` gives the good decisions of a run: (key, value)."""

    def __init__(self, bootstrap: str, prefix: str, per_s: int, source: Iterator[tuple[bytes, bytes]]) -> None:
        self.sent = 0
        self.unexplained = 0
        self._bootstrap, self._prefix, self._per_s = bootstrap, prefix, per_s
        self._source = source
        self._taken = threading.Lock()
        self._rnd = random.Random(per_s)
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=work.__name__)
            for work in (self._of_aiokafka, self._of_librdkafka)
        ]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Returns when all that was sent is acknowledged. Raises what went wrong in a thread."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * FLUSH_S)
            assert not thread.is_alive(), f"{thread.name} did not end"
        for error in self._errors:
            raise error

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._errors.append(error)

    def _due(self, share: float) -> Iterator[int]:
        """How many more are due, every now and then; after a pause of the broker not all at once."""
        began, done = time.monotonic(), 0
        while not self._stop.is_set():
            due = int((time.monotonic() - began) * self._per_s * share) - done
            done += due
            yield min(due, self._per_s)

    def _next(self) -> tuple[bytes, bytes]:
        with self._taken:
            return next(self._source)

    # compressed decisions, and bytes

    def _of_aiokafka(self) -> None:
        asyncio.run(self._send())

    async def _send(self) -> None:
        async with AsyncExitStack() as stack:
            clients = []
            for codec in CODECS:
                # idempotent: it survives restarts of the broker without sending a record twice
                client = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap, compression_type=codec, enable_idempotence=True, linger_ms=20
                )
                await client.start()
                stack.push_async_callback(self._closed, client)
                clients.append(client)
            counts = {topic.kind: len(await clients[0].partitions_for(self._prefix + topic.kind)) for topic in TOPICS}
            for due, nonsense in zip(self._due(SHARE_OF_EACH), self._due(SHARE_OF_BYTES), strict=False):
                for _ in range(due):
                    for client in clients:
                        key, value = self._next()
                        await client.send(self._prefix + "decisions", value, key=key)
                        self.sent += 1
                for _ in range(nonsense):
                    await self._nonsense(self._rnd.choice(clients), counts)
                await asyncio.sleep(0.05)

    async def _nonsense(self, client: AIOKafkaProducer, counts: dict[str, int]) -> None:
        rnd, kind = self._rnd, self._rnd.choice(list(counts))
        key, value = rnd.randbytes(rnd.randrange(1, 60)), rnd.randbytes(rnd.randrange(0, 2_000))
        headers = (
            [(rnd.choice(("content-type", "ce_specversion", "x")), rnd.randbytes(9))] if rnd.random() < 0.3 else []
        )
        await client.send(self._prefix + kind, value, key=key, partition=rnd.randrange(counts[kind]), headers=headers)
        self.unexplained += kind in JUDGED
        self.sent += kind == "decisions"

    async def _closed(self, client: AIOKafkaProducer) -> None:
        await asyncio.wait_for(client.flush(), FLUSH_S)
        await asyncio.wait_for(client.stop(), FLUSH_S)

    # decisions where librdkafka puts them

    def _of_librdkafka(self) -> None:
        refused: list[str] = []

        def answered(error: object, message: object) -> None:
            if error is not None:
                refused.append(str(error))

        client = Producer({"bootstrap.servers": self._bootstrap, "enable.idempotence": True, "log_level": 0})
        for due in self._due(SHARE_OF_EACH):
            for _ in range(due):
                key, value = self._next()
                client.produce(self._prefix + "decisions", value, key=key, on_delivery=answered)
                self.sent += 1
            client.poll(0.05)
        assert client.flush(FLUSH_S) == 0, "librdkafka has not sent all"
        assert not refused, refused[:3]
