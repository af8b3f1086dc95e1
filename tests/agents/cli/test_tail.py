"""`sluicegate tail`: what a person reads, what a program reads, and that only committed records are shown."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agents.cli.lines import Seen, as_document, as_line, printable
from agents.readable import duration, money
from schemas.examples import EXAMPLES

SLUICEGATE = [sys.executable, "-c", "from agents.cli.main import main; main()"]
TIME_MS = 1_764_000_000_163
COLORS = {"green", "yellow", "red", "cyan", "magenta", "blue"}


def seen(value: bytes | None, key: bytes | None = b"acct-17") -> Seen:
    return Seen("t.x", 2, 9917, TIME_MS, key, value)


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_a_command_says_when_where_who_why_how_old_and_how_much() -> None:
    line = as_line(
        "commands",
        seen(
            body(
                command_id="c-1",
                decision_id="d-7",
                entity="acct-17",
                authority="autonomous",
                reason="within_bounds",
                rule="small-and-sure",
                policy="billing@3",
                age_ms=163,
                value_minor=125050,
                currency="USD",
            )
        ),
    )
    assert line.where == "2025-11-24 16:00:00.163Z 2/9917"
    assert line.who == "acct-17 d-7"
    assert line.what == "autonomous: within_bounds (small-and-sure, billing@3)"
    assert line.tail == "age 163 ms  1,250.50 USD"


def test_a_review_takes_the_money_from_its_decision_and_names_all_reasons() -> None:
    value = body(
        review_id="r-2-1",
        decision_id="d-7",
        entity="acct-17",
        reasons=["value_over_limit", "irreversible"],
        queue="billing",
        age_ms=21_400,
        decision={"value_minor": 700, "currency": "JPY"},
    )
    line = as_line("reviews", seen(value))
    assert line.what == "for billing: value_over_limit, irreversible"
    assert line.tail == "age 21.4 s  700 JPY"


def test_an_exception_without_a_decision_is_named_by_its_own_id_and_key() -> None:
    value = body(exception_id="x-1", decision_id=None, entity=None, reason="invalid.json", detail="not JSON")
    line = as_line("exceptions", seen(value, key=None))
    assert line.who == "(no key) x-1"
    assert line.what == "invalid.json: not JSON"


def shown(example: str, kind: str) -> str:
    value = msgspec.json.encode(EXAMPLES[example])
    line = as_line(kind, replace(seen(value), timestamp_ms=TIME_MS + 700_000))
    assert line.color in COLORS
    return f"{line.who}: {line.what}  {line.tail}"


def test_a_decision_that_is_asked_about_again_is_told_in_a_line_each() -> None:
    """The request, the state of the entity that the evaluator is shown, and the decision made again."""
    assert shown("reevaluation", "reevaluations") == (
        "acct-17 d-7f3a: ask again after attempt 1, 18 min left: stale.age: observed 700000 ms ago; "
        "the budget is 600000 ms (billing@3)  age 12 min  1,250.50 USD"
    )
    assert shown("context", "context") == 'acct-17: version 42: {"rate_card":"2019-02"}  age 7 min'
    assert shown("successor", "successors") == (
        "acct-17 d-7f3a~2: attempt 2 after stale.age: billing proposes invoice.post by rater@2026-11-01, "
        "confidence 0.95  age 155 ms  1,253.00 USD"
    )


def test_what_could_not_be_saved_says_how_often_it_was_tried() -> None:
    value = body(
        entity="e",
        decision_id="d~3",
        reason="reevaluation.timeout",
        detail="no answer",
        attempt=3,
        first_reason="stale.age",
    )
    assert as_line("exceptions", seen(value)).what == "reevaluation.timeout: no answer (attempt 3, first stale.age)"


def test_a_context_that_is_removed_is_no_error() -> None:
    line = as_line("context", seen(None))
    assert (line.who, line.what, line.color) == ("acct-17", "removed: it has no context any more", "yellow")
    assert as_line("commands", seen(None)).color == "red"


@pytest.mark.parametrize(
    "kind",
    [
        *("commands", "reviews", "exceptions", "decisions", "receipts", "state"),
        *("reevaluations", "successors", "context"),
    ],
)
@pytest.mark.parametrize(
    "value",
    [None, b"", b"\xff\xfe", b"no json", b"[1]", b"{}", body(reasons=5, action=3, decision=[], age_ms="x")],
)
def test_whatever_stands_in_a_topic_makes_a_line_and_a_document(kind: str, value: bytes | None) -> None:
    assert as_line(kind, seen(value)).where.endswith("2/9917")
    assert json.loads(as_document(seen(value)))["offset"] == 9917


def test_control_characters_do_not_reach_the_terminal() -> None:
    for value in (b"\x1b[2Jowned\x07", body(id="d\x1b[31m", workflow="\x1b]0;x\x07", currency="\x1b[A", value_minor=1)):
        line = as_line("decisions", seen(value, key=b"\x1b[1m"))
        assert "".join((line.where, line.who, line.what, line.tail)).isprintable()
    assert printable("a" * 500, 10) == "a" * 9 + "…"


def test_the_value_is_embedded_as_it_is_on_one_line() -> None:
    value = b'{"a": 1.10,\r\n "b":1e2, "c": 12345678901234567890123, "a": 2}'
    document = as_document(seen(value))
    assert value.replace(b"\r\n", b"  ") in document
    assert b"\n" not in document


def test_what_is_no_json_is_given_raw() -> None:
    assert json.loads(as_document(seen(b"{nope")))["raw"] == "{nope"
    assert json.loads(as_document(seen(b"\xff")))["raw_base64"] == "/w=="
    tombstone = json.loads(as_document(seen(None)))
    assert tombstone["value"] is None
    assert "raw" not in tombstone


def test_headers_are_an_object_and_none_of_them_is_lost() -> None:
    headers = (("ce_id", b"c-1"), ("x", b"1"), ("x", None), ("x", b"\xff"), ("", None))
    found = json.loads(as_document(replace(seen(b"1"), headers=headers)))
    assert found["headers"] == {"ce_id": "c-1", "x": ["1", None, "\\xff"], "": None}
    assert json.loads(as_document(seen(b"{nope")))["headers"] == {}


def test_money_and_durations_are_exact_where_it_matters() -> None:
    assert money(-8030, "USD") == "-80.30 USD"
    assert money(-5, "USD") == "-0.05 USD"
    assert money(2**53, "USD") == "90,071,992,547,409.92 USD"
    assert money(1234, "KWD") == "1.234 KWD"
    assert [duration(ms) for ms in (163, 21_400, 720_000, 12_600_000)] == ["163 ms", "21.4 s", "12 min", "3.5 h"]


def tail(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SLUICEGATE, "tail", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_an_unknown_topic_lists_the_kinds() -> None:
    done = tail("nope")
    assert done.returncode == 2
    assert "commands" in done.stderr
    assert "case-actions" in done.stderr


def test_without_a_broker_it_ends_with_code_3() -> None:
    done = tail("commands", "--bootstrap", "127.0.0.1:1")
    assert done.returncode == 3
    assert "no Kafka answers at 127.0.0.1:1" in done.stderr


async def fill(bootstrap: str, topic: str) -> None:
    """Two committed records, one aborted between them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic)
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, b'{"n": 1.50}', key=b"e")
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b'{"n": "taken back"}', key=b"e")
    await producer.abort_transaction()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"tail end", key=b"e")
    await producer.stop()


