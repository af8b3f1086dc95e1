"""`sluicegate reviews` on a real Kafka: the gate's reviews, seen and answered; the test plays the reviews agent."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from click.testing import CliRunner
from msgspec.json import encode

from agents.cli.main import cli
from schemas.examples import COMMAND, REJECTION
from schemas.identifiers import command_id, rejection_id, root_digest
from streams.errors import SluicegateError
from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from streams.signatures import verify
from tests.kafka.harness import SLUICEGATE, WAIT_S, Record, decision, new_prefix, read, record, send, worker

SECRET = "wait-for-it"
PATIENT = ("--wait", "40")


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Desk:
    """One prefix with a gate that has asked people about three decisions, and the commands of the desk."""

    def __init__(self, kafka: Broker, prefix: str, folder: Path) -> None:
        self.kafka, self.prefix, self.folder = kafka, prefix, folder
        self.store = f"sqlite:///{folder / 'reviews.db'}"

    def run(self, *arguments: str) -> Done:
        """The command, in this process: an interpreter of its own costs a second each time."""
        environment = {"SLUICEGATE_STORE": self.store, "SLUICEGATE_VERDICT_KEY": f"k1:{SECRET}"}
        environment |= {"SLUICEGATE_BOOTSTRAP": self.kafka.bootstrap, "SLUICEGATE_PREFIX": self.prefix}
        result = CliRunner().invoke(cli, ["reviews", *arguments], env=environment)
        error, code, stderr = result.exception, result.exit_code, result.stderr
        if isinstance(error, SluicegateError):
            code, stderr = error.exit_code, f"{stderr}{error}\n"
        else:
            assert error is None or isinstance(error, SystemExit), error
        return Done(code, result.stdout, stderr)

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.run("list", "--output", "json", *arguments)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["reviews"]
        return found

    def of(self, entity: str) -> dict[str, Any]:
        return next(one for one in self.listed("--all") if one["entity"] == entity)

    async def verdicts(self, count: int) -> list[Record]:
        return await read(self.kafka.bootstrap, [f"{self.prefix}verdicts"], count)


@pytest.fixture(scope="module")
def desk(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    made = Desk(kafka, new_prefix(), tmp_path_factory.mktemp("desk"))

    async def asked() -> None:
        await apply(kafka.bootstrap, made.prefix, partitions=2)
        names = ["one", "two", "three", "four"]
        dear = [decision(f"d-{name}", f"acct-{name}", value_minor=999_900) for name in names]
        with worker(kafka.bootstrap, made.prefix, made.folder) as gate:
            await send(kafka.bootstrap, [record(f"{made.prefix}decisions", one) for one in dear])
            await read(kafka.bootstrap, [f"{made.prefix}reviews"], len(names))
            assert await gate.stop() == 0, gate.log

    asyncio.run(asked())
    return made


def test_what_waits_is_listed_and_shown(desk: Desk) -> None:
    rows = desk.listed()
    assert {row["entity"] for row in rows} >= {"acct-one", "acct-four"}
    assert [row["deadline_ms"] for row in rows] == sorted(row["deadline_ms"] for row in rows)
    text = desk.run("list").stdout
    assert "9,999.00 USD" in text and "value_over_limit" in text and "0/1" in text
    shown = desk.run("show", rows[0]["review_id"][:16])
    assert shown.returncode == 0, shown.stderr
    for part in (rows[0]["review_id"], '"type": "invoice.post"', "as it came", "rule small", "asked: value_over_limit"):
        assert part in shown.stdout, part
    record = json.loads(desk.run("show", rows[0]["review_id"], "--output", "json").stdout)["record"]
    assert record["decision"]["action"] == {"type": "invoice.post"}


def test_a_verdict_is_signed_bound_to_the_action_and_where_the_review_is(desk: Desk) -> None:
    review = desk.of("acct-one")
    done = desk.run("approve", review["review_id"], "--by", "ana", "--note", "fine", "--wait", "0")
    assert done.returncode == 0, done.stderr
    (sent,) = [one for one in asyncio.run(desk.verdicts(1)) if one.key == b"acct-one"]
    assert sent.partition == review["number"] == int(review["review_id"].split("-")[1])
    headers = dict(sent.headers)
    assert sent.value is not None
    assert verify({"k1": SECRET.encode()}, headers["sluicegate-signature"], sent.value) == "k1"
    body = sent.json()
    assert (body["verdict"], body["by"], body["action_digest"]) == ("approve", "ana", review["action_digest"])


async def verdict_on(desk: Desk, entity: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first verdict about this entity, waited for, and its place as `caused_by` names it."""
    topic = f"{desk.prefix}verdicts"
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=desk.kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(WAIT_S):
            async for one in consumer:
                if one.key == entity.encode():
                    return orjson.loads(one.value), {"topic": topic, "partition": one.partition, "offset": one.offset}
    finally:
        await consumer.stop()
    raise AssertionError("unreachable")


