"""`sluicegate send`: checked before anything goes out, keyed and partitioned as Java does, bytes as they were."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agents.cli.files import lines_of
from agents.cli.send import check_lines, key_of, rereadable, stamp
from schemas.common import VALUE_BYTES_MAX
from streams.errors import ConfigurationError
from streams.ingest import refusal

SLUICEGATE = [sys.executable, "-c", "from agents.cli.main import main; main()"]
PARTITIONS = 4
# spaces, an escape, a number that doubles cannot hold, an exponent: all of it must arrive as it is
ACTION = '{ "type":"invoice.post", "rate":1.10, "big":123456789012345678901, "text":"\\u00e9 /\\/", "e":1E2 }'
# of Kafka's own tests of its murmur2: the text and its hash as Java's int
JAVA_MURMUR2 = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


def line(number: int = 1, entity: str = "acct-17", **fields: Any) -> bytes:
    head = json.dumps({"id": f"d-{number}", "workflow": "billing", "entity": entity, "observed_at_ms": 1} | fields)
    return f'{head[:-1]}, "action": {ACTION}}}'.encode()


def test_the_stamp_is_put_into_the_text_and_nothing_else_changes() -> None:
    stamped = stamp(line() + b" \t", 1234)
    assert stamped == line()[:-1] + b',"sent_at_ms":1234} \t'
    assert refusal(stamped) is None
    assert stamp(stamped, 9999) is stamped


def test_a_line_that_would_grow_over_the_limit_goes_without_a_stamp() -> None:
    full = line(note="x" * (VALUE_BYTES_MAX - len(line(note=""))))
    assert len(full) == VALUE_BYTES_MAX
    assert stamp(full, 1234) is full


def test_the_key_is_the_entity_where_it_can_be_read() -> None:
    assert key_of(line(entity="acct-é")) == "acct-é".encode()
    for unreadable in (b"", b"no json", b"[]", b"{}", b'{"entity": 5}', b'{"entity": ""}', b"\xff", b'{"a": NaN}'):
        assert key_of(unreadable) is None
    assert key_of(b'{"entity": "e"}') == b"e"


def test_lines_end_at_newlines_alone() -> None:
    text = "a\r\nb\u2028c\n\nd".encode()
    assert list(lines_of(io.BytesIO(text))) == [(1, b"a", 1), (2, "b\u2028c".encode(), 5), (3, b"", 0), (4, b"d", 1)]


def test_of_a_line_that_is_too_long_only_the_beginning_is_kept() -> None:
    text = b"abcdef\r\n" + b"x" * 4_000_000 + b"\nabcd\r\n" + b"y" * 9
    found = list(lines_of(io.BytesIO(text), bytes_max=4))
    assert found == [(1, b"abcd", 6), (2, b"xxxx", 4_000_000), (3, b"abcd", 4), (4, b"yyyy", 9)]
    with pytest.raises(ConfigurationError, match=r"line 1: invalid\.oversized: the line has 2000000 bytes"):
        check_lines(io.BytesIO(b"[" * 2_000_000), "here")


def test_bad_lines_are_all_counted_and_the_first_ten_named() -> None:
    lines = [line(), b"", *[b"{}"] * 12, b"no json"]
    with pytest.raises(ConfigurationError) as refused:
        check_lines(io.BytesIO(b"\n".join(lines)), "here")
    message = str(refused.value)
    assert message.startswith("13 of 14 lines of here are not decisions, so nothing was sent")
    assert "line 3: invalid.schema" in message
    assert "line 12: " in message
    assert "line 13: " not in message
    assert "and 3 more" in message
    assert check_lines(io.BytesIO(line() + b"\n\n"), "here") == 1


def test_a_pipe_is_copied_so_that_it_can_be_read_twice() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with rereadable(Pipe(line())) as copy:
        assert copy.read() == line()
        copy.seek(0)
        assert copy.read() == line()


def send(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*SLUICEGATE, "send", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


def test_without_a_broker_it_ends_with_code_3() -> None:
    done = send("-", "--bootstrap", "127.0.0.1:1", stdin=line())
    assert done.returncode == 3
    assert b"no Kafka answers at 127.0.0.1:1" in done.stderr
    assert send("-", "--bootstrap", "foo:bar", stdin=line()).returncode == 2


async def create(bootstrap: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"{prefix}decisions", PARTITIONS, 1)])
    await admin.close()


async def read_all(bootstrap: str, prefix: str) -> list[Any]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(f"{prefix}decisions", number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[Any] = []
        while len(found) < sum(ends.values()):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
        return found
    finally:
        await consumer.stop()


@pytest.mark.kafka
class TestOnKafka:
    @pytest.fixture(autouse=True)
    def place(self, kafka: Any, prefix: str) -> None:
        self.bootstrap, self.prefix = kafka.bootstrap, prefix
        self.where = ["--bootstrap", kafka.bootstrap, "--prefix", prefix]
        asyncio.run(create(kafka.bootstrap, prefix))

    def records(self) -> list[Any]:
        return asyncio.run(read_all(self.bootstrap, self.prefix))

    def test_key_and_partition_are_those_of_javas_client(self) -> None:
        lines = [line(number, entity) for number, entity in enumerate(JAVA_MURMUR2)]
        done = send("-", "--output", "json", *self.where, stdin=b"\n".join(lines))
        assert done.returncode == 0, done.stderr
        expected = {entity: (java_hash & 0x7FFFFFFF) % PARTITIONS for entity, java_hash in JAVA_MURMUR2.items()}
        assert {record.key.decode(): record.partition for record in self.records()} == expected
        summary = json.loads(done.stdout)
        assert (summary["sent"], summary["stamped"], sum(summary["partitions"].values())) == (6, 6, 6)

    def test_the_action_arrives_byte_for_byte(self, tmp_path: Path) -> None:
        file = tmp_path / "decisions.ndjson"
        file.write_bytes(line(1) + b"\r\n\n" + line(2, sent_at_ms=5) + b"\n")
        done = send(str(file), *self.where)
        assert done.returncode == 0, done.stderr
        assert b"sent 2 to" in done.stdout
        assert b"1 blank lines left out" in done.stdout
        first, second = (record.value for record in self.records())
        assert first.startswith(line(1)[:-1] + b',"sent_at_ms":')
        assert second == line(2, sent_at_ms=5)

    def test_a_bad_line_is_named_and_nothing_is_sent(self) -> None:
        done = send("-", *self.where, stdin=b"\n".join([line(1), line(2), b'{"id": "d-3"}']))
        assert done.returncode == 2
        assert b"line 3: invalid.schema" in done.stderr
        assert self.records() == []

    def test_raw_sends_every_line_as_it_is(self) -> None:
        lines = [line(1), b'{"id": "d-3", "entity": "e"}', b"no json", b"", b"\xff\xfe"]
        done = send("--raw", "-", *self.where, "--output", "json", stdin=b"\n".join(lines) + b"\n")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["without_key"] == 3
        sent = {record.value: record.key for record in self.records()}
        assert sent == {lines[0]: b"acct-17", lines[1]: b"e", b"no json": None, b"": None, b"\xff\xfe": None}

    def test_a_missing_topic_and_a_record_that_is_too_large_are_refused(self) -> None:
        done = send("-", *self.where[:2], "--prefix", "absent.", stdin=line())
        assert (done.returncode, b"sluicegate topics apply" in done.stderr) == (2, True)
        done = send("--raw", "-", *self.where, stdin=line() + b"\n" + b"x" * (1 << 20))
        assert done.returncode == 2
        assert b"line 2 is 1048576 bytes" in done.stderr
        assert [record.value for record in self.records()] == [line()]
