"""Names that aiokafka and Faust do not promise and that we rely on (listed in ARCHITECTURE.md): still in use there."""

from __future__ import annotations

import inspect

import aiokafka.producer.sender as sender
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver

import streams.runtime.transactions
import streams.runtime.transport  # noqa: F401  # both set what is looked at here
from streams.runtime.settings import RETRY_BACKOFF_MS


def test_the_wait_after_a_commit_is_the_shortened_one() -> None:
    assert sender.BACKOFF_OVERRIDE == RETRY_BACKOFF_MS / 1000
    assert "return BACKOFF_OVERRIDE" in inspect.getsource(sender.AddPartitionsToTxnHandler.handle_response)


def test_records_come_as_aiokafka_has_read_them() -> None:
    """With everything that the transport takes from them."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 16)
    builder.append(0, 1_764_000_000_000, b"k", b"v", [("traceparent", b"00")])
    batches = MemoryRecords(bytes(builder.build()))
    found = PartitionRecords(TopicPartition("t", 0), batches, [], 0, None, None, True, READ_COMMITTED)
    (record,) = list(found)
    assert type(record).__name__ == "DefaultRecord"
    assert (record.offset, record.timestamp, record.timestamp_type) == (0, 1_764_000_000_000, 0)
    assert (record.key, record.value, list(record.headers)) == (b"k", b"v", [("traceparent", b"00")])


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (driver.Consumer, "_new_consumer_thread"),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
        (driver.AIOKafkaConsumerThread, "_fetch_records"),
        (driver.AIOKafkaConsumerThread, "_ensure_consumer"),
    ],
)
def test_what_is_overridden_is_still_called(owner: type, name: str) -> None:
    modules = [inspect.getsource(inspect.getmodule(one)) for one in (driver.Consumer, Consumer)]  # type: ignore[arg-type]  # it has one
    assert callable(getattr(owner, name))
    assert any(f"self.{name}(" in text or f"self.{name}," in text for text in modules)
