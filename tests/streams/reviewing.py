"""What the tests of reviews make: reviews as the gate sends them, signed verdicts, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from schemas.identifiers import action_digest
from schemas.policy import PolicyDocument
from schemas.published import Current
from schemas.verdict import SIGNATURE_HEADER
from streams.batch import Fetched, Input
from streams.context import NO_CONTEXT, Contexts
from streams.halts import NO_HALTS, Granted, Halts
from streams.path import Snapshot
from streams.policy import Policy, compile_policy
from streams.review_keys import Key, Keys
from streams.review_later import Commanded
from streams.reviews import Reviews, Turn
from streams.signatures import sign
from tests.streams.making import NOW_MS, decided, decision, encoded, fetched

SECRET = b"a secret of the desk's own"
KEYS = Keys(
    {
        "desk-1": Key(
            SECRET,
            {
                "ana": frozenset({"clerk"}),
                "bo": frozenset({"clerk", "controller"}),
                "cy": frozenset({"controller"}),
                "eve": frozenset(),
                "rating-service": frozenset({"controller"}),
            },
        )
    }
)
ACTION = {"type": "invoice.post", "amount": 12.5}
DIGEST = action_digest(orjson.dumps(ACTION).replace(b":", b": ").replace(b",", b", "))
RULES = [{"name": "ask", "then": "escalate"}]


def policy(version: int = 3, index: int = 0, **parts: Any) -> Policy:
    """One that sends everything to review; `review`, `freshness`, `rules` and `evaluator` may be given."""
    whole = {
        "workflow": "billing",
        "version": version,
        "freshness": {"budget": "10m", "total": "20m", **parts.get("freshness", {})},
        "boundary": {"rules": [*parts.get("rules", ()), *RULES]},
        "evaluator": parts.get("evaluator"),
        "review": parts.get("review", {}),
    }
    made, problems = compile_policy(msgspec.convert(whole, PolicyDocument), index)
    assert made is not None, problems
    return made


EVALUATOR = {"url": "http://127.0.0.1:1/", "action_types": ["invoice.post", "credit.post"]}
PLAIN = policy()
ASKING = policy(evaluator=EVALUATOR)


def gate(made: dict[str, Any], under: Policy, offset: int = 0, now_ms: int = NOW_MS) -> bytes:
    """The review that the gate sends."""
    batch = fetched([made], first_offset=offset, broker_ms=now_ms - 20, read_ms=now_ms - 5)
    (sent,) = decided(batch, [under], now_ms=now_ms).records
    assert sent.output == "reviews", orjson.loads(sent.value)
    return sent.value


def records(source: Input, *values: bytes, at: int = 0, signature: bytes | None = None, **about: Any) -> Fetched:
    """A batch of `reviews` or `verdicts`, which are signed by `desk-1`."""
    headers = [
        ((SIGNATURE_HEADER, signature or sign("desk-1", SECRET, value)),) if source == "verdicts" else ()
        for value in values
    ]
    return Fetched(
        topic=f"t.{source}",
        input=source,
        partition=2,
        offsets=list(range(at, at + len(values))),
        timestamps_ms=[about.get("broker_ms", NOW_MS)] * len(values),
        keys=[about.get("key", b"acct-17")] * len(values),
        values=list(values),
        broker_time=True,
        read_ms=NOW_MS,
        headers=list(headers),
    )


def verdict(review_id: str, word: str = "approve", by: str = "ana", digest: str = DIGEST, **more: Any) -> bytes:
    fields = {"review_id": review_id, "verdict": word, "action_digest": digest, "by": by, "at_ms": NOW_MS, **more}
    return encoded({name: value for name, value in fields.items() if value is not ...})


class Desk:
    """One partition's reviews, and the world around them."""

    def __init__(self, under: Policy = PLAIN, keys: Keys = KEYS) -> None:
        self.reviews = Reviews(2, keys)
        self.policy = under
        self.keys = keys
        self.now_ms = NOW_MS
        self.halts: Halts = NO_HALTS
        self.currents: dict[str, Current] = {}
        self.granted: Sequence[Granted] = ()
        self.contexts: Contexts = NO_CONTEXT
        self.commanded = Commanded(frozenset({under.workflow}))
        self.changelog: dict[str, bytes] = {}
        self.at = 0

    def snapshot(self) -> Snapshot:
        return Snapshot([self.policy], self.halts, self.currents, self.granted)

    def step(self, *batches: Fetched) -> list[dict[str, Any]]:
        """What goes out, with its topic as `output`; the changelog is kept as a broker would."""
        turn: Turn = self.reviews.decide(batches, self.now_ms, self.snapshot(), self.contexts, self.commanded)
        for slot, value in turn.changelog.items():
            if value is None:
                self.changelog.pop(slot, None)
            else:
                self.changelog[slot] = value
        return [{"output": one.output, **orjson.loads(one.value)} for one in turn.records]

    def opens(self, number: int = 1, now_ms: int | None = None, **fields: Any) -> str:
        """A review is opened; its id."""
        value = gate(decision(number, **fields), self.policy, number, now_ms or self.now_ms)
        self.at += 1
        self.step(records("reviews", value, at=self.at))
        identifier: str = orjson.loads(value)["review_id"]
        return identifier

    def says(self, *values: bytes, **about: Any) -> list[dict[str, Any]]:
        """Verdicts come, in one batch."""
        self.at += len(values)
        return self.step(records("verdicts", *values, at=self.at, **about))

    def crash(self) -> None:
        """Only what was committed is left."""
        self.reviews = Reviews(2, self.keys)
        self.reviews.restore(self.changelog, self.now_ms)


def told(found: Sequence[dict[str, Any]]) -> list[str]:
    """`commands`, `reviews`, or the reason of what else went out."""
    return [one["output"] if one["output"] in ("commands", "reviews") else one["reason"] for one in found]


def observed(number: int, observed_at_ms: int) -> dict[str, Any]:
    return decision(number, observed_at_ms=observed_at_ms)
