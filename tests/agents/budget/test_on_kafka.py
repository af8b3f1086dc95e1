"""`sluicegate latency`, `budget simulate` and `budget recommend` on topics of a real Kafka, as a user types them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from click.testing import CliRunner, Result

from agents.cli.main import cli
from streams.errors import BrokerUnreachable, ConfigurationError
from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.agents.budget.recorded import Arrival, through
from tests.kafka.harness import Record, new_prefix, now_ms, record, send, write_policies
from tests.streams.making import decision, policy

POLICY = """\
workflow: billing
version: 3
freshness: {budget: 20s}
boundary: {rules: [{name: all, then: autonomous}]}
"""
TO_ALL = policy([{"name": "all", "then": "autonomous"}], budget="20s")
COUNT = 200
DROPPED = 20


class Topics:
    """A gate's topics: 200 decisions, of which 20 were stale; the last three are waiting for the gate."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap, self.prefix = bootstrap, new_prefix()
        self.policies = write_policies(folder / "policies", POLICY)
        self.began_ms = now_ms()
        asyncio.run(self._fill())

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, [*arguments, "--bootstrap", self.bootstrap, "--prefix", self.prefix])

    def budget(self, what: str, *arguments: str, workflow: str = "billing") -> Result:
        about = ["--workflow", workflow, "--policies", str(self.policies)]
        return self.run("budget", what, *about, *arguments)

    async def _fill(self) -> None:
        await apply(self.bootstrap, self.prefix, 1)
        at_ms = now_ms()
        arrivals = [
            Arrival(decision(n, observed_at_ms=at_ms - (30_000 if n % 10 == 0 else 100 * (n % 10))), at_ms)
            for n in range(COUNT)
        ]
        inputs = [record(self.prefix + "decisions", one.body, 0) for one in arrivals]
        await send(self.bootstrap, inputs)
        await send(self.bootstrap, self._answers(arrivals))
        await send(self.bootstrap, [record(self.prefix + "decisions", decision(n), 0) for n in range(900, 903)])
        await _commit(self.bootstrap, self.prefix, COUNT)

    def _answers(self, arrivals: list[Arrival]) -> Iterator[Record]:
        for one, value, output in through(arrivals, TO_ALL):
            body = orjson.loads(value)
            body["source"]["topic"] = self.prefix + "decisions"
            yield Record(self.prefix + output, b"acct-17", orjson.dumps(body), 0)
            if output == "commands":
                about = {
                    name: body[name] for name in ("command_id", "workflow", "entity", "gated_at_ms", "deadline_ms")
                }
                status = "expired" if one.body["id"] == "d-1" else "executed"
                started = {} if status == "expired" else {"started_at_ms": body["gated_at_ms"] + 40}
                receipt = {**about, "status": status, "at_ms": body["gated_at_ms"] + 50, **started}
                yield Record(self.prefix + "receipts", b"acct-17", orjson.dumps(receipt), 0)
                outcome = {"command_id": body["command_id"], "value_minor": 1_000, "currency": "USD", "at_ms": 0}
                yield Record(self.prefix + "outcomes", b"acct-17", orjson.dumps({**outcome, "revision": 1}), 0)


async def _commit(bootstrap: str, prefix: str, offset: int) -> None:
    """What a gate commits, in the way it does: in a transaction."""
    client = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{prefix}test")
    await client.start()
    try:
        async with client.transaction():
            at = {TopicPartition(f"{prefix}decisions", 0): OffsetAndMetadata(offset, "")}
            await client.send_offsets_to_transaction(at, f"{prefix}gate")
    finally:
        await client.stop()


