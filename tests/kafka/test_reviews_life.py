"""A person and the real reviews agent: `sluicegate reviews` beside `sluicegate worker` with both roles."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
from click.testing import CliRunner

from agents.cli.main import cli
from streams.errors import SluicegateError
from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import SLUICEGATE, Child, decision, read, record, send, write_policies

SECRET = "a secret of sixteen bytes"
KEYS = f"keys: {{k1: {{secret: {SECRET}, by: {{ana: [clerk]}}}}}}\n"


def said(kafka: Broker, prefix: str, folder: Path, *arguments: str) -> tuple[int, str]:
    environment = {"SLUICEGATE_VERDICT_KEY": f"k1:{SECRET}", "SLUICEGATE_STORE": f"sqlite:///{folder / 'reviews.db'}"}
    environment |= {"SLUICEGATE_BOOTSTRAP": kafka.bootstrap, "SLUICEGATE_PREFIX": prefix}
    result = CliRunner().invoke(cli, list(arguments), env=environment)
    if isinstance(result.exception, SluicegateError):
        return result.exception.exit_code, str(result.exception)
    assert result.exception is None, result.exception
    return result.exit_code, result.stdout


async def test_what_a_person_says_is_answered_and_told(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await apply(kafka.bootstrap, prefix, partitions=2)
    policies, keys = write_policies(tmp_path / "policies"), tmp_path / "keys.yaml"
    keys.write_text(KEYS)
    command = [*SLUICEGATE, "worker", "--roles", "gate,reviews", "--bootstrap", kafka.bootstrap, "--prefix", prefix]
    command += ["--policies", str(policies), "--verdict-keys", str(keys)]
    dear = [decision(f"d-{name}", f"acct-{name}", value_minor=999_900) for name in ("yes", "no")]
    with Child(command, tmp_path / "worker.log") as worker:
        await send(kafka.bootstrap, [record(f"{prefix}decisions", one) for one in dear])
        found = await read(kafka.bootstrap, [f"{prefix}reviews"], len(dear))
        ids = {one.json()["entity"]: one.json()["review_id"] for one in found}

        async def told(*arguments: str) -> tuple[int, str]:
            return await asyncio.to_thread(said, kafka, prefix, tmp_path, *arguments)

        patient = ("--wait", "40")
        stranger = await told("reviews", "approve", ids["acct-yes"], "--by", "eve", *patient)
        approved = await told("reviews", "approve", ids["acct-yes"], "--by", "ana", *patient)
        rejected = await told("reviews", "reject", ids["acct-no"], "--by", "ana", "--note", "not ours", *patient)
        _, listed = await told("reviews", "list", "--all", "--output", "json")
        _, shown = await told("reviews", "show", ids["acct-yes"])
        _, why = await told("why", ids["acct-yes"], "--output", "json")
        beforehand = await _beforehand(kafka, prefix, told)
        assert await worker.stop() == 0, worker.log
    assert stranger == (1, "the verdict was refused, verdict.by: the key 'k1' may not speak for 'eve'")
    assert (approved[0], approved[1].split(" c-")[0]) == (0, "accepted: it is the command"), approved
    assert rejected[0] == 0 and "review.rejected" in rejected[1], rejected
    assert "1 of 1 (ana)" in shown
    assert beforehand == ["approved", None]
    rows = {row["entity"]: row for row in orjson.loads(listed)["reviews"]}
    assert {name: (row["ended_how"], row["ended_by"]) for name, row in rows.items()} == {
        "acct-yes": ("approved", "ana"),
        "acct-no": ("review.rejected", "ana"),
    }
    (story,) = orjson.loads(why)["stories"]
    steps = [step["topic"].removeprefix(prefix) for step in story["steps"]]
    assert steps == ["decisions", "reviews", "verdicts", "rejections", "verdicts", "commands"]
    assert story["conclusion"].startswith("commanded, may be started until")


async def _beforehand(kafka: Broker, prefix: str, told: Callable[..., Awaitable[tuple[int, str]]]) -> list[str | None]:
    """How a review ended that came under a pre-approval, and one that came after it was revoked."""
    given = ("--by", "ana", "--workflow", "billing", "--for", "8h", "--why", "a quiet night")
    code, wrong = await told("reviews", "preapprove", "night", *given, "--currency", "USD")
    assert (code, wrong) == (2, "--value-minor-at-most and --currency: give both or neither")
    code, done = await told("reviews", "preapprove", "night", *given, "--entity", "acct-vip")
    assert (code, done.split(" until ")[0]) == (0, "night: approved beforehand by ana")
    ended: list[str | None] = []
    for name in ("first", "second"):
        one = decision(f"d-{name}", "acct-vip", value_minor=999_900)
        await send(kafka.bootstrap, [record(f"{prefix}decisions", one)])
        count = 3 + len(ended)
        ids = [record.json() for record in await read(kafka.bootstrap, [f"{prefix}reviews"], count)]
        (identifier,) = [body["review_id"] for body in ids if body["decision_id"] == f"d-{name}"]
        for _ in range(20 if name == "first" else 2):
            _, listed = await told("reviews", "list", "--all", "--output", "json")
            (row,) = [row for row in orjson.loads(listed)["reviews"] if row["review_id"] == identifier]
            if row["ended_how"] is not None:
                break
            await asyncio.sleep(0.5)
        ended.append(row["ended_how"])
        if name == "first":
            assert (await told("reviews", "revoke", "night", "--why", "morning"))[0] == 0
            _, listed = await told("reviews", "preapprovals", "--output", "json")
            assert [(grant["id"], grant["revoked"]) for grant in orjson.loads(listed)] == [("night", True)]
    return ended
