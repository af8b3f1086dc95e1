"""Tries your function on one command, without Kafka: the executor's own rules, a clock that stands, halts you name."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from sluicegate_kit.acting import Act, Acting
from sluicegate_kit.errors import KitError
from sluicegate_kit.halts import Halt, Halts, Recall, Scope
from sluicegate_kit.handling import Handling, MayAct, Means
from sluicegate_kit.journal import Journal, Keeping
from sluicegate_kit.records import Receipt, read_command, read_receipt
from sluicegate_kit.store import open_store
from sluicegate_kit.turns import Turns

NOW_MS = 1_764_000_000_000
LIMIT_MS = 60_000
_DEFAULTS = {"command_id": "c-1", "entity": "e-1", "action": {}, "gated_at_ms": NOW_MS, "deadline_ms": NOW_MS + 60_000}


def act_on(
    act: Act,
    command: Mapping[str, Any],
    *,
    halts: Iterable[Mapping[str, str]] = (),
    recalled: str | None = None,
    may_act: MayAct = lambda _: None,
    at_ms: int = NOW_MS,
) -> Receipt:
    """The receipt that an executor with this function would send; it is called, unless something stops it.

    `command` holds what matters, as in CONTRACT; what is not given is filled in (the deadline is a minute from
    `at_ms`, epoch milliseconds). Each halt names what it is about, of `workflow`, `segment`, `model` and `action_type`,
    and none of them means everything; `recalled` is why this command was recalled. Raises KitError for a command or a
    halt that could not be.
    """
    try:
        fields = {**_DEFAULTS, "deadline_ms": at_ms + 60_000, **command}
        known = read_command(msgspec.json.encode(fields))
    except Exception as error:  # also for what cannot be JSON at all
        raise KitError(f"this is no command: {error}"[:300]) from error
    follows = Halts()
    for scope in halts:
        try:
            key = Scope(**scope).key
        except (TypeError, ValueError) as error:
            raise KitError(f"a halt is about {', '.join(Scope._fields)}, got {dict(scope)}") from error
        follows.take(key.encode(), msgspec.json.encode(Halt(True, "it is tried", "a test", at_ms)))
    if recalled is not None:
        value = msgspec.json.encode(Recall(recalled, "a test", at_ms))
        follows.take(f"recall/{quote(known.command_id, safe='')}".encode(), value)

    def clock() -> int:
        return at_ms

    async def settled(store: str) -> bytes:
        journal = Journal(open_store(store), "try", Keeping(LIMIT_MS, LIMIT_MS, LIMIT_MS))
        await journal.open()
        acting = Acting(act, clock, 0, follows.over)
        try:
            handling = Handling(
                Means(
                    journal, acting, Turns(1), follows.over, may_act, clock, "try", time_limit_ms=LIMIT_MS, margin_ms=0
                )
            )
            return await handling.settle(known, lambda _: None)
        finally:
            acting.close()
            await journal.close()

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:  # also from within a running loop
        store = f"sqlite:///{Path(folder) / 'acted.db'}"
        return read_receipt(pool.submit(lambda: asyncio.run(settled(store))).result())
