"""Runs the surcharge of February 2019 through three gates on a real Kafka, and shows what each misbilled.

python -m agents.workflows.billing.compare
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agents.cli.client import quiet_client_logs
from agents.demo.children import SLUICEGATE, running
from agents.workflows.billing.events import encode
from agents.workflows.billing.surcharge import IN_FORCE, Billed, bill, billed, contexts, trips
from agents.workflows.billing.trips import Trip
from streams.errors import PromiseBroken
from streams.runtime import topics
from streams.runtime.broker import Broker, BrokerConfig

PARTITIONS = 4
RATE_PER_S = 500
SEEN_S = 2.0  # a change of context is seen within a fraction of it
DONE_S = 60.0
GATES = {
    "not looked at": "freshness: {budget: 10m}",
    "dropped": "freshness: {budget: 10m, context: [congestion_minor], on_stale: drop}",
    "asked again": """freshness: {budget: 10m, context: [congestion_minor], on_stale: reevaluate}
evaluator: {function: "agents.workflows.billing.rater:evaluate", action_types: [invoice.post]}""",
}
POLICY = """\
workflow: billing
version: 1
%s
boundary: {rules: [{name: all, then: autonomous}]}
"""


async def run(bootstrap: str, folder: Path, many: Sequence[Trip], progress: Progress) -> dict[str, Billed]:
    """Sends the trips to each gate in turn; what each posted, held against the data. Raises PromiseBroken."""
    found = {}
    for number, (name, freshness) in enumerate(GATES.items()):
        prefix = f"gate{number}."
        await topics.apply(bootstrap, prefix, PARTITIONS)
        policies = folder / prefix
        policies.mkdir()
        (policies / "billing.yaml").write_text(POLICY % freshness)
        command = [*SLUICEGATE, "worker", "--bootstrap", bootstrap, "--prefix", prefix, "--policies", str(policies)]
        with running([*command, "--metrics-port", "0", "--data", str(policies / "data")], folder / f"{prefix}log"):
            task = progress.add_task(name, total=len(many))
            await _send(bootstrap, prefix, many, partial(progress.advance, task))
            found[name] = billed(many, await _posted(bootstrap, prefix, len(many)))
    return found


async def _send(bootstrap: str, prefix: str, many: Sequence[Trip], sent: Callable[[], None]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    await producer.start()
    try:
        await _tell(producer, prefix, many, 1)
        told, began_s = False, time.monotonic()
        for number, trip in enumerate(many):
            if not told and trip.started_at.isoformat() >= IN_FORCE:
                told = True
                await _tell(producer, prefix, many, 2)
                began_s += SEEN_S
            decision = bill(trip, _now_ms(), "sur")
            await producer.send(prefix + "decisions", encode(decision), key=decision["entity"].encode())
            sent()
            ahead_s = number / RATE_PER_S - (time.monotonic() - began_s)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
        await producer.flush()
    finally:
        await producer.stop()


async def _tell(producer: AIOKafkaProducer, prefix: str, many: Sequence[Trip], version: int) -> None:
    """The rate card of every account, and the time in which the gate sees it."""
    for entity, context in contexts(many, version, _now_ms()):
        await producer.send(prefix + "context", json.dumps(context).encode(), key=entity.encode())
    await producer.flush()
    await asyncio.sleep(SEEN_S)


async def _posted(bootstrap: str, prefix: str, count: int) -> dict[str, int]:
    """The total of each trip's command, once every decision has ended."""
    places = [TopicPartition(prefix + kind, n) for kind in ("commands", "exceptions") for n in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    await consumer.start()
    posted: dict[str, int] = {}
    ended, until_s = 0, time.monotonic() + DONE_S
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        while ended < count:
            if time.monotonic() > until_s:
                raise PromiseBroken(f"{count - ended} of {count} decisions had not ended after {DONE_S:.0f} s")
            for place, records in (await consumer.getmany(timeout_ms=500)).items():
                ended += len(records)
                if place.topic.endswith("commands"):
                    for record in records:
                        action = json.loads(record.value)["action"]
                        posted[action["trip"]] = action["total_minor"]
    finally:
        await consumer.stop()
    return posted


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def table(found: dict[str, Billed]) -> Table:
    """Dollars misbilled and not billed at all, by gate."""
    shown = Table(title="Trips of January and February 2019, billed by a rater whose cards are up to a week old")
    shown.add_column("a changed rate card is")
    for column in ("trips", "posted", "misbilled", "USD misbilled", "not billed", "USD not billed"):
        shown.add_column(column, justify="right")
    for name, one in found.items():
        dollars = [f"{minor / 100:,.2f}" for minor in (one.misbilled_minor, one.unbilled_minor)]
        counts = [str(count) for count in (one.trips, one.posted, one.misbilled_trips)]
        shown.add_row(name, *counts, dollars[0], str(one.unbilled_trips), dollars[1])
    return shown


@click.command()
def main() -> None:
    """The same real decisions through three gates: changed context not looked at, dropped, asked again."""
    quiet_client_logs()
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-compare-")))
        broker = stack.enter_context(Broker(BrokerConfig()))
        progress = stack.enter_context(Progress(console=console))
        found = asyncio.run(run(broker.bootstrap, folder, trips(), progress))
    console.print(table(found))


if __name__ == "__main__":
    main()