def command_of(review: dict[str, Any], caused_by: dict[str, Any]) -> dict[str, Any]:
    """What the reviews agent makes of a sufficient approval."""
    body = orjson.loads(encode(COMMAND))
    ids = {name: review["record"][name] for name in ("decision_id", "entity", "review_id", "source")}
    identifier = command_id(root_digest(ids["decision_id"]))
    return {**body, **ids, "command_id": identifier, "kind": "followup", "caused_by": caused_by}


def rejection_of(reason: str, caused_by: dict[str, Any]) -> dict[str, Any]:
    identifier = rejection_id(caused_by["topic"], caused_by["partition"], caused_by["offset"])
    body = {**orjson.loads(encode(REJECTION)), "rejection_id": identifier, "reason": reason, "source": caused_by}
    return body | {"detail": "the key k1 may not speak for ana"}


async def test_an_approval_waits_for_its_command_and_ends_the_review(desk: Desk) -> None:
    identifier = (await asyncio.to_thread(desk.of, "acct-two"))["review_id"]
    shown = json.loads((await asyncio.to_thread(desk.run, "show", identifier, "--output", "json")).stdout)
    waiting = asyncio.create_task(asyncio.to_thread(desk.run, "approve", shown["review_id"], "--by", "ana", *PATIENT))
    said, place = await verdict_on(desk, "acct-two")
    made = command_of(shown, place)
    await send(
        desk.kafka.bootstrap,
        [Record(f"{desk.prefix}commands", b"acct-two", orjson.dumps(made), place["partition"])],
    )
    done = await waiting
    assert (done.returncode, done.stderr.splitlines()[1:]) == (0, [])
    assert done.stdout == f"accepted: it is the command {made['command_id']}\n"
    assert said["verdict"] == "approve"
    ended = await asyncio.to_thread(desk.of, "acct-two")
    assert (ended["state"], ended["ended_how"], ended["ended_by"]) == ("ended", "approved", "ana")
    again = await asyncio.to_thread(desk.run, "reject", identifier, "--by", "ben")
    assert again.returncode == 1
    assert "has ended by ana: approved" in again.stderr


async def test_a_refused_verdict_is_exit_code_1_with_the_reason(desk: Desk) -> None:
    review = await asyncio.to_thread(desk.of, "acct-three")
    waiting = asyncio.create_task(asyncio.to_thread(desk.run, "reject", review["review_id"], "--by", "ana", *PATIENT))
    _, place = await verdict_on(desk, "acct-three")
    refused = orjson.dumps(rejection_of("verdict.by", place))
    await send(desk.kafka.bootstrap, [Record(f"{desk.prefix}rejections", b"acct-three", refused, place["partition"])])
    done = await waiting
    assert done.returncode == 1
    assert "refused, verdict.by: the key k1 may not speak for ana" in done.stderr
    shown = await asyncio.to_thread(desk.run, "show", review["review_id"])
    assert "open; until" in shown.stdout
    assert "rejected (verdict.by" in shown.stdout


def test_when_nobody_answers_it_says_where_the_verdict_stands(desk: Desk, tmp_path: Path) -> None:
    review, action = desk.of("acct-four"), tmp_path / "action.json"
    action.write_text('{"type": "invoice.post",  "amount": 1.50}\n')
    more = ("--by", "ana", "--action", str(action), "--value-minor", "150", "--currency", "USD", "--wait", "0.3")
    done = desk.run("modify", review["review_id"], *more)
    assert done.returncode == 1
    assert "nobody answered it in 0.3 s: does `sluicegate worker` run" in done.stderr
    sent = next(one for one in asyncio.run(desk.verdicts(1)) if one.key == b"acct-four")
    assert sent.value is not None and b'"action":{"type": "invoice.post",  "amount": 1.50}' in sent.value
    assert sent.json()["value_minor"] == 150


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "r-0-none"], 1, "no review 'r-0-none' is known"),
        (["approve", "r-", "--by", "ana"], 1, "begins more than one id"),
        (["approve", "r-0", "--by", "ana", "--key-file", "/nowhere/keys"], 2, "cannot be read"),
        (["approve", "r-0", "--by", "ana", "--key-id", "k2"], 2, "'k2' is not among them"),
        (["list", "--prefix", "nobodys."], 2, "there is no topic nobodys.reviews"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(desk: Desk, arguments: list[str], code: int, said: str) -> None:
    done = desk.run(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_action_that_was_modified_since_is_not_approved(desk: Desk) -> None:
    review = desk.of("acct-four")
    done = desk.run("approve", review["review_id"], "--by", "ana", "--digest", "sha256:0123456789")
    assert done.returncode == 1
    assert "it was modified since" in done.stderr


def test_rebuilding_gives_the_same_store(desk: Desk) -> None:
    before = [{**row, "left_ms": 0} for row in desk.listed("--all")]
    done = desk.run("rebuild", "--yes")
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "the store holds 4 reviews again")
    assert [{**row, "left_ms": 0} for row in desk.listed("--all")] == before


def test_watch_shows_what_waits_until_it_is_ended(desk: Desk) -> None:
    command = [*SLUICEGATE, "reviews", "watch", "--bootstrap", desk.kafka.bootstrap, "--prefix", desk.prefix]
    command += ["--store", desk.store, "--output", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 0
    assert first["count"] == 3