@pytest.mark.kafka
def test_it_shows_committed_records_alone_and_stops_after_the_count(kafka: Any, prefix: str) -> None:
    asyncio.run(fill(kafka.bootstrap, f"{prefix}commands"))
    where = ["--bootstrap", kafka.bootstrap, "--prefix", prefix]
    done = tail("commands", "--from-beginning", "-n", "2", "--output", "json", *where)
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert '"value":{"n": 1.50}' in done.stdout
    assert (first["topic"], first["partition"], first["offset"], first["key"]) == (f"{prefix}commands", 0, 0, "e")
    assert second["raw"] == "tail end"
    text = tail("commands", "--from-beginning", "-n", "2", *where)
    assert "tail end" in text.stdout
    assert "taken back" not in text.stdout


@pytest.mark.kafka
def test_ctrl_c_and_a_closed_pipe_end_it_without_a_word(kafka: Any, prefix: str) -> None:
    asyncio.run(fill(kafka.bootstrap, f"{prefix}commands"))
    command = [*SLUICEGATE, "tail", "commands", "--from-beginning"]
    command += ["--bootstrap", kafka.bootstrap, "--prefix", prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as following:
        assert following.stdout is not None
        following.stdout.readline()
        following.send_signal(signal.SIGINT)
        _, errors = following.communicate(timeout=30)
        assert (following.returncode, errors) == (0, b"")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.kafka
def test_a_missing_topic_says_how_to_make_it(kafka: Any, prefix: str) -> None:
    done = tail("commands", "--bootstrap", kafka.bootstrap, "--prefix", prefix)
    assert done.returncode == 2
    assert "sluicegate topics apply" in done.stderr
