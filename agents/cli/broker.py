"""`sluicegate broker`: a one-node Kafka in the foreground, until it is told to stop."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType

import click

from streams.errors import BrokerUnreachable
from streams.runtime.broker import Broker, BrokerConfig

LOOK_EVERY_S = 0.2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

EPILOG = """\b
Examples:
  sluicegate broker                            data in a temporary folder, gone at the end
  sluicegate broker --data data/kafka          the topics survive a restart
  sluicegate broker --port 19092               when 9092 is taken
  sluicegate broker --optimise                 to measure with

\b
Then, in another terminal:
  export SLUICEGATE_BOOTSTRAP=127.0.0.1:9092
  sluicegate topics apply

The first start fetches Apache Kafka (42 jars, 43 MB) and needs the network; each jar is compared with its sha256 at
every start. It listens on this machine alone. Stop it with Ctrl-C or SIGTERM.
"""


class Told(BaseException):
    """Raised in the main thread by a signal to stop; not an Exception, so that nothing takes it for an error."""


@click.command(epilog=EPILOG)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=9092,
    show_default=True,
    help="Where clients connect, on 127.0.0.1.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the topics are kept: a new or empty folder, or that of an earlier run. Default: thrown away.",
)
@click.option("--optimise", is_flag=True, help="For benchmarks: slower to start, faster later, 1 GiB of heap.")
def broker(port: int, data: Path | None, optimise: bool) -> None:
    """Run a one-node Apache Kafka: no Docker, no Java to install.

    A real Kafka (KRaft, one node that is broker and controller) for the demo, a first evaluation and tests. For
    anything else point SLUICEGATE_BOOTSTRAP at a cluster.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _tell)
    try:
        with Broker(BrokerConfig(port=port, data=data, optimise=optimise), say=_say) as kafka:
            _say_ready(kafka)
            while kafka.running:
                time.sleep(LOOK_EVERY_S)
            raise BrokerUnreachable(f"Kafka ended by itself; the end of its log:\n{kafka.log_tail()}")
    except Told:
        _say("stopped")


def _tell(number: int, frame: FrameType | None) -> None:
    for again in STOP_SIGNALS:
        signal.signal(again, signal.SIG_IGN)  # a second one must not interrupt the stopping, which is bounded
    raise Told


def _say(text: str) -> None:
    click.echo(text, err=True)


def _say_ready(kafka: Broker) -> None:
    kept = (
        f"kept in {kafka.data}" if kafka.config.data else "in a temporary folder, thrown away at the end (see --data)"
    )
    click.echo(f"ready: Apache Kafka on {kafka.bootstrap}; topics {kept}")
    click.echo(f"  export SLUICEGATE_BOOTSTRAP={kafka.bootstrap}")
    click.echo("  sluicegate topics apply")
    click.echo("stop it with Ctrl-C")
