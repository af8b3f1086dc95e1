"""What can be wrong with the rules of a policy: what cannot be evaluated, and what can never have an effect.

A condition that nothing can meet, or a rule that nothing can reach, is a mistake that would show only in an incident;
so it is refused with the document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from schemas.common import MONEY_MINOR_MAX
from schemas.policy import Condition, Limits, Rule, Scalar
from streams.conditions import ORDER, choice, key
from streams.document import CURRENCY_CODE
from streams.fields import FIELDS, kind_of
from streams.terms import Problem

SHADOWS_MAX = 100  # each has series of its own in the metrics
CURRENCY = re.compile(r"[A-Z]{3}")
NEVER = "what some decision can meet"
_TYPES: dict[str, tuple[type, ...]] = {"number": (int, float), "flag": (bool,), "text": (str,)}
_RANGES = {"confidence": (0.0, 1.0), "value_minor": (-float(MONEY_MINOR_MAX), float(MONEY_MINOR_MAX))}


def check_rules(rules: Sequence[Rule]) -> Iterator[Problem]:
    """Everything that is wrong with them, but for their expressions."""
    seen: dict[str, int] = {}
    catches: int | None = None
    for at, rule in enumerate(rules):
        path = f"boundary.rules[{at}]"
        if (first := seen.setdefault(rule.name, at)) != at:
            yield Problem(f"{path}.name", repr(rule.name), f"a name of its own, not that of rules[{first}]")
        if rule.then != "block" and not rule.shadow:
            if catches is not None:
                found = f"the rule {rule.name!r} after rules[{catches}], which takes every decision"
                yield Problem(path, found, "it before that one: the first rule that holds decides")
            elif not rule.when and rule.cel is None:
                catches = at
        for field, condition in rule.when.items():
            yield from _condition(f"{path}.when.{field}", field, condition)
        yield from _limits(f"{path}.limits", rule)
    if (shadows := sum(rule.shadow for rule in rules)) > SHADOWS_MAX:
        yield Problem("boundary.rules", f"{shadows} shadow rules", f"at most {SHADOWS_MAX}")


def check_currency(path: str, currency: str | None) -> Iterator[Problem]:
    """Whether it is a code, where one is given."""
    if currency is not None and not CURRENCY.fullmatch(currency):
        yield Problem(f"{path}.currency", repr(currency), CURRENCY_CODE)


def _condition(path: str, field: str, condition: Condition) -> Iterator[Problem]:
    kind = kind_of(field)
    if kind is None:
        yield Problem(path, repr(field), FIELDS)
        return
    ordered = [name for name in ORDER if getattr(condition, name) is not None]
    plain = _plain(condition)
    if condition.in_ == []:
        yield Problem(f"{path}.in", "[]", "at least one value")
        return
    if condition == Condition() or (condition.currency and not ordered and not plain):
        yield Problem(path, "no test", "one of equals, in, not_in, at_least, at_most, over, under")
    if ordered and kind in ("flag", "text"):
        yield Problem(f"{path}.{ordered[0]}", repr(getattr(condition, ordered[0])), "equals, in or not_in")
        return
    values: list[Scalar] = [*(getattr(condition, name) for name in ordered), *plain]
    odd = [value for value in values if not _finite(value)]
    yield from (Problem(path, f"{value!r:.40}", "a number that a double can hold") for value in odd)
    wrong = [value for value in plain if kind in _TYPES and not _is(value, kind)]
    yield from (Problem(path, repr(value), f"a {kind}") for value in wrong)
    if field == "value_minor" and condition.currency is None:
        expected = "the ISO 4217 code of the currency that the amounts are in"
        yield Problem(f"{path}.currency", "nothing", expected)
    elif field != "value_minor" and condition.currency is not None:
        yield Problem(f"{path}.currency", repr(condition.currency), "nothing: only value_minor has a currency")
    else:
        yield from check_currency(path, condition.currency)
    if not odd and not wrong and (never := _never(field, condition)) is not None:
        yield Problem(path, never, NEVER)


def _never(field: str, condition: Condition) -> str | None:
    """Why no value meets the condition, or None where one may."""
    edges = [(name, getattr(condition, name)) for name in ORDER if getattr(condition, name) is not None]
    given = [] if condition.equals is None else [condition.equals]
    if condition.equals is not None or condition.in_ is not None:
        wanted = [value for value in (given or condition.in_ or []) if _may_be(value, condition)]
        if not any(all(_meets(value, name, edge) for name, edge in edges) for value in wanted):
            return "equals, in, not_in and limits that exclude each other"
    least, most = _RANGES.get(field, (-math.inf, math.inf))
    lows = [(least, False), (condition.at_least, False), (condition.over, True)]
    highs = [(most, False), (condition.at_most, False), (condition.under, True)]
    # of two equal edges the open one is tighter
    low, low_open = max((edge, is_open) for edge, is_open in lows if edge is not None)
    high, high_shut = min((edge, not is_open) for edge, is_open in highs if edge is not None)
    if edges and (low > high or (low == high and (low_open or not high_shut))):
        told = ", ".join(f"{name} {edge}" for name, edge in edges)
        return told if len(edges) > 1 else f"{told}, of a field from {least:g} to {most:g}"
    return None


def _may_be(value: Scalar, condition: Condition) -> bool:
    among = condition.in_ is None or key(value) in choice(condition.in_)
    return among and key(value) not in choice(condition.not_in or ())


def _meets(value: Scalar, name: str, edge: float) -> bool:
    return not isinstance(value, (str, bool)) and bool(ORDER[name](value, edge))


def _is(value: Scalar, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and not (isinstance(value, bool) and kind == "number")


def _finite(value: Scalar) -> bool:
    try:
        return isinstance(value, (str, bool)) or math.isfinite(value)
    except OverflowError:
        return False


def _plain(condition: Condition) -> list[Scalar]:
    given: list[Scalar] = [] if condition.equals is None else [condition.equals]
    return [*given, *(condition.in_ or ()), *(condition.not_in or ())]


def _limits(path: str, rule: Rule) -> Iterator[Problem]:
    limits = rule.limits
    if limits is None:
        return
    if rule.then != "autonomous":
        yield Problem(path, f"limits on a rule that says {rule.then}", "limits only where the rule says autonomous")
        return
    if limits == Limits():
        yield Problem(path, "no limit", "one of value_minor_at_most, confidence_at_least, reversible")
    if limits.confidence_at_least is not None and not _finite(limits.confidence_at_least):
        yield Problem(f"{path}.confidence_at_least", repr(limits.confidence_at_least), "a number from 0 to 1")
    if (limits.value_minor_at_most is None) != (limits.currency is None):
        there, missing = (
            ("value_minor_at_most", "currency") if limits.currency is None else ("currency", "value_minor_at_most")
        )
        yield Problem(f"{path}.{missing}", "nothing", f"it beside {there}: an amount has a currency")
        return
    yield from check_currency(path, limits.currency)
    yield from _beyond_when(path, rule.when, limits)


def _beyond_when(path: str, when: dict[str, Condition], limits: Limits) -> Iterator[Problem]:
    """Limits that contradict the rule's own conditions: it would let nothing run."""
    value, confidence, flag = (when.get(name, Condition()) for name in ("value_minor", "confidence", "reversible"))
    if limits.currency is not None and value.currency not in (None, limits.currency):
        expected = f"{value.currency}, as in the rule's when.value_minor"
        yield Problem(f"{path}.currency", repr(limits.currency), expected)
    elif limits.value_minor_at_most is not None:
        smallest = max(value.at_least or 0, value.over or 0)
        if smallest > limits.value_minor_at_most:
            expected = f"at least {smallest}, from where on the rule holds"
            yield Problem(f"{path}.value_minor_at_most", str(limits.value_minor_at_most), expected)
    if limits.confidence_at_least is not None:
        greatest = min(edge for edge in (confidence.at_most, confidence.under, 1) if edge is not None)
        if greatest < limits.confidence_at_least:
            expected = f"at most {greatest}, up to where the rule holds"
            yield Problem(f"{path}.confidence_at_least", str(limits.confidence_at_least), expected)
    if limits.reversible and flag.equals is False:
        yield Problem(f"{path}.reversible", "True", "no such line: the rule is about what is not reversible")
