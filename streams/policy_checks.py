"""What can be wrong with the exposure limits, the audit sample and the review terms of a policy."""

from __future__ import annotations

import math
from collections.abc import Iterator

from schemas.policy import Boundary, ReviewTerms
from schemas.topics import RETENTION_MS
from streams.document import SPAN
from streams.rule_checks import check_currency
from streams.terms import Problem, duration_ms

EXPOSURES_MAX = 100  # each is looked at for every decision, and shown on its answer
WINDOW_MS_MIN, WINDOW_MS_MAX = 1_000, 31 * 86_400_000  # shorter ones are rates; longer ones outlive the state


def check_exposure(boundary: Boundary) -> Iterator[Problem]:
    """Everything that is wrong with the exposure limits and the share of the audit sample."""
    seen: dict[str, int] = {}
    if len(boundary.exposure) > EXPOSURES_MAX:
        yield Problem("boundary.exposure", f"{len(boundary.exposure)} limits", f"at most {EXPOSURES_MAX}")
    for at, one in enumerate(boundary.exposure):
        path = f"boundary.exposure[{at}]"
        if (first := seen.setdefault(one.name, at)) != at:
            yield Problem(f"{path}.name", repr(one.name), f"a name of its own, not that of exposure[{first}]")
        yield from _span(f"{path}.window", one.window, WINDOW_MS_MIN, WINDOW_MS_MAX, "from 1s to 31d")
        if len(set(one.per)) < len(one.per):
            yield Problem(f"{path}.per", ", ".join(one.per), "each once")
        if (one.count_at_most is None) == (one.value_minor_at_most is None):
            found = "neither" if one.count_at_most is None else "both"
            yield Problem(path, f"{found} of count_at_most and value_minor_at_most", "one of them")
        yield from _amount(path, one.value_minor_at_most, one.currency)
    if not math.isfinite(boundary.audit_sample):
        yield Problem("boundary.audit_sample", repr(boundary.audit_sample), "a share from 0 to 1")


def check_approval(review: ReviewTerms) -> Iterator[Problem]:
    """Everything that is wrong with how people answer."""
    if review.sla is not None:
        yield from _span("review.sla", review.sla, 1, RETENTION_MS, "more than nothing and at most 7d")
    seen: set[tuple[str, str | None]] = set()
    for at, one in enumerate(review.approvers):
        path = f"review.approvers[{at}]"
        if (one.role, one.currency) in seen:
            yield Problem(f"{path}.role", repr(one.role), "one line for each role and currency")
        seen.add((one.role, one.currency))
        yield from _amount(path, one.value_minor_at_most, one.currency)


def _amount(path: str, value_minor: int | None, currency: str | None) -> Iterator[Problem]:
    if value_minor is not None and currency is None:
        yield Problem(f"{path}.currency", "nothing", "it beside value_minor_at_most: an amount has a currency")
    elif value_minor is None and currency is not None:
        yield Problem(f"{path}.currency", repr(currency), "it only beside value_minor_at_most")
    else:
        yield from check_currency(path, currency)


def _span(path: str, text: str, least_ms: int, most_ms: int, expected: str) -> Iterator[Problem]:
    length_ms = duration_ms(text)
    if length_ms is None:
        yield Problem(path, f"{text!r:.80}", SPAN)
    elif not least_ms <= length_ms <= most_ms:
        yield Problem(path, repr(text), expected)
