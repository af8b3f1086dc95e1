"""The port of a worker: /metrics, /healthz and /readyz, served by the supervisor for all of its children.

It answers from the children's boards, so none of them is asked and none can keep a scrape waiting. /healthz says that
the supervisor lives; /readyz is the worst of the children, with what each waits for; their values stand meanwhile.
"""

from __future__ import annotations

import errno
import http.server
import json
import math
import platform
import socket
import socketserver
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from streams.errors import ConfigurationError
from streams.metric_table import BUILD_INFO, FAMILIES, ROLE_FAMILIES, START_TIME, Family
from streams.metrics import Merged, Series, merge
from streams.runtime.metrics_board import Board

PREFIX = "sluicegate_"
SILENT_MAX_S = 5.0  # a child reports every second
REQUEST_S = 5.0  # for a client to say what it wants


@dataclass(slots=True)
class Watched:
    """One child as its supervisor knows it, and the board that all of its lives write to."""

    role: str
    board: Board
    state: str = "is starting"
    running: bool = False
    restarts: int = 0
    backing_off: bool = False  # it has failed, and is not ready again

    def readiness(self) -> dict[str, Any]:
        """Whether it is ready, its partitions, and what it waits for; what it said last where it says nothing now."""
        said = self.board.status() or {"ready": False, "partitions": [], "waits": []}
        if not self.running:
            return self._unready(said, f"the {self.role}, which {self.state}")
        silent_s = self.board.silent_s()
        if math.isinf(silent_s):
            return self._unready(said, f"the {self.role}, which reads policies and looks for its topics")
        if silent_s > SILENT_MAX_S:
            return self._unready(said, f"the {self.role}, which has not reported for {silent_s:.0f} s")
        return {"role": self.role, **said}

    def _unready(self, said: dict[str, Any], waits_for: str) -> dict[str, Any]:
        waits = [{"for": waits_for}, *said["waits"]]
        return {"role": self.role, "ready": False, "partitions": said["partitions"], "waits": waits}


def readiness(watched: Sequence[Watched]) -> dict[str, Any]:
    """The worst of the children, and each of them: what /readyz says."""
    roles = [one.readiness() for one in watched]
    return {"ready": all(role["ready"] for role in roles), "roles": roles}


class Samples(Collector):
    """Turns the boards into samples, at the moment of a scrape."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._watched = watched
        self._started_s = time.time()

    def collect(self) -> Iterator[Metric]:
        """Yields every metric that has a value now."""
        yield _metric(BUILD_INFO, [((version("sluicegate"), platform.python_version()), np.ones(1))])
        yield _metric(START_TIME, [((), np.full(1, self._started_s))])
        yield from self._of_roles()
        merged: Merged = merge((one.role, _as_of_now(one)) for one in self._watched)
        by_name: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
        for (name, labels), numbers in sorted(merged.items()):
            by_name.setdefault(name, []).append((labels, numbers))
        for name, series in by_name.items():
            yield _metric(FAMILIES[name], series, ("role",))

    def _of_roles(self) -> Iterator[Metric]:
        for name, family in ROLE_FAMILIES.items():
            found: dict[str, NDArray[np.float64]] = {}
            for one in self._watched:
                value = np.array([_of_role(name, one)])
                found[one.role] = family.together(found[one.role], value) if one.role in found else value
            yield _metric(family, [((role,), value) for role, value in found.items() if np.isfinite(value[0])])


def _as_of_now(one: Watched) -> Series:
    """What the child said, and for how long what it has not seen since may have waited.

    One that is gone has counted, and has nothing: its partitions are somebody else's, or nobody's.
    """
    series, silent_s = one.board.read(), one.board.silent_s()
    if not one.running:
        return {key: value for key, value in series.items() if FAMILIES[key[0]].kind != "gauge"}
    if not SILENT_MAX_S < silent_s < math.inf:
        return series
    return {key: value + silent_s if key[0] == "lag_seconds" else value for key, value in series.items()}


def _of_role(name: str, one: Watched) -> float:
    if name == "ready":
        return float(one.readiness()["ready"])
    if name == "backing_off":
        return float(one.backing_off)
    return one.board.silent_s() if name == "report_age_seconds" else float(one.restarts)


def _metric(family: Family, series: Iterable[tuple[tuple[str, ...], Any]], more: tuple[str, ...] = ()) -> Metric:
    name, labels = PREFIX + family.name, (*more, *family.labels)
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, family.about, labels=labels)
        edges = [*map(str, map(float, family.edges)), "+Inf"]
        for values, numbers in series:
            buckets = list(zip(edges, np.cumsum(numbers[:-1]).tolist(), strict=True))
            histogram.add_metric(values, buckets, float(numbers[-1]))
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric: CounterMetricFamily | GaugeMetricFamily = kind(name, family.about, labels=labels)
    for values, numbers in series:
        metric.add_metric(values, float(numbers[0]))
    return metric


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = REQUEST_S
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, encode(self.server.registry), content_type)
        elif path == "/healthz":
            self._answer(200, b"the supervisor lives\n", "text/plain; charset=utf-8")
        elif path == "/readyz":
            found = readiness(self.server.watched)
            self._answer(200 if found["ready"] else 503, json.dumps(found).encode() + b"\n", "application/json")
        else:
            self._answer(404, b"here are /metrics, /healthz and /readyz\n", "text/plain; charset=utf-8")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "sluicegate"

    def log_message(self, format: str, *args: object) -> None:
        """A scrape is no event that matters."""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True  # a worker that was restarted need not wait for old connections to be forgotten
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, host: str, port: int, watched: Sequence[Watched]) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.watched = watched
        self.registry = CollectorRegistry()
        self.registry.register(Samples(watched))
        super().__init__((host, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no event that matters."""


class Exporter:
    """Holds the port from the moment it is made; answers while its context is entered.

    Raises ConfigurationError, naming the option, when the port is in use or cannot be had.
    """

    def __init__(self, host: str, port: int, watched: Sequence[Watched]) -> None:
        try:
            self._server = _Server(host, port, watched)
        except OSError as error:
            raise _refused(host, port, error) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def __enter__(self) -> Exporter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _refused(host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"--metrics-port: {host}:{port} is in use, most likely by another worker on this machine; give this one "
            "another port, or 0 for none"
        )
    option = (
        "--metrics-host"
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        else "--metrics-port"
    )
    return ConfigurationError(f"{option}: cannot listen at {host}:{port}: {error.strerror}")
