"""Receipt: what an executor says became of a command."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.common import TimeMs


class Receipt(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """The answer to one command: its key and its partition number. It may arrive more than once, always the same.

    `status`: `executed`; `refused` (the executor's own rule, or a halt); `expired` (it came too late and was not acted
    on); `failed`; `unknown` (the executor crashed or ran out of time between intent and result: for a person).
    `started_at_ms` is when the action was started by the executor's own clock, absent where it never was; `at_ms` is
    when the result was known. `workflow`, `entity`, `gated_at_ms` and `deadline_ms` are the command's.
    """

    command_id: str
    workflow: str
    entity: str
    gated_at_ms: TimeMs
    deadline_ms: TimeMs
    status: Literal["executed", "refused", "expired", "failed", "unknown"]
    at_ms: TimeMs
    started_at_ms: TimeMs | None = None
    executor: str | None = None
    detail: str | None = None