@pytest.fixture(scope="module")
def topics(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Topics:
    return Topics(kafka.bootstrap, tmp_path_factory.mktemp("budget"))


def document(result: Result) -> Any:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def test_simulate_says_what_was_kept_and_what_other_budgets_would_have_kept(topics: Topics) -> None:
    found = document(topics.budget("simulate", "--budget", "500ms,20s,1m", "--output", "json"))
    rows = {row["budget_ms"]: row for row in found["budgets"]}
    assert (rows[20_000]["kept"], rows[20_000]["dropped"]) == (COUNT - DROPPED, DROPPED)
    assert (rows[60_000]["kept"], rows[60_000]["dropped"]) == (COUNT, 0)
    assert (rows[500]["kept"], rows[500]["dropped"]) == (80, 120)  # ages of 100 to 400 ms
    assert rows[20_000]["value_minor"]["dropped"] == {"USD": DROPPED * 1_250}
    assert found["present_budget_ms"] == 20_000
    assert sum(row["commands"] for row in found["loss_by_age"]) == COUNT - DROPPED - 1
    assert found["loss_by_age"][0]["lost"] == 0.2


@pytest.mark.parametrize(("name", "head"), [("b.svg", b"<?xml"), ("b.PNG", b"\x89PNG")])
def test_simulate_draws_a_picture_and_a_table_of_80_columns(
    topics: Topics, tmp_path: Path, name: str, head: bytes
) -> None:
    result = topics.budget("simulate", "--from", "1h", "--plot", str(tmp_path / name))
    assert result.exit_code == 0, result.output
    assert (tmp_path / name).read_bytes().startswith(head)
    lines = result.stdout.splitlines()
    assert "billing: 200 decisions from" in lines[0]
    assert [line.split()[:3] for line in lines if line.lstrip().startswith("*20.0")] == [["*20.0", "s", "180"]]
    assert max(map(len, lines[:10])) <= 80


def test_recommend_finds_the_smallest_budget_and_what_comes_of_it(topics: Topics) -> None:
    found = document(topics.budget("recommend", "--keep", "0.9", "--output", "json"))
    assert found["budget_ms"] == 901
    assert found["predicted"]["kept"] == 0.9
    assert found["predicted"]["dropped"] == 0.1
    assert found["interval_95_ms"] is None  # all was decided at one reading of the clock
    said = topics.budget("recommend", "--keep", "0.9", "--by", "count").stdout
    assert "billing: budget 901ms keeps 90.00% of the decisions (asked for: 90.00%)." in said
    assert "The present budget, 20s, keeps 90.00%." in said


def test_latency_tells_stages_budgets_lag_and_what_expired(topics: Topics) -> None:
    found = document(topics.run("latency", "--once", "--output", "json", "--window", "1h"))
    billing = found["workflows"]["billing"]
    assert (billing["commands"], billing["exceptions"], billing["expired"]) == (COUNT - DROPPED, DROPPED, 1)
    assert billing["latency_ms"]["actuation"] == {"p50": 40, "p95": 40, "p99": 40}
    assert 1.5 <= billing["budget_used"]["p99"] <= 1.55
    assert found["lag"]["offsets_behind"] == 3
    assert 0 <= found["lag"]["waiting_s"] <= (now_ms() - topics.began_ms) / 1000
    shown = topics.run("latency", "--once", "--window", "1h").stdout
    assert "billing: 180 commands, 20 exceptions" in shown
    assert "expired before execution 0.6% of 180 commands" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_gate_that_never_read_has_no_lag_to_tell(topics: Topics) -> None:
    found = document(topics.run("latency", "--once", "--output", "json", "--group", "nobody"))
    assert found["lag"]["waiting_s"] is None


@pytest.mark.parametrize(
    ("arguments", "workflow", "said"),
    [
        ((), "biling", r"no policy in .* is for the workflow 'biling'; there is billing"),
        (("--from", "1h", "--to", "2h"), "billing", r"the range is empty: --from .* is not before --to"),
        (
            ("--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z"),
            "billing",
            r"decided between 2020-.*: that is older than retention, the oldest record that is kept is of 2",
        ),
        (
            ("--from", "2999-01-01T00:00:00Z", "--to", "2999-01-02T00:00:00Z"),
            "billing",
            r"choose another --from or --to",
        ),
        (("--segment", "x"), "billing", r"no decision of 'billing' in the range is in the segment 'x': see --segment"),
    ],
)
def test_errors_teach(topics: Topics, arguments: tuple[str, ...], workflow: str, said: str) -> None:
    result = topics.budget("simulate", *arguments, workflow=workflow)
    assert isinstance(result.exception, ConfigurationError)
    with pytest.raises(ConfigurationError, match=said):
        raise result.exception


def test_a_workflow_that_decided_nothing_is_told_what_did(topics: Topics, tmp_path: Path) -> None:
    write_policies(tmp_path, POLICY.replace("billing", "payout"))
    result = topics.run("budget", "recommend", "--workflow", "payout", "--policies", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"nothing of the workflow 'payout' .* there was billing"):
        raise result.exception or AssertionError(result.output)


def test_no_topics_and_no_broker_are_told_apart(topics: Topics) -> None:
    for command in (
        ["latency", "--once"],
        ["budget", "simulate", "--workflow=billing", f"--policies={topics.policies}"],
    ):
        elsewhere = CliRunner().invoke(cli, [*command, "--bootstrap", topics.bootstrap, "--prefix", "none."])
        assert isinstance(elsewhere.exception, ConfigurationError)
        assert "there is no topic none.commands" in str(elsewhere.exception)
    nobody = CliRunner().invoke(cli, ["latency", "--once", "--bootstrap", "127.0.0.1:1"])
    assert isinstance(nobody.exception, BrokerUnreachable)
