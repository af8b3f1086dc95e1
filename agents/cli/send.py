"""`sluicegate send`: decisions by hand, the way a producer should send them.

A file is judged whole before its first line goes out, so that a mistake in line 900 does not leave 899 decisions
behind. What is sent are the line's own bytes: `sent_at_ms` is added in the text, nothing is parsed and written again.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

import click
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.cli.client import partitions_of, quiet_client_logs, started
from agents.cli.files import RECORD_BYTES_MAX, InputFile, file_name, lines_of
from agents.cli.lines import printable
from agents.cli.options import bootstrap_option, interactive, output_option, prefix_option
from schemas.common import VALUE_BYTES_MAX
from schemas.topics import name
from streams.errors import BrokerUnreachable, ConfigurationError
from streams.foreign import object_of, own_json
from streams.ingest import refusal

REFUSED_SHOWN_MAX = 10  # enough to see the pattern
IN_FLIGHT_MAX = 2_000  # records sent and not yet acknowledged
ACKNOWLEDGE_S = 30  # a broker that is silent for so long is not there
REQUEST_BYTES_MAX = 1_048_576  # what a broker takes as one record by default
SPOOL_BYTES_MAX = 64 * 1024 * 1024  # of a pipe, held in memory; beyond it, in a temporary file


@dataclass(slots=True)
class Sent:
    """What was acknowledged."""

    topic: str
    lines: int = 0
    blank: int = 0
    stamped: int = 0
    without_key: int = 0
    partitions: Counter[int] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        return {
            "topic": self.topic,
            "sent": self.lines,
            "blank": self.blank,
            "stamped": self.stamped,
            "without_key": self.without_key,
            "partitions": {str(number): self.partitions[number] for number in sorted(self.partitions)},
        }

    def sentence(self) -> str:
        spread = ", ".join(f"{number}: {self.partitions[number]}" for number in sorted(self.partitions))
        parts = [f"sent {self.lines} to {self.topic}" + (f" (by partition: {spread})" if spread else "")]
        if self.stamped:
            parts.append(f"sent_at_ms filled in on {self.stamped}")
        if self.without_key:
            parts.append(f"{self.without_key} without a key, no entity could be read")
        if self.blank:
            parts.append(f"{self.blank} blank lines left out")
        return "; ".join(parts)


def rereadable(file: IO[bytes]) -> IO[bytes]:
    """The file itself if it can be read twice, else a copy of the pipe that can."""
    if file.seekable():
        return file
    copy = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES_MAX)  # noqa: SIM115 - lives until the command ends
    try:
        while chunk := file.read(1 << 20):
            copy.write(chunk)
        copy.seek(0)
    except OSError as error:
        copy.close()
        raise ConfigurationError(
            f"{file_name(file)} is checked whole before a line of it is sent, and there is no room for its copy in "
            f"{tempfile.gettempdir()} ({error.strerror}): set TMPDIR to a folder that has, or give a file"
        ) from error
    return copy


def check_lines(file: IO[bytes], name: str) -> int:
    """The count of lines that are decisions; raises ConfigurationError that names the others."""
    good = bad = 0
    shown: list[str] = []
    for number, line, line_bytes in lines_of(file):
        if not line.strip():
            continue
        refused = refusal(line)
        if line_bytes > RECORD_BYTES_MAX:
            refused = "invalid.oversized", f"the line has {line_bytes} bytes; at most {VALUE_BYTES_MAX} are decided on"
        if refused is None:
            good += 1
            continue
        bad += 1
        if len(shown) < REFUSED_SHOWN_MAX:
            shown.append(f"  line {number}: {refused[0]}: {printable(refused[1], 300)}")
    if bad:
        more = [f"  and {bad - len(shown)} more"] if bad > len(shown) else []
        raise ConfigurationError(
            f"{bad} of {good + bad} lines of {name} are not decisions, so nothing was sent: mend them, "
            "or send every line as it is with --raw\n" + "\n".join([*shown, *more])
        )
    return good


def key_of(line: bytes) -> bytes | None:
    """The entity as the record's key, if the line lets it be read."""
    entity = (object_of(line) or {}).get("entity")
    return entity.encode() if isinstance(entity, str) and entity else None


