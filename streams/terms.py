"""Terms: the freshness part of a policy and its evaluator, made ready; and everything that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from schemas.policy import Allowance, Duration, Evaluator, Freshness, OnStale, PolicyDocument
from schemas.topics import RETENTION_MS

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# 12 digits of milliseconds are 31 years, and nothing of ours waits as long
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:ms|s|m|h|d)){1,10}")
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_URL = re.compile(r"https?://[^\s/?#]+(?:[/?#]\S*)?")
URL_CHARS_MAX = 2_000
EVALUATOR_TIMEOUT_MS_MAX = 60_000  # a batch of questions waits for its slowest answer


class Problem(NamedTuple):
    """One thing that is wrong with a document. `path` is inside it, `boundary.rules[0].when`."""

    path: str
    found: str
    expected: str


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a decision of one segment may be acted on, and what becomes of it afterwards."""

    budget_ms: int
    on_stale: OnStale


@dataclass(frozen=True, slots=True)
class Reserve:
    """What is kept back of the time that is left, for the executor. Fixed where `measured` is not set."""

    initial_ms: int
    at_least_ms: int
    at_most_ms: int
    measured: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """The evaluator: either `url` or `function` is set. `action_types` None: only the type that the decision had."""

    url: str | None
    function: str | None
    interpreter: str | None
    timeout_ms: int
    concurrency: int
    action_types: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Shedding:
    """What is shed under overload: see `schemas.policy.Overload`."""

    start: float
    newest_first: bool


@dataclass(frozen=True, slots=True)
class FreshnessTerms:
    """All of it for one workflow. `context`: the fields whose change matters, empty for any, None for not looked at."""

    own: Terms
    total_ms: int
    skew_tolerance_ms: int
    max_attempts: int
    segments: Mapping[str, Terms]
    context: frozenset[str] | None
    supersede: bool
    reserve: Reserve
    shedding: Shedding | None

    def of(self, segment: str | None) -> Terms:
        return self.segments.get(segment, self.own) if segment is not None and self.segments else self.own


