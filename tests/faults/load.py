"""A steady load of decisions with everything in it: fresh, stale, over the limit, unsure, malformed, repeated."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator

from aiokafka import AIOKafkaProducer

from tests.faults.fleet import Fleet
from tests.faults.stranger import Strangers

ENTITIES = 200


def decisions(run: str, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) without end; the same run and seed make the same mix."""
    rnd = random.Random(seed)
    made: list[tuple[bytes, bytes]] = []
    number = 0
    while True:
        number += 1
        kind = rnd.random()
        if kind < 0.03 and made:
            yield rnd.choice(made)  # a producer that retries
            continue
        entity = f"acct-{rnd.randrange(ENTITIES)}"
        now_ms = time.time_ns() // 1_000_000
        decision = {
            "id": f"{run}-{number}",
            "workflow": "payout",
            "entity": entity,
            "action": {"type": "pay", "amount": f"{rnd.uniform(1, 900):.2f}", "to": f"iban-{number}"},
            "observed_at_ms": now_ms - (3_600_000 if 0.03 < kind < 0.10 else rnd.randrange(2_000)),
            "decided_at_ms": now_ms,
            "confidence": 0.3 if 0.10 < kind < 0.15 else 0.9,
            "value_minor": 900_000 if 0.15 < kind < 0.22 else rnd.randrange(90_000),
            "currency": "EUR",
            "attributes": {"country": "xx" if kind > 0.98 else "de"},
        }
        value = json.dumps(decision).encode()
        if 0.22 < kind < 0.24:
            value = value[:-20]  # cut short
        record = (entity.encode(), value)
        if len(made) < 1000:
            made.append(record)
        else:
            made[number % 1000] = record
        yield record


class Load:
    """Sends decisions at a rate from a thread of its own, until the `with` block ends; strangers send beside it."""

    def __init__(self, fleet: Fleet, run: str, per_s: int = 400) -> None:
        self.sent = 0
        self._bootstrap, self._topic, self._run, self._per_s = fleet.bootstrap, fleet.prefix + "decisions", run, per_s
        self._strangers = Strangers(fleet.bootstrap, fleet.prefix, per_s, decisions(f"{run}-stranger", 8))
        fleet.strangers.append(self._strangers)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), name="load")
        self._error: BaseException | None = None

    def __enter__(self) -> Load:
        self._thread.start()
        self._strangers.begin()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "the load did not end"
        self._strangers.end()
        if self._error is not None:
            raise self._error

    async def _send(self) -> None:
        # idempotent: it survives restarts of the broker without sending a record twice
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True, linger_ms=5)
        await producer.start()
        try:
            began, source = time.monotonic(), decisions(self._run, 7)
            while not self._stop.is_set():
                due = int((time.monotonic() - began) * self._per_s)
                # while the broker is away the client blocks; do not send all of it at once afterwards
                if due - self.sent > self._per_s:
                    began += (due - self.sent) / self._per_s
                    continue
                for _ in range(due - self.sent):
                    key, value = next(source)
                    await producer.send(self._topic, value, key=key)
                    self.sent += 1
                await asyncio.sleep(0.01)
            await asyncio.wait_for(producer.flush(), 60)
        except BaseException as error:
            self._error = error
        finally:
            await asyncio.wait_for(producer.stop(), 30)
