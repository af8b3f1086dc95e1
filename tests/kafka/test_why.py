"""`sluicegate why` on a real Kafka: a decision through the real gate, what people and executors said beside it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from click.testing import CliRunner, Result
from msgspec.json import encode
from msgspec.structs import replace

from agents.cli.main import cli
from schemas.examples import RECEIPT
from schemas.identifiers import command_id, root_digest
from schemas.published import Recall
from schemas.verdict import Verdict
from streams.errors import SluicegateError
from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from streams.signatures import sign
from tests.kafka.harness import Record, decision, now_ms, producer, read, record, send, worker

NOISE = 300


class Asked(NamedTuple):
    code: int
    text: str


def asked(kafka: Broker, prefix: str, *arguments: str) -> Asked:
    result: Result = CliRunner().invoke(
        cli, ["why", *arguments, "--bootstrap", kafka.bootstrap, "--prefix", prefix], env={"COLUMNS": "200"}
    )
    if isinstance(result.exception, SluicegateError):
        return Asked(result.exception.exit_code, str(result.exception))
    assert result.exception is None, result.exception
    return Asked(result.exit_code, result.stdout)


async def _decided(kafka: Broker, prefix: str, folder: Path) -> dict[str, Any]:
    """Decisions through the gate, a verdict and a receipt beside them; the review of `dear/ü`."""
    await apply(kafka.bootstrap, prefix, partitions=2)
    decisions = f"{prefix}decisions"
    told = [decision("paid", "acct-1"), decision("paid", "acct-2"), decision("dear/ü", "acct-3", value_minor=999_900)]
    told += [decision(f"paid{n}", f"noise-{n}") for n in range(NOISE)]
    inputs = [record(decisions, one) for one in told]
    inputs[2] = inputs[2]._replace(value=json.dumps(told[2]).replace("/", "\\/").encode())
    inputs.append(Record(decisions, b"acct-3", b"{no decision", None))
    with worker(kafka.bootstrap, prefix, folder) as gate:
        async with producer(kafka.bootstrap, compression_type="gzip") as client:
            packed = inputs.pop(1)
            await client.send_and_wait(packed.topic, packed.value, key=packed.key)
        await send(kafka.bootstrap, inputs)
        (review,) = await read(kafka.bootstrap, [f"{prefix}reviews"], 1)
        await read(kafka.bootstrap, [f"{prefix}commands"], NOISE + 2)
        assert await gate.stop() == 0, gate.log
    body = review.json()
    said = Verdict(
        review_id=body["review_id"], verdict="approve", action_digest=body["action_digest"], by="ana", at_ms=now_ms()
    )
    signed = (("sluicegate-signature", sign("k1", b"secret", encode(said))),)
    verdict = Record(f"{prefix}verdicts", b"acct-3", encode(said), review.partition, signed)
    issued = {one.json()["entity"]: one for one in await read(kafka.bootstrap, [f"{prefix}commands"], NOISE + 2)}
    paid = issued["acct-1"].json()
    receipt = replace(RECEIPT, command_id=paid["command_id"], entity="acct-1", deadline_ms=paid["deadline_ms"])
    receipt = replace(receipt, started_at_ms=paid["deadline_ms"] - 312, at_ms=paid["deadline_ms"] - 300)
    recall = Record(f"{prefix}policies", f"recall/{paid['command_id']}".encode(), encode(Recall("a typo", "bo", 1)), 0)
    await send(
        kafka.bootstrap,
        [verdict, recall, Record(f"{prefix}receipts", b"acct-1", encode(receipt), issued["acct-1"].partition)],
    )
    return body


async def test_the_story_of_a_decision_by_any_of_its_ids(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    review = await _decided(kafka, prefix, tmp_path)

    def told(*arguments: str) -> Any:
        found = asked(kafka, prefix, *arguments, "--output", "json")
        assert found.code == 0, found.text
        return orjson.loads(found.text)["stories"]

    await asyncio.to_thread(_by_any_id, told, review)
    text = (await asyncio.to_thread(asked, kafka, prefix, "paid")).text
    assert "executor erp-2" in text and "312 ms before its deadline" in text
    nothing = await asyncio.to_thread(asked, kafka, prefix, "nobody")
    assert nothing.code == 1
    assert "no record names 'nobody'" in nothing.text and "--prefix" in nothing.text


def _by_any_id(told: Any, review: dict[str, Any]) -> None:
    one, other = told("paid")
    assert {one["entity"], other["entity"]} == {"acct-1", "acct-2"}
    first = one if one["entity"] == "acct-1" else other
    assert [step["topic"].split(".")[-1] for step in first["steps"]] == [
        *("decisions", "commands", "policies", "receipts")
    ]
    assert first["conclusion"].endswith("312 ms before its deadline")
    by_command = told(command_id(root_digest("paid")))
    assert [story["entity"] for story in by_command] == [story["entity"] for story in (one, other)]
    (dear,) = told("dear/ü")
    assert [step["topic"].split(".")[-1] for step in dear["steps"]] == ["decisions", "reviews", "verdicts"]
    assert dear["steps"][2]["who"] == "ana, signed with the key k1"
    assert dear["conclusion"].startswith("waits for a person until")
    assert [story["root_id"] for story in told(review["review_id"], "--since", "10m")] == ["dear/ü"]
