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
ENDINGS = ("commands", "exceptions")
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
        command += ["--roles", "gate,reevaluation"]
        with running([*command, "--metrics-port", "0"], folder / f"{prefix}log"):
            task = progress.add_task(name, total=len(many))
            outputs = Outputs(bootstrap, prefix, partial(progress.update, task))
            found[name] = billed(many, await _replayed(bootstrap, prefix, many, outputs))
    return found


async def _replayed(bootstrap: str, prefix: str, many: Sequence[Trip], outputs: Outputs) -> dict[str, int]:
    """The total that was posted for each trip. The cards change when all that came before has ended."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    await producer.start()
    await outputs.start()
    try:
        before = sum(trip.started_at.isoformat() < IN_FORCE for trip in many)
        for version, until in ((1, before), (2, len(many))):
            for entity, context in contexts(many, version, _now_ms()):
                await producer.send(prefix + "context", json.dumps(context).encode(), key=entity.encode())
            await producer.flush()
            await asyncio.sleep(SEEN_S)
            for trip in many[outputs.ended : until]:
                decision = bill(trip, _now_ms(), "sur")
                await producer.send(prefix + "decisions", encode(decision), key=decision["entity"].encode())
            await producer.flush()
            await outputs.until(until)
    finally:
        await producer.stop()
        await outputs.stop()
    return outputs.posted


class Outputs:
    """Reads what the gate sends, until so many decisions have ended."""

    def __init__(self, bootstrap: str, prefix: str, show: Callable[..., None]) -> None:
        self.posted: dict[str, int] = {}
        self.ended = 0
        self._show = show
        self._places = [TopicPartition(prefix + kind, n) for kind in ENDINGS for n in range(PARTITIONS)]
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.assign(self._places)
        await self._consumer.seek_to_beginning(*self._places)

    async def stop(self) -> None:
        await self._consumer.stop()

    async def until(self, count: int) -> None:
        """Returns when `count` decisions have ended. Raises PromiseBroken when they do not."""
        until_s = time.monotonic() + DONE_S
        while self.ended < count:
            if time.monotonic() > until_s:
                raise PromiseBroken(f"{count - self.ended} decisions had not ended after {DONE_S:.0f} s")
            for place, records in (await self._consumer.getmany(timeout_ms=200)).items():
                self.ended += len(records)
                if place.topic.endswith("commands"):
                    for record in records:
                        action = json.loads(record.value)["action"]
                        self.posted[action["trip"]] = action["total_minor"]
            self._show(completed=self.ended)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def table(found: dict[str, Billed]) -> Table:
    """Dollars misbilled and not billed at all, by gate."""
    shown = Table(title="Taxi trips, billed by a rater whose cards are up to a week old")
    shown.add_column("changed card", no_wrap=True)
    for column in ("trips", "posted", "misbilled", "USD", "not billed", "USD"):
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
