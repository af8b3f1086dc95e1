"""Names that aiokafka and Faust do not promise and that we rely on (listed in ARCHITECTURE.md): still in use there."""

from __future__ import annotations

import inspect

import aiokafka.producer.sender as sender
import pytest
from aiokafka.consumer import fetcher
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver

import streams.runtime.transactions  # noqa: F401  # sets what is looked at here
from streams.runtime.records import Lenient
from streams.runtime.settings import RETRY_BACKOFF_MS


def test_the_wait_after_a_commit_is_the_shortened_one() -> None:
    assert sender.BACKOFF_OVERRIDE == RETRY_BACKOFF_MS / 1000
    assert "return BACKOFF_OVERRIDE" in inspect.getsource(sender.AddPartitionsToTxnHandler.handle_response)


def test_what_a_fetch_becomes_is_made_by_the_names_that_are_replaced() -> None:
    """What the replacements do then is shown in test_records.py."""
    made = inspect.getsource(fetcher.Fetcher._proc_fetch_request)
    assert "MemoryRecords(part_data[-1])" in made
    assert "PartitionRecords(" in made
    theirs = Lenient.__base__
    assert theirs is not None
    assert theirs.__module__ == fetcher.__name__
    begun = inspect.getsource(theirs.__init__)
    for name in ("_tp", "_aborted_transactions", "_aborted_producers", "_isolation_level", "next_fetch_offset"):
        assert f"self.{name} = " in begun
    assert "self._records_iterator = self._unpack_records()" in begun
    assert "self._consumer_record(tp, record)" in inspect.getsource(theirs._unpack_records)
    assert "first_offset <= batch_offset" in inspect.getsource(theirs._consume_aborted_up_to)


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
