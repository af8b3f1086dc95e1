"""`sluicegate tail`: a topic record by record, as a consumer should see it (read_committed), without a group.

Without a group nobody's offsets move, so looking never changes what a worker reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import click
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.cli.client import partitions_of, quiet_client_logs, started
from agents.cli.lines import Seen, as_document, as_line
from agents.cli.options import bootstrap_option, output_option, prefix_option
from agents.cli.values import Whole
from schemas.topics import BY_KIND, name
from streams.errors import BrokerUnreachable
from streams.runtime.records import Lenient, install

POLL_MS = 300
BATCH_RECORDS_MAX = 500  # printed between two looks at the clock and at Ctrl-C


async def records(bootstrap: str, topic: str, from_beginning: bool) -> AsyncIterator[Seen]:
    """The topic's committed records from its beginning or from now on, without an end."""
    partitions = [TopicPartition(topic, number) for number in await partitions_of(bootstrap, topic)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        # not seek_to_beginning: right after assign() a reset to the default that is under way can overtake it
        auto_offset_reset="earliest" if from_beginning else "latest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    async with started(consumer, bootstrap):
        consumer.assign(partitions)
        try:
            if not from_beginning:
                await consumer.seek_to_end(*partitions)
            while True:
                fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS_MAX)
                for partition, found in fetched.items():
                    for record in found:
                        yield Seen(
                            topic,
                            partition.partition,
                            record.offset,
                            record.timestamp,
                            record.key,
                            record.value,
                            record.headers,
                        )
        except KafkaError as error:
            raise BrokerUnreachable(
                f"reading {topic} at {bootstrap} failed ({type(error).__name__}): try again when the broker is back"
            ) from error


async def show(bootstrap: str, prefix: str, kind: str, from_beginning: bool, count: int | None, output: str) -> None:
    shown = 0
    async for seen in records(bootstrap, name(prefix, kind), from_beginning):
        if output == "json":
            click.echo(as_document(seen))
        else:
            line = as_line(kind, seen)
            click.echo(
                f"{click.style(line.where, dim=True)}  {click.style(line.who, bold=True)}  "
                f"{click.style(line.what, fg=line.color)}  {line.tail}".rstrip()
            )
        shown += 1
        if shown == count:
            return


@click.command(
    epilog="Topics: " + ", ".join(BY_KIND) + ".\n\nExamples:\n\n"
    "\b\n"
    "  sluicegate tail commands                          what may be acted on, as it comes\n"
    "  sluicegate tail exceptions --from-beginning -n 5  the first five, then stop\n"
    "  sluicegate tail reviews --output json | jq .value.reasons\n"
    "  sluicegate tail commands --output json | jq -r .headers.traceparent\n\n"
    "Without -n it goes on until Ctrl-C."
)
@click.argument("topic", type=click.Choice(list(BY_KIND)), metavar="TOPIC")
@click.option("--from-beginning", is_flag=True, help="From the oldest record that is kept; else from now on.")
@click.option("-n", "count", type=Whole(1, 2**53, 5), metavar="COUNT", help="Stop after this many records.")
@bootstrap_option
@prefix_option
@output_option
def tail(topic: str, from_beginning: bool, count: int | None, bootstrap: str, prefix: str, output: str) -> None:
    """Look at a topic, record by record: TOPIC is its kind, such as commands, reviews, exceptions.

    A line says when, partition/offset, entity and id, what happened and why, the age of the information, the money.
    With --output json each line holds topic, partition, offset, timestamp_ms, key, the value as it is in the topic, and
    the headers as an object.
    Only committed records are shown.
    """
    quiet_client_logs()
    install(Lenient)
    try:
        asyncio.run(show(bootstrap, prefix, topic, from_beginning, count, output))
    except KeyboardInterrupt:
        return  # the usual way to end it
