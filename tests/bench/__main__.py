"""`python -m tests.bench`: our worker beside a bare aiokafka transaction loop, on a Kafka of its own. See `--help`."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.cli.client import quiet_client_logs
from agents.cli.options import interactive
from agents.demo.children import deaf_to_signals, terminated_like_interrupted
from streams.errors import ConfigurationError, SluicegateError
from streams.runtime.broker import Broker, BrokerConfig
from tests.bench import report
from tests.bench.process import COMMANDS
from tests.bench.run import WARM_EVENTS, Bench, Plan

LOG_WIDTH = 110  # of the table in a file, which has no width of its own
# topics of a finished run leave the disk at once, not after a minute
DELETED_AT_ONCE = {"log.segment.delete.delay.ms": "1000"}


class Progressing:
    """Progress on stderr: a bar where a person looks, a line per stretch where a log is written."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._watched = interactive()
        self.progress = Progress(*columns, console=console, transient=True, disable=not self._watched)
        self._task = self.progress.add_task("starting", total=None)

    def begin(self, what: str, count: int) -> None:
        """The next stretch: of so many decisions."""
        self.progress.reset(self._task, description=what, total=count, completed=0)
        if not self._watched:
            self.line(what)

    def done(self, count: int) -> None:
        """So many of them are answered."""
        self.progress.update(self._task, completed=count)

    def line(self, text: str) -> None:
        """A line that stays."""
        self.progress.console.print(text, highlight=False, soft_wrap=True)


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  make bench                              the pure path by stage, then this: a few minutes on 2 cores
  N=600000 ROUNDS=3 make bench            figures to publish: on a quiet machine
  python -m tests.bench --n 20000 --rounds 1 --seconds 5      does it work? about a minute
  python -m tests.bench --json bench.json && jq .ratios bench.json

It starts an Apache Kafka of its own (the optimising compiler, 1 GB), and for each run fresh topics with 4 partitions.
ours is `sluicegate worker` as tests/bench/peer.sh starts it, with the policies of tests/bench/policies. bare is
tests/bench/bare_loop.py: the same job in the shortest aiokafka loop that is exactly once, with nothing of a gate.

\b
events/s    a backlog of N decisions, from the first to the last output that a read_committed reader may see
CPU s       user and system time of the process tree in that time, for a million decisions
peak RSS    of the process tree, the highest of 20 samples a second
p50, p99    1,000 decisions a second for 20 s, from just before the send to a read_committed reader
ours/bare   ratio of the medians of the two: more is better for events/s, less for all else

All outputs of every run are read back: one that is missing, twice, or in the wrong topic ends it, with exit code 1.""",
)
@click.option(
    "--n",
    "count",
    envvar="N",
    type=click.IntRange(1_000, 5_000_000),
    default=200_000,
    show_default=True,
    show_envvar=True,
    help="Decisions in a backlog. Below 200,000 the figures are mostly about starting.",
)
@click.option(
    "--rounds",
    envvar="ROUNDS",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    show_envvar=True,
    help="How often each is measured, in alternation.",
)
@click.option(
    "--rate", type=click.IntRange(10, 20_000), default=1_000, show_default=True, help="Decisions a second, for latency."
)
@click.option("--seconds", type=click.IntRange(1), default=20, show_default=True, help="How long, for latency.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed makes the same decisions.")
@click.option(
    "--peers",
    "names",
    default="ours,bare",
    show_default=True,
    help="Which two, the first compared with the second: ours; bare; fresh, ours with context and superseding; "
    "lz4, zstd or snappy, ours with compressed outputs.",
)
@click.option(
    "--json",
    "to",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Also writes all figures there: plan, machine, each run, medians, ratios.",
)
def bench(count: int, rounds: int, rate: int, seconds: int, seed: int, names: str, to: Path | None) -> None:
    """Measure our worker beside a bare aiokafka transaction loop, in alternation, and compare."""
    if to is not None and not to.absolute().parent.is_dir():
        raise ConfigurationError(f"--json {to}: there is no folder {to.parent}; make it, or name another file")
    quiet_client_logs()
    peers = tuple(names.split(","))
    if len(set(peers)) != 2 or not set(peers) <= set(COMMANDS):
        raise ConfigurationError(f"--peers: found {names!r}, expected two of {', '.join(COMMANDS)}")
    plan = Plan(count, rounds, rate, seconds, seed, min(count, WARM_EVENTS), peers)
    told = Progressing(Console(stderr=True))
    with terminated_like_interrupted(), told.progress, _broker(told) as broker:
        # asyncio turns a SIGINT into an orderly cancellation; a SIGTERM gets the same
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        runs = Bench(plan, broker, told).run()
    found = report.summary(plan, runs)
    report.show(Console(width=None if sys.stdout.isatty() else LOG_WIDTH), plan, found, runs)
    if to is not None:
        to.write_text(json.dumps(found, indent=1) + "\n")


@contextmanager
def _broker(told: Progressing) -> Iterator[Broker]:
    broker = Broker(BrokerConfig(optimise=True, properties=DELETED_AT_ONCE), told.line)
    try:
        broker.start()
        yield broker
    finally:
        with deaf_to_signals():
            broker.close()


def main() -> None:
    """Exit codes as the `sluicegate` command has them."""
    try:
        bench.main(standalone_mode=False, prog_name="python -m tests.bench")
    except SluicegateError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


if __name__ == "__main__":
    main()
