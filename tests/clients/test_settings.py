"""What may be set: whatever is given, it works or is refused in one line that says what would."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import given
from hypothesis import strategies as st
from sluicegate_kit import Executor, KitError, Limits, Producer
from sluicegate_kit.kafka import options_of
from sluicegate_kit.quiet import Seldom

BROKER = "127.0.0.1:9092"


class Silly:
    def __repr__(self) -> str:
        raise RuntimeError("no")


EXECUTORS = [
    *("bootstrap", "act", "group", "store", "prefix", "workflows"),
    *("name", "limits", "may_act", "on_lost", "kafka", "clock"),
]
GOOD: dict[str, Any] = {"bootstrap": BROKER, "act": print, "group": "g"}
anything = st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text()) | st.just(Silly())
odd_text = st.text(st.characters(exclude_categories=[]), max_size=300) | st.sampled_from(
    ["", " ", "x" * 10_000, "\0", "a:b"]
)
huge = st.integers(min_value=10**12) | st.just(10**5000) | st.integers(max_value=0)


def executor(**options: Any) -> Executor:
    return Executor(**{**GOOD, **options})


def refused(make: Any) -> str | None:
    told = None
    try:
        make()
    except KitError as error:
        told, code = str(error), error.exit_code
    if told is not None:
        assert told.isprintable(), told
        assert len(told) < 400
        assert code == 2
    return told


@given(
    options=st.dictionaries(
        st.sampled_from(EXECUTORS),
        anything | odd_text | huge,
        min_size=1,
        max_size=3,
    )
)
def test_no_option_of_an_executor_is_a_traceback(options: dict[str, Any]) -> None:
    refused(lambda: executor(**options))


@given(
    options=st.dictionaries(
        st.sampled_from(["bootstrap", "prefix", "compression", "delivery_ms", "kafka", "clock"]),
        anything | odd_text | huge,
        min_size=1,
        max_size=3,
    )
)
def test_no_option_of_a_producer_is_a_traceback(options: dict[str, Any]) -> None:
    refused(lambda: Producer(**{"bootstrap": BROKER, **options}))


@given(limits=st.dictionaries(st.sampled_from([*vars(Limits())]), anything | huge, min_size=1))
def test_no_limit_is_a_traceback(limits: dict[str, Any]) -> None:
    told = refused(lambda: executor(limits=Limits(**limits)))
    if told is not None:
        assert told.startswith("the limit ")
        assert " is expected" in told


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"group": "a\ud800"}, "group is 'a\\ud800': it may hold no control or half characters"),
        ({"group": "g" * 201}, "group has 201 characters: 1 to 200 are expected"),
        ({"name": ""}, "name has 0 characters: 1 to 200 are expected"),
        ({"workflows": "payout"}, "workflows is 'payout': a list of names is expected"),
        ({"workflows": [1]}, "a name in workflows is 1: text is expected"),
        ({"prefix": "\u00fc."}, "letters a-z, digits, '.', '_' and '-' are expected, for example sluicegate."),
        ({"prefix": "p" * 240}, "the prefix has 240 characters: at most 236 are expected"),
        ({"store": 7}, "store is 7: a URL, for example sqlite:///acted.db, or a Store is expected"),
        ({"store": "x" * 300}, "is no URL: write sqlite:///acted.db"),
        ({"store": "sqlite:///a\0b"}, "it may hold no control or half characters"),
        ({"limits": {"concurrency": 3}}, "Limits(concurrency=32, ...) is expected"),
        ({"limits": Limits(session_ms=2**31)}, "the limit session_ms is 2147483648: an integer of at least 100 and"),
        ({"clock": lambda: 1.5}, "clock gives 1.5: integer epoch milliseconds are expected"),
        ({"kafka": {"no_such": 1}}, "no client of aiokafka has one with the name 'no_such'"),
        ({"kafka": {"compression_type": "lz4"}}, "give compression='lz4' to the producer"),
        ({"kafka": ["acks"]}, "a dict of aiokafka's options is expected"),
        ({"bootstrap": ["a:1"]}, "bootstrap is ['a:1']: text is expected"),
        ({"bootstrap": "a:1,b:70000"}, "the port is '70000', a number from 1 to 65535"),
    ],
)
def test_what_is_refused_says_what_would_work(options: dict[str, Any], says: str) -> None:
    assert says in (refused(lambda: executor(**options)) or "")


@pytest.mark.parametrize("bootstrap", ["a.b-c_d:1", "h1:1, h2:65535", "[::1]:9092", "::1", "localhost", "a.b.:9092"])
def test_addresses_that_are_some(bootstrap: str) -> None:
    assert refused(lambda: executor(bootstrap=bootstrap)) is None


def test_each_client_gets_the_options_that_it_has() -> None:
    options = {"bootstrap_servers": BROKER, "linger_ms": 5, "fetch_max_bytes": 5}
    assert options_of(AIOKafkaProducer, options) == {"bootstrap_servers": BROKER, "linger_ms": 5}


def test_a_library_is_heard_once_in_ten_seconds() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Seldom())

    def says(name: str, level: int, at_s: float, message: str, *args: Any, error: BaseException | None = None) -> None:
        info = None if error is None else (type(error), error, error.__traceback__)
        record = logging.LogRecord(name, level, "", 0, message, args, info)
        record.created = at_s
        handler.handle(record)

    for number in range(1000):
        says("aiokafka.conn", logging.ERROR, 100 + number / 100, "Unable to connect to %s", number)
        says("aiokafka.conn", logging.WARNING, 100 + number / 100, "retrying")
    says("aiokafka.conn", logging.ERROR, 110.0, "Unable to connect to %s", "again")
    says("asyncio", logging.ERROR, 110.0, "Task failed", error=ValueError("two\nlines"))
    for _ in range(2):
        says("sluicegate_kit", logging.INFO, 110.0, "ours")
    assert stream.getvalue().splitlines() == [
        "Unable to connect to 0",
        "Unable to connect to again",
        "Task failed (ValueError: two lines)",
        "ours",
        "ours",
    ]
