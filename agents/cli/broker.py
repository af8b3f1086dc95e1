"""`sluicegate broker`: a Kafka of one node or three in the foreground, until it is told to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from agents.cli.files import FilePath
from agents.cli.values import Whole
from streams.addresses import PORT_MAX
from streams.errors import BrokerUnreachable
from streams.runtime.broker import Broker, BrokerConfig, Cluster
from streams.runtime.broker.node import Node

LOOK_EVERY_S = 0.2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

EPILOG = """\b
Examples:
  sluicegate broker                            data in a temporary folder, gone at the end
  sluicegate broker --data data/kafka          the topics survive a restart
  sluicegate broker --port 19092               when 9092 is taken
  sluicegate broker --optimise                 to measure with
  sluicegate broker --nodes 3                  on 9092, 9093 and 9094; every topic in three copies

\b
Then, in another terminal:
  export SLUICEGATE_BOOTSTRAP=127.0.0.1:9092
  sluicegate topics apply

With three nodes the settings are those of a production cluster: replication factor 3, of which 2 have to be in sync.
End one of them (its process id is printed) and watch the other two go on; to have it back, start the command again.

A data folder belongs to the version of Kafka and the number of nodes that made it; another is refused, untouched.
The first start fetches Apache Kafka (42 jars, 43 MB) and needs the network; each jar is compared with its sha256 at
every start. It listens on this machine alone. Stop it with Ctrl-C or SIGTERM.
"""


class Told(BaseException):
    """Raised in the main thread by a signal to stop; not an Exception, so that nothing takes it for an error."""


@click.command(epilog=EPILOG)
@click.option(
    "--port",
    type=Whole(1, PORT_MAX, 19092),
    default=9092,
    show_default=True,
    help="Where clients connect, on 127.0.0.1.",
)
@click.option(
    "--data",
    type=FilePath("data/kafka", file_okay=False),
    metavar="DIR",
    help="Where the topics are kept: a new or empty folder, or that of an earlier run. Default: thrown away.",
)
@click.option(
    "--nodes",
    type=click.Choice(["1", "3"]),
    default="1",
    show_default=True,
    help="Three to see one fail: --port and the two after it, about 320 MB of memory each.",
)
@click.option("--optimise", is_flag=True, help="For benchmarks: slower to start, faster later, 1 GiB of heap.")
def broker(port: int, data: Path | None, nodes: str, optimise: bool) -> None:
    """Run an Apache Kafka of one node or three: no Docker, no Java to install.

    A real Kafka (KRaft, each node is broker and controller) for the demo, a first evaluation and tests. For anything
    else point SLUICEGATE_BOOTSTRAP at a cluster.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _tell)
    kind = Cluster if nodes == "3" else Broker
    try:
        with kind(BrokerConfig(port=port, data=data, optimise=optimise), say=_say) as kafka:
            _say_ready(kafka)
            _watch(kafka.nodes)
    except Told:
        _say("stopped")


def _watch(nodes: Sequence[Node]) -> None:
    """Returns never; raises BrokerUnreachable when what still runs is not the majority that Kafka needs."""
    running = list(nodes)
    while True:
        ended = next((node for node in running if not node.running), None)
        if ended is None:
            time.sleep(LOOK_EVERY_S)
            continue
        running.remove(ended)
        if 2 * len(running) <= len(nodes):
            left = f" ({len(running)} of {len(nodes)} nodes left: no majority)" if running else ""
            raise BrokerUnreachable(f"Kafka ended by itself{left}; the end of its log:\n{ended.log_tail()}")
        _say(f"node {ended.address.number} ended by itself, the others go on; its log is {ended.log_path}")


def _tell(number: int, frame: FrameType | None) -> None:
    for again in STOP_SIGNALS:
        signal.signal(again, signal.SIG_IGN)  # a second one must not interrupt the stopping, which is bounded
    raise Told


def _say(text: str) -> None:
    click.echo(text, err=True)


def _say_ready(kafka: Broker | Cluster) -> None:
    kept = (
        f"kept in {kafka.data}" if kafka.config.data else "in a temporary folder, thrown away at the end (see --data)"
    )
    click.echo(f"ready: Apache Kafka on {kafka.bootstrap}; topics {kept}")
    if len(kafka.nodes) > 1:
        for node in kafka.nodes:
            click.echo(f"  node {node.address.number} on {node.address}, process {node.pid}")
    click.echo(f"  export SLUICEGATE_BOOTSTRAP={kafka.bootstrap}")
    click.echo("  sluicegate topics apply")
    click.echo("stop it with Ctrl-C")
