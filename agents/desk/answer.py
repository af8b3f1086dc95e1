"""Answering a review: a signed verdict onto the topic, and what the reviews agent makes of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from agents.cli.client import started
from agents.desk.follow import Follower
from agents.desk.keys import Key
from schemas.common import VALUE_BYTES_MAX
from schemas.review import Review
from schemas.verdict import SIGNATURE_HEADER, Verdict
from streams.encoding import readable
from streams.errors import BrokerUnreachable, CheckFailed, ConfigurationError
from streams.foreign import Unreadable, json_of, own
from streams.runtime.store.reviews import ReviewStore
from streams.runtime.store.standing import ENDED, REJECTED, WAITING
from streams.signatures import sign

LOOK_S = 0.2  # between two looks at the topics while somebody waits
SEND_S = 15.0
Row = dict[str, Any]

review_of = own(Review)


@dataclass(frozen=True)
class Answered:
    """What became of a verdict. `accepted` is None while nobody has said."""

    accepted: bool | None
    line: str


def named(store: ReviewStore, beginning: str) -> Row:
    """The one review whose id begins so. Raises CheckFailed where there is none, or more than one."""
    found = store.named(beginning) if beginning else []
    if not found:
        raise CheckFailed(
            f"no review {beginning!r} is known: it may be older than `reviews` keeps, or under another --prefix; "
            "`sluicegate reviews list --all` shows those there are"
        )
    if len(found) > 1:
        some = ", ".join(row["review_id"] for row in found[:2])
        raise CheckFailed(f"{beginning!r} begins more than one id ({some}, ...): give more of it")
    return found[0]


def answerable(row: Row, digest: str | None) -> Review:
    """The review that is answered, as it stands. Raises CheckFailed if it has ended or is not what was looked at."""
    if row["state"] == ENDED:
        by = f" by {row['ended_by']}" if row["ended_by"] else ""
        raise CheckFailed(f"the review {row['review_id']} has ended{by}: {row['ended_how']}")
    if digest is not None and not (len(digest) >= 15 and row["action_digest"].startswith(digest)):
        raise CheckFailed(
            f"the action under review has the digest {row['action_digest']}, not {digest}: it was modified since; look "
            f"at it again with `sluicegate reviews show {row['review_id']}`"
        )
    return review_of(row["text"])


def action_of(text: bytes, where: str) -> msgspec.Raw:
    """The bytes of a new action. Raises ConfigurationError where they are no JSON."""
    action = text.strip()
    read = json_of(action)
    if isinstance(read, Unreadable):
        raise ConfigurationError(f"{where} is not JSON ({read.why}): it holds the new action and nothing else")
    if len(action) > VALUE_BYTES_MAX:
        raise ConfigurationError(f"{where} has {len(action)} bytes; an action has at most {VALUE_BYTES_MAX}")
    return msgspec.Raw(action)


async def say(bootstrap: str, prefix: str, review: Review, verdict: Verdict, key: Key) -> tuple[int, int]:
    """Writes the signed verdict; returns its partition and offset. Raises BrokerUnreachable."""
    value = readable(verdict)
    number = int(verdict.review_id.split("-")[1])
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    async with started(producer, bootstrap):
        try:
            sent = await asyncio.wait_for(
                producer.send_and_wait(
                    f"{prefix}verdicts",
                    value,
                    key=review.entity.encode(),
                    partition=number,
                    headers=[(SIGNATURE_HEADER, sign(key.id, key.secret, value))],
                ),
                SEND_S,
            )
        except (KafkaError, TimeoutError, OSError, AssertionError) as error:
            raise BrokerUnreachable(
                f"the verdict could not be written to {prefix}verdicts at {bootstrap} ({type(error).__name__}); look "
                "whether it is there with `sluicegate reviews show` before you say it again"
            ) from error
    return sent.partition, sent.offset


async def heard(follower: Follower, place: tuple[int, int], verdict: Verdict, wait_s: float) -> Answered:
    """What is made of the verdict at this place, waited for at most `wait_s` seconds."""
    until_s = time.monotonic() + wait_s
    while True:
        await follower.catch_up()
        said = follower.store.verdict(*place)
        rows = follower.store.named(verdict.review_id)
        if said is not None and rows:
            if said["result"] != WAITING:
                return told(said, rows[0])
            if rows[0]["kind"] == "audit_sample":
                return Answered(True, "recorded: this was a sample, nothing waits for the answer")
        if time.monotonic() > until_s:
            return Answered(
                None,
                f"the verdict stands on verdicts/{place[0]} at offset {place[1]} and nobody answered it in {wait_s:g} "
                "s: does `sluicegate worker` run with the role reviews? `sluicegate reviews show` tells later",
            )
        await asyncio.sleep(LOOK_S)


def told(said: Row, row: Row) -> Answered:
    """One line about a verdict that was answered. An approval that led to nothing that may be done is not accepted."""
    if said["result"] == REJECTED:
        detail = f": {said['detail']}" if said["detail"] else ""
        return Answered(False, f"the verdict was refused, {said['reason']}{detail}")
    how, detail = row["ended_how"], f": {row['ended_detail']}" if row["ended_detail"] else ""
    if row["state"] != ENDED:
        return Answered(True, f"accepted: {row['approvals']} of {row['quorum']} have approved, the review goes on")
    if how == "approved":
        return Answered(True, f"accepted: it is the command {row['ended_id']}")
    if how == "reevaluated":
        return Answered(True, f"accepted, and asked about again before it may run{detail}")
    if how == "review.rejected" and said["verdict"] == "reject":
        return Answered(True, f"accepted: it ended as the exception {row['ended_id']}, {how}")
    return Answered(said["verdict"] == "reject", f"the review ended as the exception {row['ended_id']}, {how}{detail}")
