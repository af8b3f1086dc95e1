"""Chains: an action that is a JSON array of objects is several steps, and goes as far as its riskiest step may.

A step may have `type`, `value_minor`, `currency` and `reversible`; what it does not have is the decision's own. The
rules judge each step, and each step's type with the value, currency and reversibility of the chain as a whole: the
decision's own, or what the values of the steps come to where that is more. The most restrictive outcome counts, so
neither a single step nor all of them are worth more than a limit allows. A chain cannot be judged when it is empty, has
more than STEPS_MAX steps, holds something that is no object, or has more steps than so many rules can be asked about:
then it goes to a person, if it is not blocked anyway. A field of a step that holds something of another kind is missing
there; it is not made up for by the decision's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import orjson

from schemas.common import MONEY_MINOR_MAX
from schemas.decision import Decision, Successor
from streams.foreign import json_of

STEPS_MAX = 100  # a batch of chains costs as much as a hundred batches at most
_BRACKET = ord("[")


class Step(msgspec.Struct, frozen=True):
    """What the rules see of one step: the decision with the step's own fields in the place of its own."""

    decision: Decision | Successor
    action: Any  # the step, read
    action_type: str | None
    value_minor: int | None
    currency: str | None
    reversible: bool | None

    @property
    def entity(self) -> str:
        return self.decision.entity

    @property
    def segment(self) -> str | None:
        return self.decision.segment

    @property
    def model(self) -> str | None:
        return self.decision.model

    @property
    def proposer(self) -> str | None:
        return self.decision.proposer

    @property
    def confidence(self) -> float | None:
        return self.decision.confidence

    @property
    def attributes(self) -> dict[str, Any] | None:
        return self.decision.attributes


Subject = Decision | Successor | Step
Unknown = Literal["field_missing", "currency_mismatch"]


def is_chain(decision: Decision | Successor) -> bool:
    """Whether the action is an array."""
    return memoryview(decision.action)[0] == _BRACKET


def steps_of(decision: Decision | Successor) -> list[Step] | None:
    """What the rules have to judge of a chain, each once; None where it cannot be judged."""
    read = json_of(memoryview(decision.action))
    if not read or len(read) > STEPS_MAX or not all(isinstance(one, dict) for one in read):
        return None
    found: dict[tuple[Any, ...], Step] = {}
    wholes = _wholes(read, decision)
    for one in read:
        kind = one.get("type")
        own = (
            kind if isinstance(kind, str) else None,
            _given(one, "value_minor", decision.value_minor, int),
            _given(one, "currency", decision.currency, str),
            _given(one, "reversible", decision.reversible, bool),
        )
        for seen in (own, *((own[0], *whole, decision.reversible) for whole in wholes)):
            # an expression may look at anything in the step, so steps are the same only as a whole
            found.setdefault((*seen, orjson.dumps(one)), Step(decision, one, *seen))
    return list(found.values())


def worth(decision: Decision | Successor, currency: str) -> int | Unknown:
    """The magnitude of the decision in this currency, or why it is not known: what limits over decisions add up.

    A chain is worth what it says of itself, or what its steps say together where that is more.
    """
    if decision.value_minor is None or decision.currency is None:
        return "field_missing"
    if decision.currency != currency:
        return "currency_mismatch"
    total = abs(decision.value_minor)
    if not is_chain(decision):
        return total
    of_steps = 0
    for step in json_of(memoryview(decision.action)):
        if not isinstance(step, dict) or step.get("value_minor") is None:
            continue
        value, named = _stated(step, decision)
        if value is None or named is None:
            return "field_missing"
        if named != currency:
            return "currency_mismatch"
        of_steps += abs(value)
    return max(total, of_steps)


def _stated(step: dict[str, Any], decision: Decision | Successor) -> tuple[int | None, str | None]:
    """What a step that has a value says of it, and in which currency; None for what cannot be understood."""
    return _given(step, "value_minor", None, int), _given(step, "currency", decision.currency, str)


def _wholes(steps: Sequence[dict[str, Any]], decision: Decision | Successor) -> list[tuple[int | None, str | None]]:
    """What the chain is worth as a whole: the decision's own value and currency, and what several steps come to.

    Of two in one currency and of one sign the larger stands for both. Values of both signs do not make up for each
    other: their magnitudes are added.
    """
    by_currency: dict[str | None, list[int]] = {}
    for step in steps:
        value, currency = _stated(step, decision)
        if value is not None:
            by_currency.setdefault(currency, []).append(value)
    wholes: list[tuple[int | None, str | None]] = [(decision.value_minor, decision.currency)]
    for currency, values in by_currency.items():
        if len(values) == 1:
            continue  # the step is judged by itself
        total, (own, own_currency) = sum(values) if max(values) <= 0 else sum(map(abs, values)), wholes[0]
        if currency == own_currency and own is not None and (own >= 0) == (total >= 0):
            wholes[0] = max(own, total, key=abs), currency
        else:
            wholes.append((total, currency))
    return wholes


def action_types(decision: Decision | Successor) -> list[str | None]:
    """The action type of the decision, or of each step of a chain; [None] where there is none."""
    read = json_of(memoryview(decision.action))
    steps = read if isinstance(read, list) and read else [read]
    kinds = [one.get("type") if isinstance(one, dict) else None for one in steps]
    return [kind if isinstance(kind, str) else None for kind in kinds]


def _given(step: dict[str, Any], name: str, own: Any, kind: Any) -> Any:
    value: Any = step.get(name)
    if value is None:
        return own
    if type(value) is not kind or (name == "value_minor" and not -MONEY_MINOR_MAX <= value <= MONEY_MINOR_MAX):
        return None
    return value
