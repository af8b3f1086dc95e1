"""One node: the default of the demo, the tests and a first evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streams.runtime.broker.config import BrokerConfig
from streams.runtime.broker.embedded import STOP_TIMEOUT_S, Embedded, silent


class Broker(Embedded):
    """A one-node Kafka on this machine. `with Broker(BrokerConfig()) as kafka: ... kafka.bootstrap ...`

    `stop` or `kill` and then `start` bring it back on the same port with the same data; `close` also removes a
    temporary data folder. Not for several threads at once.
    """

    def __init__(self, config: BrokerConfig | None = None, say: Callable[[str], None] = silent) -> None:
        super().__init__(config or BrokerConfig(), 1, say)
        self._node = self.nodes[0]

    @property
    def port(self) -> int:
        return self._node.address.port

    @property
    def log_path(self) -> Path:
        return self._node.log_path

    @property
    def pid(self) -> int | None:
        return self._node.pid

    @property
    def running(self) -> bool:
        return self._node.running

    def start(self) -> None:
        """Returns when the broker answers. Raises ConfigurationError for what a retry cannot mend."""
        self._start(self.nodes)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """An orderly stop, bounded: what has not ended by then is killed. The data stays. Raises nothing."""
        self._stop(self.nodes, timeout_s)

    def kill(self) -> None:
        """As a power cut would end it (SIGKILL). The data stays. Raises nothing."""
        self._kill(self.nodes)

    def log_tail(self) -> str:
        """The last lines of the broker's log without Java's stack frames, for a message about why it is not there."""
        return self._node.log_tail()
