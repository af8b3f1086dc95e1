"""The port: what it serves, what a client can do to it, and what it refuses."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.errors import ConfigurationError
from streams.runtime import metrics_http
from streams.runtime.broker.sockets import free_port
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.metrics_http import Exporter, Watched
from streams.runtime.stage import Batch
from tests.streams.making import BILLING, decided, decision, fetched

READY = {"ready": True, "partitions": [0], "waits": []}


@pytest.fixture
def watched() -> list[Watched]:
    return [Watched("gate", Board.make()), Watched("reviews", Board.make())]


@pytest.fixture
def port(watched: list[Watched]) -> Iterator[int]:
    port = free_port()
    with Exporter("127.0.0.1", port, watched):
        yield port


def get(port: int, path: str, **headers: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        ) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def readyz(port: int) -> tuple[int, list[str]]:
    status, _, body = get(port, "/readyz")
    return status, [wait["for"] for role in json.loads(body)["roles"] for wait in role["waits"]]


def test_readiness_is_the_worst_of_the_children(port: int, watched: list[Watched]) -> None:
    gate, reviews = watched
    assert readyz(port) == (503, ["the gate, which is starting", "the reviews, which is starting"])
    gate.running = reviews.running = True
    assert readyz(port)[1][0] == "the gate, which reads policies and looks for its topics"
    gate.board.report(READY)
    reviews.board.report({"ready": False, "partitions": [0], "waits": [{"partition": 0, "for": "another owner"}]})
    assert readyz(port) == (503, ["another owner"])
    reviews.board.report(READY)
    assert readyz(port) == (200, [])
    gate.running, gate.state = False, "was ended by SIGKILL"
    assert readyz(port) == (503, ["the gate, which was ended by SIGKILL"])
    assert get(port, "/healthz")[0] == 200


def test_a_child_that_is_silent_is_unready_and_its_values_stand(
    port: int, watched: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in watched:
        one.running = True
        one.board.report(READY)
        one.board.numbers("hand_overs")[0] = 4
    monkeypatch.setattr(metrics_http, "SILENT_MAX_S", -1.0)
    assert "which has not reported for 0 s" in readyz(port)[1][0]
    text = get(port, "/metrics")[2]
    assert 'sluicegate_hand_overs_total{role="gate"} 4.0' in text
    assert 'sluicegate_ready{role="gate"} 0.0' in text


def test_what_a_silent_child_has_not_seen_waits_as_long_as_it_is_silent(
    port: int, watched: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = watched[0]
    gate.running = True
    gate.board.numbers("hand_overs")[0] = 3
    gate.board.numbers("lag_seconds", ("0",))[0] = 1.5
    gate.board.numbers("lag_offsets", ("decisions", "0"))[0] = 7
    gate.board.report(READY)
    monkeypatch.setattr(Board, "silent_s", lambda self: 4.0)
    assert 'sluicegate_lag_seconds{partition="0",role="gate"} 1.5' in get(port, "/metrics")[2]
    monkeypatch.setattr(Board, "silent_s", lambda self: 45.0)
    text = get(port, "/metrics")[2]
    assert 'sluicegate_lag_seconds{partition="0",role="gate"} 46.5' in text
    assert 'sluicegate_lag_offsets{input="decisions",partition="0",role="gate"} 7.0' in text
    monkeypatch.setattr(Board, "silent_s", lambda self: float("inf"))
    assert 'sluicegate_lag_seconds{partition="0",role="gate"} 1.5' in get(port, "/metrics")[2], (
        "it has said nothing yet"
    )
    gate.running = False
    text = get(port, "/metrics")[2]
    assert "sluicegate_lag_seconds{" not in text, "it has no partitions"
    assert 'sluicegate_hand_overs_total{role="gate"} 3.0' in text


def test_when_the_worker_was_started_says_what_its_counters_have_seen(port: int) -> None:
    (line,) = [one for one in get(port, "/metrics")[2].splitlines() if one.startswith("sluicegate_start_time_seconds ")]
    assert 0 <= time.time() - float(line.split()[1]) < 60


def test_metrics_are_what_a_parser_reads(port: int, watched: list[Watched]) -> None:
    meter = Meter(watched[0].board, ["billing"])
    batch = fetched([decision(1), decision(1), b"{"])
    found = decided(batch, (BILLING,))
    meter.committed([batch], Batch(found.records, {}, None, found.observed), 0.002, 0.011, 1_764_000_000.5)
    watched[0].restarts, watched[0].running = 2, True
    status, content_type, text = get(port, "/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    role = ("role", "gate")
    assert samples["sluicegate_child_restarts_total", role] == 2
    assert samples["sluicegate_transaction_seconds_bucket", ("le", "0.01"), role] == 0
    assert samples["sluicegate_transaction_seconds_bucket", ("le", "0.015"), role] == 1
    assert samples["sluicegate_transaction_seconds_bucket", ("le", "+Inf"), role] == 1
    assert samples["sluicegate_transaction_seconds_count", role] == 1
    assert samples["sluicegate_transaction_seconds_sum", role] == pytest.approx(0.011)
    assert samples["sluicegate_last_commit_timestamp_seconds", ("partition", "2"), role] == 1_764_000_000.5
    labels = (("output", "exceptions"), ("reason", "duplicate.repeat"), role, ("workflow", "billing"))
    assert samples["sluicegate_dispositions_total", *labels] == 1
    assert [name for name, *_ in samples].count("sluicegate_build_info") == 1


def test_openmetrics_for_those_who_ask(port: int) -> None:
    _, content_type, text = get(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_two_children_of_one_role_are_shown_as_one(port: int, watched: list[Watched]) -> None:
    watched[1].role = "gate"
    for one in watched:
        one.board.numbers("hand_overs")[0] = 3
        one.restarts = 1
    text = get(port, "/metrics")[2]
    assert 'sluicegate_hand_overs_total{role="gate"} 6.0' in text
    assert 'sluicegate_child_restarts_total{role="gate"} 2.0' in text
    assert text.count("sluicegate_ready{") == 1


def test_other_paths_are_not_there_and_head_has_no_body(port: int) -> None:
    assert get(port, "/")[0] == 404
    request = urllib.request.Request(f"http://127.0.0.1:{port}/healthz", method="HEAD")
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.read()) == (200, b"")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/metrics", data=b"x"))
    with refused.value:
        assert refused.value.code == 501


def test_clients_that_say_nothing_or_go_away_keep_nobody_waiting(
    port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    try:
        silent[0].sendall(b"GET /metrics HTTP/1.1\r\n")
        silent[1].sendall(b"\x00\xff nonsense\r\n\r\n")
        assert get(port, "/healthz")[0] == 200
    finally:
        for one in silent:
            one.close()
    assert get(port, "/metrics")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_port_in_use_names_the_option(port: int, watched: list[Watched]) -> None:
    with pytest.raises(ConfigurationError, match=rf"--metrics-port: 127.0.0.1:{port} is in use.*or 0 for none"):
        Exporter("127.0.0.1", port, watched)


def test_a_port_can_be_had_again_at_once(watched: list[Watched]) -> None:
    port = free_port()
    for _ in range(3):
        with Exporter("127.0.0.1", port, watched):
            assert get(port, "/healthz")[0] == 200


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_ours_names_the_option(host: str, watched: list[Watched]) -> None:
    with pytest.raises(ConfigurationError, match=r"--metrics-host: cannot listen at"):
        Exporter(host, free_port(), watched)
