"""The running gate, one worker for all of these tests: what arrives, what leaves, and that nothing of it is lost."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import (
    Record,
    audited,
    committed_is,
    decision,
    dispositions,
    new_prefix,
    now_ms,
    producer,
    record,
    send,
    successor,
    worker,
)

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="module")]
Place = tuple[str, int, int]


@dataclass(slots=True)
class Running:
    """The gate under test and the count of what was sent to it."""

    bootstrap: str
    prefix: str
    log: Callable[[], str]
    sent: set[Place] = field(default_factory=set)

    @property
    def decisions(self) -> str:
        return self.prefix + "decisions"

    @property
    def successors(self) -> str:
        return self.prefix + "successors"

    async def put(self, *records: Record) -> list[tuple[str, Any]]:
        """Sends them, and waits for the answer to each: (output, record)."""
        places = await send(self.bootstrap, records)
        self.sent.update(places)
        answers = await dispositions(self.bootstrap, self.prefix, len(self.sent))
        assert answers.keys() == self.sent
        return [answers[place] for place in places]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    prefix, folder = new_prefix(), tmp_path_factory.mktemp("gate")
    await apply(kafka.bootstrap, prefix, partitions=2)
    with worker(kafka.bootstrap, prefix, folder) as child:
        await child.said("partition ready", 2)
        yield Running(kafka.bootstrap, prefix, lambda: child.log)
        found = await audited(kafka.bootstrap, prefix, prefix + "gate")
        assert found["ok"], found
        assert found["pending"] == 0
        assert await child.stop() == 0, child.log


def reason(answer: tuple[str, Any]) -> str:
    """Of an exception; the output's name otherwise."""
    output, body = answer
    return str(body["reason"]) if output == "exceptions" else output


async def test_poison_arrives_as_bytes_and_is_answered_like_everything_else(gate: Running) -> None:
    poison = [b"\xff\xfe\x00", b"{", b"", None, b"[" * 10_000, b'{"a":1,"a":2}']
    records = []
    for number, value in enumerate(poison):
        records.append(record(gate.decisions, decision(f"before-{number}"), 0))
        records.append(Record(gate.decisions, b"acct-1", value, 0))
    answers = await gate.put(*records, record(gate.decisions, decision("after"), 0))
    assert [reason(one) for one in answers[1::2]] == [
        "invalid.encoding",
        "invalid.json",
        "invalid.empty",
        "invalid.empty",
        "invalid.json",
        "invalid.schema",
    ]
    assert {reason(one) for one in answers[::2]} == {"commands"}
    assert answers[1][1]["raw_base64"] == "//4A"


async def test_no_accepted_input_makes_an_output_that_cannot_be_sent(gate: Running, tmp_path: Path) -> None:
    big = b"\x00" * 65_536  # each byte becomes six in the exception's text
    key = b"k" * (1_048_576 - len(big) - 200)
    broad = decision("broad", action={"text": "\x01" * 43_000})
    room = 262_144 - len(orjson.dumps(broad))
    broad["action"]["more"] = "x" * (room - len(',"more":""'))
    assert len(orjson.dumps(broad)) == 262_144
    escalated = {**broad, "id": "wide!", "value_minor": 999999, "currency": "USD"}
    escalated["action"] = {**broad["action"], "more": broad["action"]["more"][:-20]}
    answers = await gate.put(
        Record(gate.decisions, key, big, 0),
        Record(gate.decisions, b"k" * 1_048_000, b"", 0),
        Record(gate.decisions, b"k", b"\x00" * 1_048_000, 0),
        record(gate.decisions, broad, 0),
        record(gate.decisions, escalated, 0),
    )
    assert [reason(one) for one in answers] == [
        "invalid.json",
        "invalid.empty",
        "invalid.oversized",
        "commands",
        "reviews",
    ]
    assert answers[0][1]["raw"] == big.decode()
    assert answers[3][1]["action"] == broad["action"]


async def test_an_aborted_transaction_on_an_input_is_never_seen(gate: Running) -> None:
    for topic, body in ((gate.decisions, decision("ghost")), (gate.successors, successor("ghost", 2))):
        async with producer(gate.bootstrap, transactional_id=f"{topic}-writer") as client:
            await client.begin_transaction()
            await client.send_and_wait(topic, orjson.dumps(body), key=b"acct-1", partition=0)
            await client.abort_transaction()
    answers = await gate.put(record(gate.decisions, decision("ghost", value_minor=7), 0))
    assert [reason(one) for one in answers] == ["commands"], "the ghost is not remembered either"


