"""What an executor reads and answers: commands and receipts, as CONTRACT's JSON. Fields to come are ignored."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from sluicegate_kit.decoding import decoded

TIME_MS_MAX = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
DETAIL_CHARS_MAX = 1000  # a sentence for a person, not a log
# ids are `c-` and hex; anything a database column or a log line cannot hold is not acted on
_COMMAND_ID = re.compile(r"[!-~]{1,200}")

Id = Annotated[str, Meta(min_length=1, max_length=200)]
TimeMs = Annotated[int, Meta(ge=0, le=TIME_MS_MAX)]
Status = Literal["executed", "refused", "expired", "failed", "unknown"]


class Command(Struct, frozen=True, kw_only=True):
    """What may be started while your own clock reads less than `deadline_ms` (epoch milliseconds), once.

    `action` is what the producer proposed. Money is in the currency's minor unit.
    """

    command_id: str
    workflow: Id
    entity: Id
    action_json: Raw = msgspec.field(name="action")
    gated_at_ms: TimeMs
    deadline_ms: TimeMs
    decision_id: str | None = None
    age_ms: int | None = None
    authority: str | None = None
    reason: str | None = None
    policy: str | None = None
    rule: str | None = None
    attempt: int | None = None
    value_minor: int | None = None
    currency: str | None = None
    model: str | None = None
    segment: str | None = None
    review_id: str | None = None

    @property
    def action(self) -> Any:
        """The action, decoded; `action_json` holds its bytes as the producer sent them."""
        return msgspec.json.decode(self.action_json)


class Receipt(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What became of a command. Times are epoch milliseconds; `started_at_ms` is absent where nothing was started."""

    command_id: str
    workflow: str
    entity: str
    gated_at_ms: int
    deadline_ms: int
    status: Status
    at_ms: int
    started_at_ms: int | None = None
    executor: str | None = None
    detail: str | None = None


_commands = msgspec.json.Decoder(Command)
_receipts = msgspec.json.Decoder(Receipt)
_anything = msgspec.json.Decoder(Any)


def read_command(value: bytes | None) -> Command:
    """The command in a record's value. Raises ValueError with the reason why it is none."""
    if not value:
        raise ValueError("the value is empty")
    command = decoded(_commands, value)
    decoded(_anything, bytes(command.action_json))
    if not _COMMAND_ID.fullmatch(command.command_id):
        raise ValueError("command_id: 1 to 200 printable characters without spaces are expected")
    return command


def read_receipt(value: bytes) -> Receipt:
    """The receipt in a record's value. Raises ValueError where it is none."""
    return decoded(_receipts, value)


def receipt_of(
    command: Command, status: Status, *, executor: str, at_ms: int, started_at_ms: int | None, detail: str | None
) -> bytes:
    """The value of the record to send. `detail` is cut to a sentence's length."""
    if detail is not None:
        # what an exception says may hold anything, halves of characters too
        detail = detail[:DETAIL_CHARS_MAX].encode("utf-8", "replace").decode()
    return msgspec.json.encode(
        Receipt(
            command_id=command.command_id,
            workflow=command.workflow,
            entity=command.entity,
            gated_at_ms=command.gated_at_ms,
            deadline_ms=command.deadline_ms,
            status=status,
            at_ms=at_ms,
            started_at_ms=started_at_ms,
            executor=executor,
            detail=detail,
        )
    )
