"""A header whose name is not UTF-8: Kafka stores it, aiokafka would raise at it, the gate and the audit go on."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import OUTPUTS, SLUICEGATE, Record, decision, read, send, worker

NAME, NO_TEXT = b"abcd", b"a\xff\xfed"


def _with_no_text(build: Any) -> Any:
    def built(self: BatchBuilder) -> bytes:
        batch = bytearray(build(self))
        if NAME in batch:
            at = batch.index(NAME)
            batch[at : at + len(NAME)] = NO_TEXT
            batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
        return bytes(batch)

    return built


async def test_a_header_name_that_is_no_text_stops_nothing(
    kafka: Broker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply(kafka.bootstrap, prefix, partitions=1)
    monkeypatch.setattr(BatchBuilder, "_build", _with_no_text(BatchBuilder._build))
    for number in range(3):
        headers = ((NAME.decode(), b"1"),) if number == 1 else ()
        record = Record(prefix + "decisions", b"acct-1", orjson.dumps(decision(f"d-{number}")), 0, headers=headers)
        await send(kafka.bootstrap, [record])
    with worker(kafka.bootstrap, prefix, tmp_path) as child:
        found = await read(kafka.bootstrap, [prefix + output for output in OUTPUTS], 3)
        assert await child.stop() == 0, child.log
    assert [one.json()["decision_id"] for one in found] == ["d-0", "d-1", "d-2"]
    audit = [*SLUICEGATE, "audit", "--bootstrap", kafka.bootstrap, "--prefix", prefix]
    verdict = await asyncio.to_thread(subprocess.run, audit, capture_output=True, text=True, timeout=60)
    assert (verdict.returncode, "every promise holds for 3 inputs" in verdict.stdout) == (0, True), verdict
