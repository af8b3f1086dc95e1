"""The life of a policy on a real Kafka: seeded, applied while the gate works, undone; halts; what cannot be read."""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.error import HTTPError

import orjson
import pytest
import pytest_asyncio

from schemas.published import current_key, policy_key
from streams.governing import Signed, applied
from streams.rulebook import Rulebook
from streams.runtime.broker import Broker
from streams.runtime.broker.sockets import free_port
from streams.runtime.policies import load
from streams.runtime.topics import apply
from tests.kafka.harness import (
    POLICY,
    SLUICEGATE,
    Child,
    Record,
    audited,
    decision,
    dispositions,
    new_prefix,
    record,
    send,
    write_policies,
)

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="module")]

LARGER = POLICY.replace("version: 3", "version: 4").replace("5000", "9000")


class Gate:
    """A running worker, and the tool that changes what is in force on it."""

    def __init__(self, bootstrap: str, prefix: str, port: int, folder: Path, child: Child) -> None:
        self.bootstrap, self.prefix, self.port, self.folder, self.child = bootstrap, prefix, port, folder, child
        self.sent = 0

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        command = [*SLUICEGATE, *arguments, "--bootstrap", self.bootstrap, "--prefix", self.prefix]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    async def apply(self, text: str, *more: str) -> tuple[int, str, str]:
        return await self.run(
            "policy", "apply", str(write_policies(self.folder / "new", text)), "--why", "a test", *more
        )

    async def decide(self, *identifiers: str, **more: object) -> dict[str, tuple[str, dict[str, object]]]:
        """What became of these decisions: output and record, by id."""
        topic = self.prefix + "decisions"
        await send(self.bootstrap, [record(topic, decision(one, f"acct-{one}", **more)) for one in identifiers])
        self.sent += len(identifiers)
        answers = await dispositions(self.bootstrap, self.prefix, self.sent)
        found = {body["decision_id"]: (output, body) for output, body in answers.values()}
        return {one: found[one] for one in identifiers}

    async def ready(self) -> tuple[bool, str]:
        def ask() -> tuple[bool, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                    return True, answer.read().decode()
            except HTTPError as error:
                with error:
                    return False, error.read().decode()

        return await asyncio.to_thread(ask)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    prefix, folder, port = new_prefix(), tmp_path_factory.mktemp("policies"), free_port()
    await apply(kafka.bootstrap, prefix, partitions=2)
    policies = write_policies(folder / "first")
    arguments = ["worker", "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--policies", str(policies)]
    arguments += ["--roles", "gate", "--metrics-port", str(port)]
    with Child([*SLUICEGATE, *arguments], folder / "worker.log") as child:
        await child.said("partition ready", 2)
        yield Gate(kafka.bootstrap, prefix, port, folder, child)
        assert await child.stop() == 0
    assert (await audited(kafka.bootstrap, prefix))["ok"]


async def test_a_change_takes_effect_on_the_running_worker_and_is_undone(gate: Gate) -> None:
    before = await gate.decide("a", value_minor=7_000)
    assert (before["a"][0], before["a"][1]["policy"]) == ("reviews", "billing@3")
    code, said, _ = await gate.apply(LARGER)
    assert code == 0
    assert said.startswith("billing@4 is published and current\nin force on 1 gate after ")
    after = await gate.decide("b", value_minor=7_000)
    assert (after["b"][0], after["b"][1]["policy"]) == ("commands", "billing@4")
    code, said, _ = await gate.run("policy", "rollback", "billing", "--why", "too much")
    assert (code, said.splitlines()[0]) == (0, "billing@3 is published and current")
    undone = await gate.decide("c", value_minor=7_000)
    assert (undone["c"][0], undone["c"][1]["policy"]) == ("reviews", "billing@3")
    code, said, _ = await gate.run("policy", "history", "billing", "--output", "json")
    told = [(one["version"], one["why"]) for one in json.loads(said)]
    assert told == [(3, "too much"), (4, "a test"), (3, "the first policies, from the folder it was given")]
    code, said, _ = await gate.run("policy", "show", "billing@4", "--output", "json")
    assert json.loads(said)["boundary"]["rules"][0]["limits"]["value_minor_at_most"] == 9000


async def test_the_same_version_with_other_content_is_refused(gate: Gate) -> None:
    code, _, said = await gate.apply(POLICY.replace("5000", "6000"))
    assert code == 2
    assert "billing@3 was published by sluicegate worker with other content" in said
    code, said, _ = await gate.apply(POLICY)
    assert (code, said.splitlines()[0]) == (0, "billing@3 is in force already")


async def test_a_workflow_that_is_new_is_decided_at_once(gate: Gate) -> None:
    unknown = await gate.decide("r1", workflow="routing")
    assert unknown["r1"][1]["reason"] == "invalid.unknown_workflow"
    text = POLICY.replace("workflow: billing", "workflow: routing").replace("version: 3", "version: 1")
    assert (await gate.apply(text))[0] == 0
    known = await gate.decide("r2", workflow="routing")
    assert (known["r2"][0], known["r2"][1]["policy"]) == ("commands", "routing@1")


async def test_a_halt_stops_its_scope_alone_and_survives_until_it_is_resumed(gate: Gate) -> None:
    code, said, _ = await gate.run("halt", "--workflow", "billing", "--model", "m1", "--why", "double charges")
    assert (code, said.splitlines()[0]) == (0, "halted: workflow 'billing', model 'm1'")
    halted = await gate.decide("h1", model="m1")
    assert (halted["h1"][0], halted["h1"][1]["reason"]) == ("exceptions", "halted")
    assert str(halted["h1"][1]["detail"]).endswith(": double charges")
    assert (await gate.decide("h2", model="m2"))["h2"][0] == "commands"
    _, said, _ = await gate.run("halt", "--list", "--output", "json")
    assert [(one["workflow"], one["model"], one["why"]) for one in json.loads(said)] == [
        ("billing", "m1", "double charges")
    ]
    code, _, said = await gate.run("resume", "--workflow", "billing", "--why", "fixed")
    assert (code, said.strip()) == (
        2,
        "sluicegate: no halt stops exactly workflow 'billing'; halted: workflow 'billing', model 'm1'",
    )
    code, said, _ = await gate.run("resume", "--workflow", "billing", "--model", "m1", "--why", "fixed")
    assert code == 0
    assert (await gate.decide("h3", model="m1"))["h3"][0] == "commands"
    for wrong in (["halt", "--why", "all"], ["halt", "--workflow", "billing"], ["recall", "d-1", "--why", "x"]):
        assert (await gate.run(*wrong))[0] == 2


async def test_a_version_that_cannot_be_read_stops_nothing_and_readiness_shows_it(gate: Gate) -> None:
    assert (await gate.ready())[0]
    newer = LARGER.replace("version: 4", "version: 9")
    documents = [one.document for one in load(write_policies(gate.folder / "newer", newer)).by_index]
    version, pointer = applied(Rulebook().edition(), documents, "keep", Signed("tomorrow", "newer", 1))
    body = orjson.loads(version.value)
    body["document"]["boundary"]["a_rule_of_tomorrow"] = 1
    topic = gate.prefix + "policies"
    await send(
        gate.bootstrap,
        [
            Record(topic, policy_key("billing", 9).encode(), orjson.dumps(body), 0),
            Record(topic, current_key("billing").encode(), pointer.value, 0),
        ],
    )
    await gate.child.said("a policy cannot be used")
    ready, told = await gate.ready()
    for _ in range(50):
        if not ready:
            break
        await asyncio.sleep(0.2)
        ready, told = await gate.ready()
    assert not ready
    assert "billing@9 cannot be used here" in told
    assert "a_rule_of_tomorrow" in told
    # the pointer that came knows nothing of the versions before it: the last that this worker had stays in force
    going_on = await gate.decide("n1")
    assert (going_on["n1"][0], going_on["n1"][1]["policy"]) == ("commands", "billing@3")
    code, _, said = await gate.apply(LARGER.replace("version: 4", "version: 10"))
    assert code == 0, said
    assert (await gate.decide("n2"))["n2"][1]["policy"] == "billing@10"


async def test_a_folder_fills_an_empty_topic_only(gate: Gate, tmp_path: Path) -> None:
    other = write_policies(tmp_path / "other", POLICY.replace("5000", "1"))
    command = [*SLUICEGATE, "worker", "--bootstrap", gate.bootstrap, "--prefix", gate.prefix, "--policies", str(other)]
    with Child([*command, "--roles", "gate", "--metrics-port", "0"], tmp_path / "second.log") as child:
        await child.said("the folder is not used")
        assert await child.stop() == 0
    code, said, _ = await gate.run("policy", "history", "billing", "--output", "json")
    assert (code, json.loads(said)[0]["version"]) == (0, 10)


async def test_a_worker_without_any_policy_is_refused(kafka: Broker, tmp_path: Path) -> None:
    prefix = new_prefix()
    await apply(kafka.bootstrap, prefix, partitions=1)
    command = [*SLUICEGATE, "worker", "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--metrics-port", "0"]
    with Child(command, tmp_path / "worker.log") as child:
        assert await child.ended() == 2
        assert "no policy is in force on " in child.log
        assert "sluicegate policy apply" in child.log
