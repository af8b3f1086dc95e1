"""A mistake of ours on one record among many, in every role: that record is set aside, all others are answered."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import orjson
import pytest

from schemas.lease import demand_key
from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import Record, audited, decision, now_ms, read, record, send, worker
from tests.kafka.mistaken import LARGE, MISTAKE

pytestmark = pytest.mark.kafka

COUNT = 2_000
BAD = {700: MISTAKE, 701: MISTAKE, 1_300: LARGE, COUNT - 1: MISTAKE}
POLICY = """\
workflow: billing
version: 3
freshness: {budget: 10m, total: 20m}
boundary:
  rules: [{name: small, then: autonomous, limits: {value_minor_at_most: 5000, currency: USD}}]
  exposure: [{name: hourly, window: 1h, count_at_most: 1000000}]
"""


ENTITIES = [f"acct-{number}" for number in (0, 1, 4, 5, 7, 9, 10)]  # of two partitions the first is theirs


def decisions(topic: str) -> list[Record]:
    made = []
    for number in range(COUNT):
        about = BAD.get(number, b"").decode()
        made.append(record(topic, decision(f"d-{number}", ENTITIES[number % 7], model=about)))
    return made


def demand(partition: int, number: int, about: bytes = b"") -> tuple[bytes, bytes]:
    start_ms = now_ms() // 3_600_000 * 3_600_000
    window = {"window_ms": 3_600_000, "window_start_ms": start_ms}
    identifier = f"{number:032x}"
    account = {"id": identifier, "workflow": "billing", "limit": "hourly", **window, "values": [about.decode()]}
    body = {"account": account, "partition": partition, "held": 0, "needed": 1, "at_ms": now_ms()}
    return demand_key(partition, identifier).encode(), orjson.dumps(body)


async def test_one_record_ends_no_role(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await apply(kafka.bootstrap, prefix, partitions=2)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "billing.yaml").write_text(POLICY)
    sent = await send(kafka.bootstrap, decisions(prefix + "decisions"))
    bad = {"reevaluations": b'{"not":"a request"}', "verdicts": b'{"not":"a verdict"}', "reviews": b'{"no":"review"}'}
    others = [
        Record(prefix + topic, b"acct-1", value if number != 20 else MISTAKE, 1)
        for topic, value in bad.items()
        for number in range(40)
    ]
    asked = [demand(1, number, MISTAKE if number == 20 else b"") for number in range(40)]
    await send(kafka.bootstrap, [*others, *(Record(prefix + "workers", key, value, 0) for key, value in asked)])
    with ExitStack() as stack:
        roles = {
            role: stack.enter_context(
                worker(kafka.bootstrap, prefix, tmp_path, role, module="tests.kafka.mistaken", role=role)
            )
            for role in ("gate", "reviews", "reevaluation", "exposure")
        }
        # the gate's answers, and those to what was no request
        exceptions, rejected, leases = await asyncio.gather(
            read(kafka.bootstrap, [prefix + "exceptions"], len(BAD) + 40),
            read(kafka.bootstrap, [prefix + "rejections"], 81),
            _leases(kafka.bootstrap, prefix, 39),
        )
        commands = await read(kafka.bootstrap, [prefix + "commands"], COUNT - len(BAD))
        for role, child in roles.items():
            assert await child.stop() == 0, f"{role}: {child.log}"
        verdict = await audited(kafka.bootstrap, prefix, f"{prefix}gate")
    _the_gate_has_answered_all(sent, [*commands, *exceptions])
    reasons = [one.json()["reason"] for one in [*exceptions, *rejected]]
    assert reasons.count("invalid.poison") == len(BAD) + 4
    assert len(leases) == 39
    assert (verdict["missing"], verdict["duplicates"], verdict["altered"]) == (0, 0, 0), verdict
    told = roles["gate"].log
    assert (told.count("poison "), told.count("is taken in pieces")) == (len(BAD), 1), told
    assert "with the whole record" not in told
    assert all(child.log.count("poison ") for child in roles.values())


def _the_gate_has_answered_all(sent: list[tuple[str, int, int]], answers: list[Record]) -> None:
    found = [one.json() for one in answers if one.json()["source"]["topic"] == sent[0][0]]
    by_offset = {body["source"]["offset"]: body for body in found}
    assert len(by_offset) == len(found) == COUNT
    offsets = [body["source"]["offset"] for body in found if "command_id" in body]
    assert offsets == sorted(offsets), "in their order"
    for number, (_, _, offset) in enumerate(sent):
        body = by_offset[offset]
        if number not in BAD:
            assert "command_id" in body, body
            continue
        name = "MessageSizeTooLargeError" if BAD[number] is LARGE else "ZeroDivisionError"
        assert (body["reason"], body["detail"].split()[0]) == ("invalid.poison", name)
        assert (body["decision"], body["raw"], body["source"].get("through")) == (None, None, None)


async def _leases(bootstrap: str, prefix: str, count: int) -> set[bytes]:
    found: set[bytes] = set()
    while len(found) < count:
        records = await read(bootstrap, [prefix + "workers"], 1)
        found |= {one.key for one in records if one.key is not None and one.key.startswith(b"lease/")}
        await asyncio.sleep(0.1)
    return found
