"""Staleness by change on the running gate: what a decision rests on is held against the present context."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import WAIT_S, Record, decision, dispositions, read, record, send, worker, write_policies

POLICY = """\
workflow: billing
version: 4
freshness: {budget: 10m, context: [rate_card]}
boundary:
  rules:
    - {name: small, then: autonomous, limits: {value_minor_at_most: 5000, currency: USD}}
"""


def context(prefix: str, entity: str, version: int | None, **state: Any) -> Record:
    """Without a version: the entity is removed."""
    body = {"entity": entity, "version": version, "at_ms": 1, "state": state}
    return Record(prefix + "context", entity.encode(), None if version is None else json.dumps(body).encode())


class Asking:
    """Sends decisions and waits for what became of each: (output, record)."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap, self._prefix, self._sent = bootstrap, prefix, 0

    async def about(self, entity: str, version: int | None) -> tuple[str, Any]:
        more = {} if version is None else {"context_version": version}
        self._sent += 1
        asked = record(self._prefix + "decisions", decision(f"d-{self._sent}", entity, **more))
        place = (await send(self._bootstrap, [asked]))[0]
        return (await dispositions(self._bootstrap, self._prefix, self._sent))[place]

    async def until(self, entity: str, version: int, output: str) -> Any:
        """Asks until the answer is of this kind: what was written to `context` is seen a moment later."""
        deadline = time.monotonic() + WAIT_S
        while True:
            found, body = await self.about(entity, version)
            if found == output:
                return body
            assert time.monotonic() < deadline, (found, body)


def told(answer: tuple[str, Any]) -> tuple[str, Any, Any]:
    """Output, reason, and the version of the context that was present."""
    output, body = answer
    return output, body.get("reason"), body.get("context_version_seen")


@pytest.mark.timeout(240)
async def test_what_rests_on_a_context_that_has_changed_is_stale_also_after_a_kill(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    bootstrap = kafka.bootstrap
    await apply(bootstrap, prefix, partitions=2)
    write_policies(tmp_path / "policies", POLICY)
    await send(bootstrap, [context(prefix, f"acct-{n}", 41, rate_card="2019-01", seen=1) for n in range(4)])
    await send(bootstrap, [context(prefix, "acct-1", 42, rate_card="2019-01", seen=2)])
    await send(bootstrap, [context(prefix, "acct-2", 42, rate_card="2019-02", seen=1), context(prefix, "acct-3", None)])
    asking = Asking(bootstrap, prefix)

    async def judged() -> None:
        assert told(await asking.about("acct-0", 41)) == ("commands", "within_bounds", 41)
        assert told(await asking.about("acct-1", 41)) == ("commands", "within_bounds", 42)
        changed = await asking.about("acct-2", 41)
        assert told(changed)[:2] == ("exceptions", "stale.context")
        assert changed[1]["detail"] == (
            "it rests on version 41 of its context; in version 42 one of rate_card has changed"
        )
        assert told(await asking.about("acct-2", 42)) == ("commands", "within_bounds", 42)
        assert told(await asking.about("acct-3", 41))[:2] == ("exceptions", "stale.context")
        assert told(await asking.about("acct-unheard-of", 41))[:2] == ("exceptions", "stale.context")
        output, review = await asking.about("acct-0", None)
        assert (output, review["reasons"]) == ("reviews", ["field_missing"])

    with worker(bootstrap, prefix, tmp_path) as first:
        await first.said("partition ready", 2)
        await judged()
        first.process.kill()
        await first.ended()
    with worker(bootstrap, prefix, tmp_path, "second") as second:
        await second.said("partition ready", 2)
        await judged()

        await send(bootstrap, [context(prefix, "acct-0", 50, rate_card="2019-02")])
        stale = await asking.until("acct-0", 41, "exceptions")
        assert (stale["reason"], stale["stage"]) == ("stale.context", "freshness")

        falling = context(prefix, "acct-0", 49, rate_card="2019-01")
        place = (await send(bootstrap, [falling, context(prefix, "acct-0", 51, rate_card="2019-03")]))[0]
        await asking.until("acct-0", 50, "exceptions")
        rejected = (await read(bootstrap, [prefix + "rejections"], 1))[0]
        assert rejected.json()["reason"] == "version.falling"
        assert rejected.json()["detail"] == "version 49 of the context of acct-0 comes after version 50"
        assert tuple(rejected.json()["source"].values()) == place
        assert (rejected.key, rejected.partition) == (b"acct-0", place[1])

        await send(bootstrap, [context(prefix, "acct-1", None)])
        gone = await asking.until("acct-1", 42, "exceptions")
        assert gone["detail"] == "there is no context of this entity"
        assert await second.stop() == 0, second.log
