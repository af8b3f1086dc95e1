"""A policy document made ready for the path: terms of freshness in milliseconds, conditions checked, rules in order.

`compile_policy` finds everything that is wrong with a document, each with its path, what was found and what was
expected; a policy that it passes cannot fail while it is evaluated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from schemas.policy import Condition, Limits, PolicyDocument, Rule, Scalar
from streams.exposure_terms import ExposureTerms, compile_exposure
from streams.terms import Asked, FreshnessTerms, Problem, compile_evaluator, compile_terms

NUMBERS = frozenset({"value_minor", "confidence"})
FLAGS = frozenset({"reversible"})
TEXTS = frozenset({"entity", "segment", "model", "proposer", "action_type"})
ATTRIBUTE = "attributes."
FIELDS = f"{', '.join(sorted(NUMBERS | FLAGS | TEXTS))} or {ATTRIBUTE}<name>"
_ORDER = ("at_least", "at_most", "over", "under")


@dataclass(frozen=True, slots=True)
class Policy:
    """One workflow's policy in force. `index` is its place in the snapshot's columns."""

    index: int
    workflow: str
    name: str  # on every output, `billing@3`
    freshness: FreshnessTerms
    rules: tuple[Rule, ...]  # all that are not `block`, in the document's order
    blocks: tuple[Rule, ...]
    evaluator: Asked | None
    document: PolicyDocument  # as it was written
    exposure: tuple[ExposureTerms, ...] = ()


def compile_policy(document: PolicyDocument, index: int) -> tuple[Policy | None, list[Problem]]:
    """The policy, or everything that is wrong with the document."""
    freshness, problems = compile_terms(document)
    evaluator, faults = compile_evaluator(document.evaluator)
    problems += faults
    seen: dict[str, int] = {}
    for at, rule in enumerate(document.boundary.rules):
        path = f"boundary.rules[{at}]"
        if rule.name in seen:
            problems.append(
                Problem(
                    f"{path}.name",
                    repr(rule.name),
                    f"a name of its own, not that of rules[{seen[rule.name]}]",
                )
            )
        seen.setdefault(rule.name, at)
        for field, condition in rule.when.items():
            problems += _condition(f"{path}.when.{field}", field, condition)
        problems += _limits(f"{path}.limits", rule)
    if problems:
        return None, problems
    policy = Policy(
        index=index,
        workflow=document.workflow,
        name=f"{document.workflow}@{document.version}",
        freshness=freshness,
        rules=tuple(rule for rule in document.boundary.rules if rule.then != "block"),
        blocks=tuple(rule for rule in document.boundary.rules if rule.then == "block"),
        evaluator=evaluator,
        document=document,
        exposure=compile_exposure(document),
    )
    return policy, []


def kind_of(field: str) -> Literal["number", "flag", "text", "attribute"] | None:
    """What a field of `when` holds, or None when no decision has it."""
    if field in NUMBERS:
        return "number"
    if field in FLAGS:
        return "flag"
    if field in TEXTS:
        return "text"
    if field.startswith(ATTRIBUTE) and len(field) > len(ATTRIBUTE):
        return "attribute"
    return None


def _condition(path: str, field: str, condition: Condition) -> list[Problem]:
    kind = kind_of(field)
    if kind is None:
        return [Problem(path, repr(field), FIELDS)]
    problems = []
    ordered = [name for name in _ORDER if getattr(condition, name) is not None]
    if condition == Condition() or (condition.currency and not ordered and _plain(condition) == []):
        problems.append(Problem(path, "no test", "one of equals, in, not_in, at_least, at_most, over, under"))
    if ordered and kind in ("flag", "text"):
        problems.append(Problem(f"{path}.{ordered[0]}", repr(getattr(condition, ordered[0])), "equals, in or not_in"))
    wanted: dict[str, tuple[type, ...]] = {"number": (int, float), "flag": (bool,), "text": (str,)}
    edges: list[int | float] = [getattr(condition, name) for name in ordered]
    problems += [
        Problem(path, f"{value!r:.40}", "a number that a double can hold")
        for value in (*edges, *_plain(condition))
        if not _finite(value)
    ]
    for value in _plain(condition):
        is_odd_flag = isinstance(value, bool) and kind == "number"
        if kind in wanted and (is_odd_flag or not isinstance(value, wanted[kind])):
            problems.append(Problem(path, repr(value), f"a {kind}"))
    if field == "value_minor" and condition.currency is None:
        problems.append(
            Problem(f"{path}.currency", "nothing", "the ISO 4217 code of the currency that the amounts are in")
        )
    if field != "value_minor" and condition.currency is not None:
        problems.append(
            Problem(f"{path}.currency", repr(condition.currency), "nothing: only value_minor has a currency")
        )
    return problems


def _finite(value: Scalar) -> bool:
    try:
        return isinstance(value, (str, bool)) or math.isfinite(value)
    except OverflowError:
        return False


def _plain(condition: Condition) -> list[Scalar]:
    given: list[Scalar] = [] if condition.equals is None else [condition.equals]
    return [*given, *(condition.in_ or ()), *(condition.not_in or ())]


def _limits(path: str, rule: Rule) -> list[Problem]:
    limits = rule.limits
    if limits is None:
        return []
    if rule.then != "autonomous":
        return [Problem(path, f"limits on a rule that says {rule.then}", "limits only where the rule says autonomous")]
    if limits == Limits():
        return [Problem(path, "no limit", "one of value_minor_at_most, confidence_at_least, reversible")]
    if (limits.value_minor_at_most is None) != (limits.currency is None):
        there, missing = (
            ("value_minor_at_most", "currency") if limits.currency is None else ("currency", "value_minor_at_most")
        )
        return [Problem(f"{path}.{missing}", "nothing", f"it beside {there}: an amount has a currency")]
    return []
