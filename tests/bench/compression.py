"""`python -m tests.bench.compression`: what it costs and saves to compress outputs, by codec, in alternating rounds.

N decisions a run (100,000), ROUNDS rounds (3). All outputs of every run are read back and judged, as by the benchmark.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from pathlib import Path
from statistics import median

from streams.runtime.broker import Broker, BrokerConfig
from tests.bench.job import OUTPUTS
from tests.bench.process import COMPRESSED, Meter, Place
from tests.bench.run import PARTITIONS
from tests.bench.throughput import Throughput, measure

NAMES = ("ours", *COMPRESSED)


def on_disk(broker: Broker, prefix: str) -> int:
    """Bytes of the outputs and the changelog."""
    wanted = tuple(f"{prefix}{kind}-" for kind in (*OUTPUTS, "state"))
    folders = [one for one in (broker.data / "log").iterdir() if one.name.startswith(wanted)]
    return sum(file.stat().st_size for folder in folders for file in folder.glob("*.log"))


def run(broker: Broker, name: str, count: int) -> tuple[Throughput, int]:
    """One run: its figures, and bytes on disk."""
    assert broker.pid is not None
    sizes: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Place(broker.bootstrap, f"c{secrets.token_hex(4)}.", PARTITIONS, Path(folder))

        def tell(done: int) -> None:
            if done >= count:
                sizes.append(on_disk(broker, place.prefix))

        found = asyncio.run(measure(name, place, count, 7, Meter(broker.pid), tell))
    return found, sizes[-1]


def main() -> None:
    count, rounds = int(os.environ.get("N", "100000")), int(os.environ.get("ROUNDS", "3"))
    found: dict[str, list[tuple[Throughput, int]]] = {name: [] for name in NAMES}
    with Broker(BrokerConfig(optimise=True)) as broker:
        run(broker, "ours", count)  # a new JVM compiles meanwhile
        for number in range(rounds):
            for name in NAMES if number % 2 else NAMES[::-1]:
                found[name].append(run(broker, name, count))
    print(f"{'outputs':8} {'events/s':>9} {'CPU s/million':>14} {'broker CPU s':>13} {'bytes a decision':>17}")
    for name, runs in found.items():
        rates = median(one.events_per_s for one, _ in runs)
        cpu_s, theirs_s = (
            median(getattr(one, of) for one, _ in runs) for of in ("cpu_s_per_million", "broker_cpu_s_per_million")
        )
        size = median(size for _, size in runs) / count
        print(f"{'none' if name == 'ours' else name:8} {rates:9,.0f} {cpu_s:14.1f} {theirs_s:13.1f} {size:17.0f}")


if __name__ == "__main__":
    main()
