"""Three nodes, each broker and controller: to see what happens when one of them goes. For evaluations and tests;
three processes on one machine are not three machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streams.runtime.broker.config import BrokerConfig
from streams.runtime.broker.embedded import STOP_TIMEOUT_S, Embedded, silent
from streams.runtime.broker.node import Node

NODES = 3


class Cluster(Embedded):
    """A three-node Kafka on this machine, three copies of everything. `with Cluster(BrokerConfig()) as kafka: ...`

    `stop`, `kill` and `start` take the number of a node (1 to 3), or none for all of them; what comes back has the
    same port and data. Each node takes about 320 MB. Not for several threads at once.
    """

    def __init__(self, config: BrokerConfig | None = None, say: Callable[[str], None] = silent) -> None:
        super().__init__(config or BrokerConfig(), NODES, say)

    @property
    def running(self) -> tuple[int, ...]:
        """The numbers of the nodes that run."""
        return tuple(node.address.number for node in self.nodes if node.running)

    def start(self, number: int | None = None) -> None:
        """Returns when the node answers and has joined; without a number, when all three have that were down.

        Raises ConfigurationError for what a retry cannot mend, BrokerUnreachable when it takes too long: one node
        alone has no majority to join.
        """
        self._start(self._chosen(number) if number else [node for node in self.nodes if not node.running])

    def stop(self, number: int | None = None, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """An orderly stop, bounded: what has not ended by then is killed. The data stays. Raises nothing."""
        self._stop(self._chosen(number), timeout_s)

    def kill(self, number: int | None = None) -> None:
        """As a power cut would end it (SIGKILL). The data stays. Raises nothing."""
        self._kill(self._chosen(number))

    def _chosen(self, number: int | None) -> Sequence[Node]:
        return self.nodes if number is None else [self.nodes[number - 1]]