async def test_a_reply_to_header_makes_nobody_reply(gate: Running) -> None:
    topic = gate.prefix + "replies"
    admin = AIOKafkaAdminClient(bootstrap_servers=gate.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
        plain = record(gate.decisions, decision("reply"), 0)
        headers = (("Faust-Ag-ReplyTo", topic.encode()), ("Faust-Ag-CorrelationId", b"1"))
        assert [reason(one) for one in await gate.put(plain._replace(headers=headers))] == ["commands"]
        async with producer(gate.bootstrap) as client:
            assert (await client.send_and_wait(topic, b"first")).offset == 0
    finally:
        await admin.delete_topics([topic])
        await admin.close()


async def test_only_the_transactions_move_the_offsets_of_the_group(gate: Running) -> None:
    """Both are exactly one past the last input: the transaction of a batch carries the offset of its last record."""
    await gate.put(*(record(gate.decisions, decision(f"offset-{number}", f"acct-{number}")) for number in range(20)))
    last = {
        (gate.decisions, number): 1
        + max(offset for topic, partition, offset in gate.sent if (topic, partition) == (gate.decisions, number))
        for number in (0, 1)
    }
    await committed_is(gate.bootstrap, gate.prefix + "gate", last)


async def test_a_successor_is_commanded_under_its_root_with_the_smaller_deadline(gate: Running) -> None:
    first = decision("root-1", value_minor=10**6)
    final_ms = now_ms() + 60_000
    early = successor("root-1", 2, final_deadline_ms=final_ms)
    (output, _), (second, command) = await gate.put(record(gate.decisions, first, 0), record(gate.successors, early, 0))
    assert (output, second) == ("reviews", "commands")
    assert command["command_id"] == "c-" + hashlib.sha256(b"sluicegate:root-1").hexdigest()[:32]
    assert (command["decision_id"], command["attempt"]) == ("root-1~2", 2)
    assert command["deadline_ms"] == final_ms

    late = successor("root-2", 7, observed_at_ms=now_ms() - 500_000, final_deadline_ms=now_ms() + 10**7)
    ((_, command),) = await gate.put(record(gate.successors, late, 0))
    assert command["attempt"] == 7
    assert command["deadline_ms"] == late["observed_at_ms"] + 600_000, "the attempt's own budget is the smaller one"


async def test_a_root_has_one_command_and_no_second_one(gate: Running) -> None:
    answers = await gate.put(
        record(gate.decisions, decision("twice"), 0),
        record(gate.decisions, decision("other"), 0),
    )
    answers += await gate.put(record(gate.successors, successor("twice", 2), 0))
    answers += await gate.put(
        record(gate.successors, successor("fresh", 2), 0), record(gate.successors, successor("fresh", 3), 0)
    )
    assert [reason(one) for one in answers] == [
        "commands",
        "commands",
        "duplicate.conflict",
        "commands",
        "duplicate.conflict",
    ]
    again, other = successor("fresh", 2), successor("fresh", 2, value_minor=7)
    for body, said in ((again, "duplicate.repeat"), (other, "duplicate.conflict")):
        assert reason((await gate.put(record(gate.successors, body, 0)))[0]) == said, "times are no content"


async def test_a_key_in_another_partition_than_javas_is_refused_and_gets_no_second_command(gate: Running) -> None:
    """What librdkafka's default partitioner does to an entity: the same decision, twice, in two partitions."""
    astray, home = await gate.put(*(record(gate.decisions, decision("librdkafka"), number) for number in (1, 0)))
    assert [reason(astray), reason(home)] == ["invalid.key", "commands"]
    assert "its key belongs to partition 0 of 2" in astray[1]["detail"]
    assert "partitioner=murmur2_random" in astray[1]["detail"]


async def test_the_final_deadline_ends_a_successor(gate: Running) -> None:
    answers = await gate.put(
        record(gate.successors, successor("over", 2, final_deadline_ms=now_ms() - 1), 0),
        record(gate.successors, {**decision("forged~2"), "root_id": "forged"}, 0),
        record(gate.decisions, successor("forged", 2), 0),
    )
    assert [reason(one) for one in answers] == ["stale.age", "invalid.schema", "invalid.schema"]


async def test_the_log_names_no_decision(gate: Running) -> None:
    """One line per event that matters, none per decision."""
    assert "decided" not in gate.log()
    assert len(gate.log().splitlines()) < 30, gate.log()
