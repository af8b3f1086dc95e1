"""Recorded traffic made by hand: decisions through the path at readings of a told clock, their outputs taken down."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from agents.budget.recording import Input, Recording
from streams.batch import Fetched
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.policy import Policy

TOPIC = "t.decisions"


class Arrival(NamedTuple):
    """One decision and the reading of the clock that decides it."""

    body: dict[str, Any]
    gated_at_ms: int


def recording_of(arrivals: Sequence[Arrival], policy: Policy) -> Recording:
    """What the topics would hold of a gate that decided these, one partition, in this order."""
    found = Recording(policy.workflow, 0, 2**50)
    for offset, (one, value, output) in enumerate(through(arrivals, policy)):
        found.add_answer(output, value)
        key, text = one.body["entity"].encode(), orjson.dumps(one.body)
        found.inputs.append(Input((TOPIC, 0, offset), one.gated_at_ms, True, key, text, ()))
    return found


def through(arrivals: Sequence[Arrival], policy: Policy) -> list[tuple[Arrival, bytes, str]]:
    """Each with the record that `decide()` sends for it, and where to."""
    memory, policies, found, offset = Memory(), Snapshot([policy]), list[tuple[Arrival, bytes, str]](), 0
    for now_ms, group in groupby(arrivals, key=lambda one: one.gated_at_ms):
        batch = list(group)
        fetched = Fetched(
            topic=TOPIC,
            input="decisions",
            partition=0,
            offsets=list(range(offset, offset + len(batch))),
            timestamps_ms=[now_ms] * len(batch),
            keys=[one.body["entity"].encode() for one in batch],
            values=[orjson.dumps(one.body) for one in batch],
            broker_time=True,
            read_ms=now_ms,
        )
        offset += len(batch)
        decided = decide([fetched], now_ms, policies, memory)
        memory.commit(decided.remembered, now_ms)
        found += [(one, sent.value, sent.output) for one, sent in zip(batch, decided.records, strict=True)]
    return found
