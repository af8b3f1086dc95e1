"""The messages of the AsyncAPI document: what others send to Sluicegate and read from it, topic by topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas import headers
from schemas.verdict import SIGNATURE_HEADER

OUTPUT = "Read it with `isolation.level=read_committed`."


@dataclass(frozen=True, slots=True)
class Message:
    """A topic and one family of its records. `action` is what Sluicegate does with it; `about` is for the other side.

    `id_field` correlates it with the records that answer it or led to it; None where its key says what it is about.
    """

    kind: str  # of the topic
    family: str
    action: Literal["send", "receive"]
    summary: str
    about: str
    id_field: str | None
    key: str = "The entity, UTF-8."


MESSAGES = (
    Message(
        "decisions",
        "decision",
        "receive",
        "An action proposed for an entity",
        "Producers write it. CloudEvents 1.0 in the structured or the binary mode is accepted as well as plain JSON.",
        "id",
    ),
    Message(
        "successors",
        "successor",
        "receive",
        "A decision made again",
        "Only Sluicegate writes it: the next attempt of a decision that was re-evaluated, redriven or edited.",
        "root_id",
    ),
    Message(
        "commands",
        "command",
        "send",
        "What an executor may act on",
        f"{OUTPUT} Start the action only while your clock reads less than `deadline_ms`, once per `command_id`.",
        "command_id",
    ),
    Message("reviews", "review", "send", "A question to a person", OUTPUT, "review_id"),
    Message(
        "exceptions",
        "exception",
        "send",
        "An ending without an action",
        f"{OUTPUT} Dead letters, as data: the reason, the decision as it came, and how to find its record.",
        "exception_id",
    ),
    Message(
        "receipts",
        "receipt",
        "receive",
        "What became of a command",
        "Executors write it, with the key and to the partition number of the command.",
        "command_id",
    ),
    Message(
        "reevaluations",
        "reevaluation",
        "send",
        "A stale decision that is asked about again",
        f"{OUTPUT} Each has one answer, a successor or an exception, which names it in `caused_by`.",
        "request_id",
    ),
    Message(
        "context",
        "context",
        "receive",
        "The present state of an entity",
        "Systems of record write it, each change with a higher `version`; a null value removes the entity's.",
        "entity",
    ),
    Message(
        "rejections",
        "rejection",
        "send",
        "A record that was refused, or explains nothing",
        f"{OUTPUT} Nobody waits for an answer to it: for the owner of what wrote the record that `source` names.",
        "rejection_id",
    ),
    Message(
        "verdicts",
        "verdict",
        "receive",
        "What a person says to a review",
        "Desks write it, signed, to the partition number in the `review_id`; one that does not count goes to "
        "`rejections`.",
        "review_id",
        "The review's entity, UTF-8.",
    ),
    Message(
        "policies",
        "halt",
        "send",
        "What is stopped by hand",
        f"{OUTPUT} Executors read it from its beginning to its end before they start their first action, and follow "
        "it: nothing that a halt is about is started while it says `halted`; of several one is enough. Keys of other "
        "kinds are not for them.",
        None,
        "`halt/<workflow>/<segment>/<model>/<action type>`: each part percent-encoded, or `*` for all; `%` is the "
        "empty text. An action that is an array has the types of all its elements.",
    ),
    Message(
        "policies",
        "recall",
        "send",
        "One command that must not be started any more",
        "A recalled command is refused.",
        None,
        "`recall/<command_id>`, the id percent-encoded.",
    ),
    Message(
        "workers",
        "heartbeat",
        "receive",
        "What an executor follows",
        "Executors that follow halts may say so here, every few seconds and after each change: it is how a halt is "
        "acknowledged.",
        "worker",
        "`worker`, one id for each process and each of its lives.",
    ),
)
# the same, by topic: all messages of one have its action
KINDS: dict[str, list[Message]] = {}
for _message in MESSAGES:
    KINDS.setdefault(_message.kind, []).append(_message)

SIGNATURE = headers.Header(
    SIGNATURE_HEADER, "`<key-id>:<hex>`, HMAC-SHA256 over the bytes of the value as sent; without it nothing counts"
)


def headers_of(message: Message) -> tuple[headers.Header, ...]:
    """The headers that are looked at by either side."""
    if message.kind == "verdicts":
        return (SIGNATURE,)
    if message.kind in ("policies", "workers"):
        return ()
    return headers.of_topic(message.kind) or headers.TRACE
