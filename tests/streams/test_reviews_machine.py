"""Every order of verdicts, time, policy changes, context changes, halts and crashes, against a plain model.

The model is a few lines of dictionaries that share no code with the machine: it says what each step must come to.
Beside it the promises are counted over all that went out: per review exactly one ending, per root at most one command,
and no command but with enough different people who could approve exactly its action, in time.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.identifiers import action_digest
from schemas.published import Current, Halt, Move, Scope
from streams.context import ContextView
from streams.halts import NO_HALTS, Halts
from streams.policy import Policy
from streams.signatures import sign
from tests.streams.making import NOW_MS, decision, encoded
from tests.streams.reviewing import EVALUATOR, Desk, gate, policy, records, verdict

QUORUM = 2
LIMITS = {"clerk": 2_000, "controller": 9_000}
ROLES = {
    "ana": ["clerk"],
    "bo": ["clerk", "controller"],
    "cy": ["controller"],
    "eve": [],
    "rating-service": ["controller"],
}
REVIEWS = 2
BUDGET_MS, TOTAL_MS = 600_000, 1_200_000
TERMS = {
    "quorum": QUORUM,
    "approvers": [{"role": role, "value_minor_at_most": most, "currency": "USD"} for role, most in LIMITS.items()],
}
BLOCKS_OVER = {3: None, 4: None, 5: 1_200}  # by version of the policy
POLICIES: dict[tuple[int, bool], Policy] = {
    (version, asks): policy(
        version,
        freshness={"context": "any"},
        review=TERMS,
        evaluator=EVALUATOR if asks else None,
        rules=[]
        if over is None
        else [{"name": "no", "then": "block", "when": {"value_minor": {"over": over, "currency": "USD"}}}],
    )
    for version, over in BLOCKS_OVER.items()
    for asks in (False, True)
}


class Model:
    """What must be, of one review."""

    def __init__(self, asks: bool) -> None:
        self.asks = asks
        self.digest = ""
        self.value, self.observed, self.context = 1_250, NOW_MS - 1_000, 1
        self.approvals: list[str] = []
        self.fresh = self.observed + BUDGET_MS
        self.final = self.observed + TOTAL_MS
        self.deadline = self.final if asks else self.fresh
        self.escalate = NOW_MS + (self.deadline - NOW_MS) // 2
        self.escalated = False
        self.ended: str | None = None

    def clock(self, now: int) -> list[str]:
        if self.ended is None and now >= self.deadline:
            return [self.end("review.expired")]
        if self.ended is None and now >= self.escalate and not self.escalated:
            self.escalated = True
            return ["reviews"]
        return []

    def end(self, how: str) -> str:
        self.ended = how
        return how

    def again(self, why: str, now: int) -> str:
        return self.end(f"again {why}" if self.asks and now < self.final else "review.outdated")

    def said(self, s: dict[str, Any], now: int, halted: bool, context: int, over: int | None) -> str:
        if self.ended is not None:
            return "verdict.ended"
        by, value = s["by"], self.value
        if by == "rating-service":
            return "verdict.proposer"
        if not self.may(by, value):
            return "verdict.role"
        if by in self.approvals:
            return "verdict.repeated"
        if s["digest"] != self.digest:
            return "verdict.digest"
        if s["word"] == "reject":
            return self.end("review.rejected")
        fresh = self.fresh
        if s["word"] == "modify":
            if s["observed"] is not None and not self.observed < s["observed"] <= now + 2_000:
                return "invalid.schema"
            if not self.may(by, s["value"]):
                return "verdict.role"
            if over is not None and s["value"] > over:
                return "verdict.boundary"
            if s["observed"] is not None:
                fresh = min(s["observed"] + BUDGET_MS, self.final)
            if fresh <= now:
                return "verdict.boundary"
        if halted:
            return "verdict.halted"
        if s["word"] == "modify":
            self.value, self.digest, self.fresh, self.approvals = s["value"], s["new"], fresh, []
            self.observed = s["observed"] or self.observed
        self.approvals.append(by)
        if len(self.approvals) < QUORUM:
            return "reviews"
        if self.fresh <= now:
            return self.again("stale.age", now)
        if self.fresh - 500 <= now:
            return self.again("stale.unactionable", now)
        if context != self.context:
            return self.again("stale.context", now)
        if over is not None and self.value > over:
            return self.again("boundary.blocked", now)
        return self.end("commands")

    @staticmethod
    def may(by: str, value: int) -> bool:
        return any(value <= LIMITS[role] for role in ROLES[by])


class World:
    """The machine beside the model; what one says the other must say."""

    def __init__(self, asks: bool) -> None:
        self.asks, self.version, self.context, self.halted = asks, 3, 1, False
        self.moves = [Move(3, "keep", "ops", "first", 1)]
        self.desk = Desk(POLICIES[3, asks])
        self.view = ContextView()
        self.desk.contexts = self.view
        self.bump(to=1)
        self.desk.currents = self.currents()
        self.models = {number: Model(asks) for number in range(REVIEWS)}
        self.ids: dict[int, str] = {}
        self.out: list[dict[str, Any]] = []
        self.approved: dict[int, dict[str, set[str]]] = {number: {} for number in range(REVIEWS)}
        for number, model in self.models.items():
            made = decision(number, proposer="rating-service", entity="acct-17", context_version=1)
            value = orjson.loads(gate(made, policy(3, review=TERMS, evaluator=EVALUATOR if asks else None), number))
            self.ids[number], model.digest = value["review_id"], value["action_digest"]
            self.run([records("reviews", encoded(value), at=number)])

    def bump(self, to: int) -> None:
        self.context = to
        self.view.apply(b"acct-17", encoded({"entity": "acct-17", "version": to, "at_ms": 0, "state": {"v": to}}))

    def currents(self) -> dict[str, Current]:
        last, *before = self.moves
        return {
            "billing": Current(
                workflow="billing",
                version=last.version,
                pending=last.pending,
                by="ops",
                why="w",
                at_ms=last.at_ms,
                before=before,
            )
        }

    def run(self, batches: Any = (), lost: bool = False) -> list[str]:
        """One step of the machine. `lost`: it dies before its commit, and what it read comes again."""
        if lost:
            self.desk.reviews.decide(batches, self.desk.now_ms, self.desk.snapshot(), self.view)
            self.desk.crash()
        found = self.desk.step(*batches)
        self.out += found
        return sorted(
            f"again {one['reason']}"
            if one["output"] == "reevaluations"
            else one["output"]
            if one["output"] in ("commands", "reviews")
            else one["reason"]
            for one in found
        )

    def clock(self) -> list[str]:
        return [what for model in self.models.values() for what in model.clock(self.desk.now_ms)]

    def pend(self, pending: str) -> list[str]:
        if pending == "keep":
            return []
        return [
            model.again("review.invalidated", self.desk.now_ms)
            if pending == "reevaluate"
            else model.end("review.invalidated")
            for model in self.models.values()
            if model.ended is None
        ]


Step = tuple[str, Any]


def steps(rnd: random.Random) -> Iterator[Step]:
    """A life in which most verdicts fit, so that much of it is about what happens between two that do."""
    for _ in range(rnd.randrange(3, 25)):
        kind = rnd.choices(["verdict", "time", "policy", "context", "halt", "crash"], weights=[70, 8, 6, 4, 5, 7])[0]
        if kind == "verdict":
            yield kind, a_verdict(rnd)
        elif kind == "time":
            yield kind, rnd.choice([1, 1, 60_000, 299_500, 598_499, 598_500, 599_000, 600_000])
        elif kind == "policy":
            yield kind, (rnd.choice([3, 4, 5]), rnd.choice(["keep"] * 4 + ["invalidate", "reevaluate"]))
        else:
            yield kind, None


def a_verdict(rnd: random.Random) -> dict[str, Any]:
    return {
        "of": rnd.randrange(REVIEWS),
        "word": rnd.choices(["approve", "modify", "reject"], weights=[75, 20, 5])[0],
        "by": rnd.choices(["ana", "bo", "cy", "eve", "rating-service"], weights=[25, 30, 30, 5, 10])[0],
        "fits": rnd.random() < 0.9,
        "signed": rnd.random() < 0.95,
        "value": rnd.choice([900, 1_600, 2_500]),
        "amount": rnd.randrange(1, 4),
        "since_ms": rnd.choice([None, None, 0, 5_000, 700_000]),
        "lost": rnd.random() < 0.3,
    }


def take(world: World, kind: str, what: Any) -> None:
    """One step of both."""
    desk = world.desk
    if kind == "time":
        desk.now_ms += what
        wanted = world.clock()
        assert world.run() == sorted(wanted)
    elif kind == "policy":
        version, pending = what
        world.version = version
        desk.policy = POLICIES[version, world.asks]
        world.moves.insert(0, Move(version, pending, "ops", "because", max(desk.now_ms, world.moves[0].at_ms) + 1))
        desk.currents = world.currents()
        wanted = world.pend(pending)
        assert world.run() == sorted(wanted)
    elif kind == "context":
        world.bump(world.context + 1)
    elif kind == "halt":
        world.halted = not world.halted
        halt = Halts({Scope(workflow="billing"): Halt(True, "fire", "ops", 0)})
        desk.halts = halt if world.halted else NO_HALTS
    elif kind == "crash":
        desk.crash()
        assert world.run() == []
    else:
        say(world, what)


def say(world: World, what: dict[str, Any]) -> None:
    desk, model = world.desk, world.models[what["of"]]
    action = {"type": "invoice.post", "amount": what["amount"]}
    observed = None if what["since_ms"] is None else desk.now_ms - what["since_ms"]
    more = {}
    if what["word"] == "modify":
        more = {"action": action, "value_minor": what["value"]}
        if observed is not None:
            more["observed_at_ms"] = observed
    digest = model.digest if what["fits"] else "sha256:other"
    value = verdict(world.ids[what["of"]], what["word"], what["by"], digest, **more)
    signature = None if what["signed"] else sign("desk-1", b"another secret, as long", value)
    new = action_digest(encoded(action))
    if what["signed"]:
        said = {**what, "digest": digest, "observed": observed, "new": new}
        wanted = model.said(said, desk.now_ms, world.halted, world.context, BLOCKS_OVER[world.version])
    else:
        wanted = "verdict.unsigned"
    desk.at += 1
    assert world.run([records("verdicts", value, at=desk.at, signature=signature)], what["lost"]) == [wanted]
    if what["signed"] and what["word"] != "reject":
        about = new if what["word"] == "modify" else digest
        world.approved[what["of"]].setdefault(about, set()).add(what["by"])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.booleans(), st.integers(0, 2**32))
def test_the_machine_does_what_the_model_says_and_keeps_its_promises(asks: bool, seed: int) -> None:
    world = World(asks)
    for kind, what in steps(random.Random(seed)):
        take(world, kind, what)
    take(world, "crash", None)
    take(world, "time", 2 * TOTAL_MS)
    of = {identifier: number for number, identifier in world.ids.items()}
    by_source = dict.fromkeys(of.values(), 0)
    for one in world.out:
        if one["output"] in ("commands", "exceptions", "reevaluations"):
            by_source[one["source"]["offset"]] += 1
    assert by_source == dict.fromkeys(by_source, 1)
    commands = [one for one in world.out if one["output"] == "commands"]
    assert max(Counter(one["command_id"] for one in commands).values(), default=0) <= 1
    for one in commands:
        assert one["gated_at_ms"] < one["deadline_ms"]
        people = world.approved[of[one["review_id"]]].get(action_digest(encoded(one["action"])), set())
        able = {by for by in people - {"rating-service"} if Model.may(by, one["value_minor"])}
        assert len(able) >= QUORUM
    assert not [slot for slot in world.desk.changelog if not slot.startswith("ended/")]
