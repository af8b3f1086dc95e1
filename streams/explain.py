"""Why a decision would go where: every rule in the order in which it is tried, and what each condition saw.

The outcome is that of `streams.path.decide` itself, on an empty memory, so the explanation cannot disagree with the
gate; the rules are evaluated by the boundary's own code, one at a time. A rule after the one that decided is shown too,
as not asked: what its conditions would say is said all the same, but its expression is not evaluated.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np

from schemas.decision import Decision, Successor
from schemas.policy import Rule
from streams.batch import Fetched, Refused
from streams.boundary import unknown
from streams.chains import Subject, is_chain, steps_of
from streams.columns import Columns
from streams.conditions import FALSE, HOLDS, beyond
from streams.foreign import own_json
from streams.halts import NO_HALTS, Halts
from streams.ingest import read
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.policy import Policy
from streams.rules import Ready, evaluate

Result = Literal["holds", "false", "unknown", "error", "not asked"]
_ROW = np.zeros(1, dtype=np.intp)


class Seen(msgspec.Struct, frozen=True):
    """One condition: the field, what stood there (None: nothing that can be compared), what was asked, the result."""

    field: str
    value: Any
    condition: dict[str, Any]
    result: Result
    why: list[str]  # of `unknown`


class Tried(msgspec.Struct, frozen=True):
    """One rule. `beyond`: which of its limits are broken, where it holds. `decided`: it is the one on the output."""

    rule: str
    then: str
    shadow: bool
    result: Result
    seen: list[Seen]
    cel: str | None
    beyond: list[str]
    decided: bool


class Outcome(msgspec.Struct, frozen=True):
    """What goes out: the topic's name without prefix, the reasons, the deciding rule, and the record itself."""

    output: str
    reasons: list[str]
    rule: str | None
    detail: str | None
    record: dict[str, Any]


class Explanation(msgspec.Struct, frozen=True):
    """All of it. `steps` has one list of rules for each thing judged: several for a chain. Times in milliseconds."""

    policy: str
    now_ms: int
    age_ms: int | None
    budget_ms: int | None
    deadline_ms: int | None
    freshness: str
    context_version_seen: int | None
    steps: list[list[Tried]]
    outcome: Outcome


class _OneContext:
    """The context as it is told: this version is present, and a later one than a decision's is a change."""

    def __init__(self, version: int | None) -> None:
        self._version = version

    def version(self, entity: str) -> int | None:
        return self._version

    def changed(self, entity: str, since: int, fields: frozenset[str]) -> bool:
        return True


def explain(
    value: bytes,
    policy: Policy,
    now_ms: int,
    context_version: int | None = None,
    halts: Halts = NO_HALTS,
    allowance_ms: int | None = None,
) -> Explanation:
    """Explains what would become of the decision (or successor) in `value` at `now_ms`, were it the first to come.

    `context_version`: the one that is present, None: there is none. `allowance_ms`: what is kept back for the executor,
    None: the policy's first value. What a later record depends on, repeats, superseding and exposure, is empty.
    Raises nothing: what is no decision is explained as the exception that it becomes.
    """
    memory = Memory(contexts=_OneContext(context_version))
    if allowance_ms is not None:
        memory.allowances_ms = {policy.index: allowance_ms}
    found, fetched = _read(value, now_ms)
    decided = decide([fetched], now_ms, _alone(policy, halts), memory)
    (sent,) = decided.records
    record: dict[str, Any] = own_json(sent.value)
    reasons = record["reasons"] if sent.output == "reviews" else [record["reason"]]
    outcome = Outcome(sent.output, reasons, record.get("rule"), record.get("detail"), record)
    steps = [] if found is None else [_tried(one, policy, outcome) for one in _subjects(found)]
    return Explanation(
        policy=policy.name,
        now_ms=now_ms,
        age_ms=record.get("age_ms"),
        budget_ms=None if found is None else policy.freshness.of(found.segment).budget_ms,
        deadline_ms=record.get("fresh_until_ms", record.get("deadline_ms")),
        freshness=_freshness(record, reasons),
        context_version_seen=record.get("context_version_seen"),
        steps=steps,
        outcome=outcome,
    )


def _alone(policy: Policy, halts: Halts) -> Snapshot:
    # as many places as its index asks for; only its own workflow is looked up
    return Snapshot([policy] * (policy.index + 1), halts)


def _read(value: bytes, now_ms: int) -> tuple[Decision | Successor | None, Fetched]:
    found = read(value, "decisions")
    source: Literal["decisions", "successors"] = "decisions"
    if isinstance(found, Refused) and not isinstance(again := read(value, "successors"), Refused):
        found, source = again, "successors"
    one = None if isinstance(found, Refused) else found
    key = None if one is None else one.entity.encode()
    return one, Fetched(source, source, 0, [0], [now_ms], [key], [value], True, now_ms)


def _subjects(found: Decision | Successor) -> list[Subject]:
    steps = steps_of(found) if is_chain(found) else None
    return [found] if steps is None else [*steps]


def _freshness(record: dict[str, Any], reasons: list[str]) -> str:
    stale = [reason for reason in (*reasons, record.get("reason")) if str(reason).partition(".")[0] == "stale"]
    if stale:
        return str(record.get("detail") or stale[0])
    return "not looked at" if record.get("stage") == "ingest" or record.get("age_ms") is None else "fresh"


def _tried(subject: Subject, policy: Policy, outcome: Outcome) -> list[Tried]:
    columns = Columns([subject])
    books = {one.rule.name: one for book in (policy.block_book, policy.book, policy.shadows) for one in book.rules}
    reached = True  # of the rules that are no blocks: nothing has decided so far
    told = []
    for rule in policy.document.boundary.rules:
        ready = books[rule.name]
        asked = rule.then == "block" or rule.shadow or reached
        one = _rule(rule, ready, columns, asked, rule.name == outcome.rule)
        told.append(one)
        if rule.then != "block" and not rule.shadow and one.result in ("holds", "unknown", "error"):
            reached = False
    return told


def _rule(rule: Rule, ready: Ready, columns: Columns, asked: bool, decided: bool) -> Tried:
    seen = []
    for test, (name, condition) in zip(ready.tests, rule.when.items(), strict=True):
        code = test.one(columns, 0)
        value = columns.values(name)[0]
        wanted = {field: one for field, one in msgspec.to_builtins(condition).items() if one is not None}
        seen.append(Seen(name, value, wanted, _result(code), [] if code in (HOLDS, FALSE) else unknown(code)))
    code = int(evaluate(ready, columns, _ROW)[0]) if asked else FALSE
    limits = beyond(rule.limits, columns, _ROW).get(0, []) if rule.limits and asked and code == HOLDS else []
    result = _result(code) if asked else "not asked"
    return Tried(rule.name, rule.then, rule.shadow, result, seen, rule.cel, limits, decided and asked)


def _result(code: int) -> Result:
    if code == HOLDS:
        return "holds"
    if code == FALSE:
        return "false"
    return "error" if unknown(code) == ["policy_error"] else "unknown"