def stamp(line: bytes, now_ms: int) -> bytes:
    """The line with `sent_at_ms` if it has none: inserted before the last brace, all other bytes as they were.

    A line so long that it would be refused with the stamp goes without.
    """
    if "sent_at_ms" in own_json(line):
        return line
    end = line.rindex(b"}")
    stamped = b'%b,"sent_at_ms":%d%b' % (line[:end], now_ms, line[end:])
    return stamped if len(stamped) <= VALUE_BYTES_MAX else line


async def deliver(
    producer: AIOKafkaProducer,
    topic: str,
    file: IO[bytes],
    raw: bool,
    advance: Callable[[], object],
) -> Sent:
    """Sends every line and waits until all are acknowledged."""
    sent = Sent(topic)
    waiting: deque[tuple[int, asyncio.Future[Any]]] = deque()

    async def settle() -> None:
        number, acknowledgement = waiting.popleft()
        sent.partitions[(await _answered(acknowledgement, number, sent)).partition] += 1
        sent.lines += 1
        advance()

    for number, line, line_bytes in lines_of(file):
        if not raw and not line.strip():
            sent.blank += 1
            continue
        value = line if raw else stamp(line, time.time_ns() // 1_000_000)
        sent.stamped += value is not line
        key = key_of(line)
        sent.without_key += key is None
        if max(len(value), line_bytes) > RECORD_BYTES_MAX:
            raise ConfigurationError(
                f"line {number} is {max(len(value), line_bytes)} bytes, more than a record may have; "
                f"{sent.lines} lines before it were sent"
            )
        waiting.append((number, await _answered(producer.send(topic, value, key=key), number, sent)))
        if len(waiting) >= IN_FLIGHT_MAX:
            await settle()
    while waiting:
        await settle()
    return sent


async def _answered(call: Any, number: int, sent: Sent) -> Any:
    try:
        async with asyncio.timeout(ACKNOWLEDGE_S):
            return await call
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnreachable(
            f"the broker did not take line {number} ({type(error).__name__}); {sent.lines} lines were acknowledged. "
            "Sending the file again is safe: what has arrived already ends as duplicate.repeat"
        ) from error


async def send_file(bootstrap: str, topic: str, file: IO[bytes], total: int | None, raw: bool) -> Sent:
    await partitions_of(bootstrap, topic)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        max_batch_size=256 * 1024,
        max_request_size=REQUEST_BYTES_MAX,
        request_timeout_ms=ACKNOWLEDGE_S * 1000,
    )
    async with started(producer, bootstrap):
        columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=not interactive()) as progress:
            bar = progress.add_task("sending", total=total)
            return await deliver(producer, topic, file, raw, lambda: progress.advance(bar))


@click.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate send decisions.ndjson\n"
    "  python -m agents.workflows.billing --count 100 | sluicegate send -\n"
    "  echo 'no decision at all' | sluicegate send --raw -\n\n"
    "Then look at what became of them: sluicegate tail commands --from-beginning"
)
@click.argument("file", type=InputFile("decisions.ndjson"))
@click.option("--raw", is_flag=True, help="Send every line as it is, good or bad; no key where no entity can be read.")
@bootstrap_option
@prefix_option
@output_option
def send(file: IO[bytes], raw: bool, bootstrap: str, prefix: str, output: str) -> None:
    """Send decisions by hand: FILE holds one JSON object a line (NDJSON), `-` is stdin.

    Every line is checked against the contract first; one that is not a decision refuses the whole file, with its
    number and what is wrong. The key is the entity, the partition is chosen as Java's clients do, `sent_at_ms` is
    filled in where it is absent. It ends when the broker has acknowledged every record.
    """
    quiet_client_logs()
    total: int | None = None
    if not raw:
        if (copy := rereadable(file)) is not file:
            click.get_current_context().call_on_close(copy.close)
            file = copy
        total = check_lines(file, file_name(file))
        file.seek(0)
    sent = asyncio.run(send_file(bootstrap, name(prefix, "decisions"), file, total, raw))
    click.echo(orjson.dumps(sent.as_dict()) if output == "json" else sent.sentence())
