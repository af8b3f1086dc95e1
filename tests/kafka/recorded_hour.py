"""A few seconds of a real gate with all that can happen to a decision, for backtests to be held against."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from click.testing import CliRunner, Result

from agents.cli.main import cli
from streams.runtime.topics import apply
from tests.kafka.harness import (
    Record,
    decision,
    new_prefix,
    now_ms,
    read,
    record,
    send,
    successor,
    worker,
    write_policies,
)

OUTPUTS = ("commands", "reviews", "exceptions", "reevaluations")
ROUNDS, EACH, ENTITIES = 6, 400, 40
BILLING = """\
workflow: billing
version: 3
freshness:
  {budget: 20s, total: 40s, context: [card], supersede: true, on_stale: reevaluate, allowance: 2s}
evaluator: {url: "http://127.0.0.1:9/rate"}
boundary:
  rules:
    - {name: disputed, when: {attributes.kind: {equals: disputed}}, then: block}
    - {name: odd, when: {segment: {equals: odd}}, then: escalate}
    - {name: small, then: autonomous, limits: {value_minor_at_most: 5000, currency: USD, confidence_at_least: 0.5}}
"""
PAYOUT = """\
workflow: payout
version: 1
freshness: {budget: 10s}
boundary:
  rules: [{name: all, then: autonomous}]
  exposure: [{name: hourly, window: 1h, count_at_most: 60}]
"""


class Hour:
    """What a gate recorded of a few seconds, and what was sent to it."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap, self.prefix, self.folder = bootstrap, new_prefix(), folder
        self.policies = write_policies(folder / "policies", BILLING)
        (self.policies / "payout.yaml").write_text(PAYOUT)
        self.began_ms = now_ms()
        self.later: list[Record] = []  # successors: they come when their root has its answer
        self.bodies: dict[int, dict[str, Any]] = {}
        asyncio.run(self._record())
        self.answers = asyncio.run(self._answers())

    def run(self, policies: Path, *arguments: str) -> Result:
        about = ["--bootstrap", self.bootstrap, "--prefix", self.prefix, "--from", str(self.began_ms)]
        return CliRunner().invoke(cli, ["policy", "backtest", str(policies), *about, *arguments])

    def document(self, policies: Path, *arguments: str) -> Any:
        result = self.run(policies, "--output", "json", *arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)

    async def _record(self) -> None:
        await apply(self.bootstrap, self.prefix, 4)
        await send(self.bootstrap, [self._context(n, 1, "a") for n in range(ENTITIES)])
        with worker(self.bootstrap, self.prefix, self.folder) as child:
            await child.said("partition ready", 4)
            self.count = 0
            for round_number in range(ROUNDS):
                if round_number == 2:  # the card of some changes, of others only something else
                    changed = [self._context(n, 2, "b" if n % 2 else "a") for n in range(0, ENTITIES, 3)]
                    await send(self.bootstrap, changed)
                records = list(self._mixed(round_number))
                self.count += len(await send(self.bootstrap, records))
                if round_number in (1, 3, ROUNDS - 1):
                    await self._answers()  # so that what follows is in other batches
                    self.count += len(await send(self.bootstrap, self.later))
                    self.later.clear()
            await self._answers()
            assert await child.stop() == 0, child.log

    def _context(self, number: int, version: int, card: str) -> Record:
        entity = f"acct-{number}"
        body = {"entity": entity, "version": version, "at_ms": now_ms(), "state": {"card": card, "other": version}}
        return Record(self.prefix + "context", entity.encode(), orjson.dumps(body))

    def _mixed(self, round_number: int) -> Iterator[Record]:
        topic = self.prefix + "decisions"
        for at in range(EACH):
            number = round_number * EACH + at
            entity = f"acct-{number * 7 % ENTITIES}"
            more: dict[str, Any] = {"confidence": 0.3 if number % 5 == 0 else 0.9, "context_version": 1}
            more |= {"attributes": {"kind": "usual"}, "segment": "usual"}
            more["action"] = {"type": f"t{number % 3}"}
            match number % 16:
                case 0:
                    more["observed_at_ms"] = now_ms() - 30_000  # stale, and can be asked about
                case 1:
                    more["observed_at_ms"] = now_ms() - 50_000  # beyond its final deadline
                case 2 | 3 if number - 16 in self.bodies:  # repeats, some with other content
                    body = self.bodies[number - 16]
                    yield record(topic, body if number % 16 == 2 else {**body, "value_minor": 1})
                    continue
                case 4:
                    more["attributes"] = {"kind": "disputed"}
                case 5:
                    more["currency"] = "EUR"
                case 6:
                    more["segment"] = "odd"
                case 7:
                    more["value_minor"] = 1_000 * number
                case 8:
                    more["observed_at_ms"] = now_ms() - 1_500  # a later observation may have gone before
                case 9:
                    more["workflow"] = "payout"
                case 10:
                    del more["context_version"]
                case 11:
                    root, usual = self.bodies[number - 4], {"attributes": {"kind": "usual"}, "segment": "usual"}
                    again = successor(root["id"], 2, root["entity"], context_version=2, **usual)
                    self.later.append(record(self.prefix + "successors", again))
                case 12:
                    yield Record(topic, entity.encode(), b'{"id": ')
                case 13:
                    more["workflow"] = "nobody"
                case 14:
                    more["observed_at_ms"] = now_ms() - 18_600  # too late for an executor
            self.bodies[number] = decision(f"d-{number}", entity, **more)
            yield record(topic, self.bodies[number])

    async def _answers(self) -> dict[tuple[str, int, int], tuple[str, Any]]:
        found = await read(self.bootstrap, [self.prefix + output for output in OUTPUTS], self.count)
        answers: dict[tuple[str, int, int], tuple[str, Any]] = {}
        for one in found:
            source = one.json()["source"]
            answers[source["topic"], source["partition"], source["offset"]] = (
                one.topic.removeprefix(self.prefix),
                one.json(),
            )
        assert len(answers) == self.count
        return answers

    async def inputs(self) -> dict[tuple[str, int, int], tuple[Record, Any]]:
        """What was sent, by place; the body of what is no JSON is None."""
        found: dict[tuple[str, int, int], tuple[Record, Any]] = {}
        for topic in ("decisions", "successors"):
            wanted = [place for place in self.answers if place[0] == self.prefix + topic]
            next_offset = Counter[int]()
            for one in await read(self.bootstrap, [self.prefix + topic], len(wanted)):
                assert one.partition is not None
                place = (one.topic, one.partition, next_offset[one.partition])
                next_offset[one.partition] += 1
                found[place] = (one, None if one.value == b'{"id": ' else one.json())
        return found


def reason_of(answer: tuple[str, Any]) -> str:
    """Of what was refused or is asked again; the output's name otherwise."""
    output, body = answer
    return str(body["reason"]) if output in ("exceptions", "reevaluations") else output