def duration_ms(text: str) -> int | None:
    """`90s` as 90000, or None when it is no duration."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text))


def compile_terms(document: PolicyDocument) -> tuple[FreshnessTerms, list[Problem]]:
    """The freshness part made ready; of no use where there are problems."""
    given, problems = document.freshness, list[Problem]()
    own = Terms(_duration("freshness.budget", given.budget, 1, problems), given.on_stale)
    segments = {name: _segment(name, given, own, problems) for name in given.segments}
    longest = max([own, *segments.values()], key=lambda terms: terms.budget_ms)
    total_ms = longest.budget_ms
    if given.total is not None:
        total_ms = _duration("freshness.total", given.total, 1, problems)
        if total_ms and total_ms < longest.budget_ms:
            budgets = [given.budget, *(one.budget for one in given.segments.values() if one.budget)]
            text = next(text for text in budgets if duration_ms(text) == longest.budget_ms)
            problems.append(Problem("freshness.total", given.total, f"at least the budget, {text}"))
    tolerance_ms = _duration("freshness.skew_tolerance", given.skew_tolerance, 0, problems)
    reserve = _reserve(given.allowance, min([own, *segments.values()], key=lambda one: one.budget_ms), problems)
    _needs_evaluator(document, problems)
    if isinstance(given.context, list) and not given.context:
        problems.append(Problem("freshness.context", "no field", "any, or the names of fields of the context's state"))
    return FreshnessTerms(
        own=own,
        total_ms=total_ms,
        skew_tolerance_ms=tolerance_ms,
        max_attempts=given.max_attempts,
        segments=segments,
        context=None if given.context is None else frozenset(() if given.context == "any" else given.context),
        supersede=given.supersede,
        reserve=reserve,
        shedding=None if given.overload is None else Shedding(given.overload.start, given.overload.newest_first),
    ), problems


def _segment(name: str, given: Freshness, own: Terms, problems: list[Problem]) -> Terms:
    path, segment = f"freshness.segments.{name}", given.segments[name]
    if segment.budget is None and segment.on_stale is None:
        problems.append(Problem(path, "nothing", "budget, on_stale or both"))
    budget_ms = own.budget_ms
    if segment.budget is not None:
        budget_ms = _duration(f"{path}.budget", segment.budget, 1, problems)
    return Terms(budget_ms, segment.on_stale or own.on_stale)


def _reserve(given: Duration | Allowance | None, shortest: Terms, problems: list[Problem]) -> Reserve:
    path = "freshness.allowance"
    if given is None:
        return Reserve(0, 0, 0, False)
    if isinstance(given, str):
        fixed_ms = _duration(path, given, 0, problems)
        _below_budget(path, given, fixed_ms, shortest, problems)
        return Reserve(fixed_ms, fixed_ms, fixed_ms, False)
    initial_ms, least_ms, most_ms = (
        _duration(f"{path}.{name}", getattr(given, name), 0, problems) for name in ("initial", "at_least", "at_most")
    )
    _below_budget(f"{path}.at_most", given.at_most, most_ms, shortest, problems)
    if not least_ms <= initial_ms <= most_ms:
        problems.append(Problem(f"{path}.initial", given.initial, f"from {given.at_least} to {given.at_most}"))
    return Reserve(initial_ms, least_ms, most_ms, True)


def _below_budget(path: str, text: str, value_ms: int, shortest: Terms, problems: list[Problem]) -> None:
    if value_ms >= shortest.budget_ms > 0:
        problems.append(
            Problem(path, text, f"less than the shortest budget, {shortest.budget_ms} ms: nothing would pass")
        )


def _needs_evaluator(document: PolicyDocument, problems: list[Problem]) -> None:
    if document.evaluator is not None:
        return
    given = document.freshness
    stated = {"freshness.on_stale": given.on_stale} | {
        f"freshness.segments.{name}.on_stale": one.on_stale for name, one in given.segments.items() if one.on_stale
    }
    problems += [
        Problem(path, on_stale, "drop: without an evaluator nobody can decide again on the present")
        for path, on_stale in stated.items()
        if on_stale != "drop"
    ]


def compile_evaluator(given: Evaluator | None) -> tuple[Asked | None, list[Problem]]:
    """The evaluator made ready; of no use where there are problems."""
    problems: list[Problem] = []
    if given is None:
        return None, problems
    if (given.url is None) == (given.function is None):
        found = "neither" if given.url is None else "both"
        problems.append(Problem("evaluator", f"{found} of url and function", "one of them"))
    if given.url is not None and not _is_address(given.url):
        problems.append(
            Problem(
                "evaluator.url", f"{given.url!r:.200}", "the address of an endpoint, such as http://rater:8080/rate"
            )
        )
    if given.function is not None and not _FUNCTION.fullmatch(given.function):
        problems.append(Problem("evaluator.function", repr(given.function), "module:function, such as rater:evaluate"))
    if given.interpreter is not None and given.function is None:
        problems.append(Problem("evaluator.interpreter", repr(given.interpreter), "it only beside a function"))
    timeout_ms = _duration("evaluator.timeout", given.timeout, 1, problems, EVALUATOR_TIMEOUT_MS_MAX)
    if given.action_types is not None and not given.action_types:
        problems.append(Problem("evaluator.action_types", "none", "at least one type, or no such line"))
    types = None if given.action_types is None else frozenset(given.action_types)
    return Asked(given.url, given.function, given.interpreter, timeout_ms, given.concurrency, types), problems


def _is_address(url: str) -> bool:
    """Whether it names a host, and a port that there can be."""
    if len(url) > URL_CHARS_MAX or not _URL.fullmatch(url) or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # of a port beyond 65535, or brackets that hold no address
        return False


def _duration(path: str, text: str, at_least_ms: int, problems: list[Problem], at_most_ms: int = RETENTION_MS) -> int:
    value_ms = duration_ms(text)
    if value_ms is None:
        problems.append(
            Problem(path, f"{text!r:.80}", "a length of time with its unit, such as 250ms, 90s, 10m or 1h30m")
        )
    elif value_ms < at_least_ms:
        why = ": with no budget every decision is stale" if path.endswith("budget") else ""
        problems.append(Problem(path, repr(text), f"more than nothing{why}"))
    elif value_ms > at_most_ms:
        days = at_most_ms == RETENTION_MS
        problems.append(
            Problem(
                path,
                repr(text),
                "at most 7d: topics keep records for so long" if days else f"at most {at_most_ms // 1000}s",
            )
        )
    return value_ms or 0
