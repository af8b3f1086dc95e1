"""People who answer reviews while workers die: a thread that follows `reviews` and sends signed verdicts."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.verdict import SIGNATURE_HEADER
from streams.signatures import sign
from tests.faults.stranger import ours

SECRET = "the desk's own secret"
KEYS = f"""\
keys:
  desk-1: {{secret: "{SECRET}", by: {{ana: [clerk], bo: [controller], cy: [controller], mallory: []}}}}
"""


def keys_file(folder: Path) -> Path:
    file = folder / "verdict-keys.yaml"
    file.write_text(KEYS)
    return file


class People:
    """Answer what they see, each review in one of a few ways, some twice and some not at all."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.verdicts: dict[tuple[int, int], dict[str, Any]] = {}  # by partition and offset
        self._bootstrap, self._prefix = bootstrap, prefix
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._answer()), name="people")

    def __enter__(self) -> People:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the people did not stop"
        if self._error is not None:
            raise self._error

    async def _answer(self) -> None:
        rnd = random.Random(11)
        consumer = AIOKafkaConsumer(
            self._prefix + "reviews",
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True)
        await consumer.start()
        await producer.start()
        try:
            while not self._stop.is_set():
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        review = ours(record.value)
                        if review is not None and review["kind"] == "disposition":
                            for verdict in _said(review, rnd):
                                await self._send(producer, record, verdict, rnd.random() < 0.95)
        except BaseException as error:
            self._error = error
        finally:
            await asyncio.wait_for(producer.stop(), 30)
            await asyncio.wait_for(consumer.stop(), 30)

    async def _send(self, producer: AIOKafkaProducer, record: Any, verdict: dict[str, Any], signed: bool) -> None:
        value = json.dumps(verdict).encode()
        headers = [(SIGNATURE_HEADER, sign("desk-1", SECRET.encode() if signed else b"guessed", value))]
        sent = await producer.send_and_wait(
            self._prefix + "verdicts", value, key=record.key, partition=record.partition, headers=headers
        )
        self.verdicts[sent.partition, sent.offset] = {**verdict, "signed": signed}


def _said(review: dict[str, Any], rnd: random.Random) -> list[dict[str, Any]]:
    """What people answer, in order."""
    kind = rnd.random()
    if kind < 0.1:
        return []  # nobody has time
    one = {
        "review_id": review["review_id"],
        "verdict": "approve",
        "action_digest": review["action_digest"],
        "by": "ana",
        "at_ms": time.time_ns() // 1_000_000,
    }
    if kind < 0.2:
        return [one, {**one, "by": "bo", "verdict": "reject"}]
    if kind < 0.3:
        return [{**one, "by": "mallory"}, {**one, "action_digest": "sha256:0"}]
    return [one, one, {**one, "by": "bo"}, {**one, "by": "cy"}]
