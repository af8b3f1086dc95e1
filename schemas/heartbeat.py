"""Heartbeat: what each process says of itself on the topic `workers`, every few seconds and after each change.

Key = `worker`, one id for each process and each of its lives.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.common import Id, TimeMs


class Heartbeat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`policies_offset`: all records of `policies` before it are in force here, the acknowledgement of each of them.

    `policies`: the version in force by workflow. `troubles`: what could not be read and is not in force, in words.
    `every_ms`: how often it says so; one that was silent for three times as long is not alive. `ended`: its last word.
    `group`: the consumer group that it works in, where it is a worker.
    """

    worker: Id
    role: Id
    at_ms: TimeMs
    every_ms: Annotated[int, Meta(ge=1)]
    policies_offset: Annotated[int, Meta(ge=0)]
    policies: dict[str, int] = {}
    troubles: list[str] = []
    ended: bool = False
    group: str | None = None
