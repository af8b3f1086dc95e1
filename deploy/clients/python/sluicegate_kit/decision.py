"""A decision as a producer states it, checked against the contract before it is sent.

The gate refuses the same things, as exceptions that somebody has to work; here whoever made the mistake is told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeGuard

from sluicegate_kit.errors import KitError
from sluicegate_kit.settings import shown

ID_CHARS_MAX = 200
VALUE_BYTES_MAX = 256 * 1024
DEPTH_MAX = 64
NUMBER_DIGITS_MAX = 300
TIME_MS_MAX = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
MONEY_MINOR_MAX = 2**53  # beyond it, readers that use doubles would round
VERSION_MAX = 2**53
PATH_CHARS_MAX = 100  # of where in the value something is wrong
SECONDS_MAX = 10**11  # until the year 5138; as milliseconds it is 1973, so whoever sends less means seconds
BOM = "\ufeff"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An action proposed for an entity, resting on the world as it was at `observed_at_ms` (epoch milliseconds).

    `id` is your idempotency key and is required: it names this one decision of this entity for ever. A retry repeats
    it, and nothing is done twice; one made up anew for each attempt would act again. `action` is any JSON; an object's
    `type` names the action type. `value_minor` is money in the currency's minor unit. What a policy asks for and is not
    there sends the decision to a person. `decided_at_ms` is the time of sending if you do not say.
    """

    id: str
    workflow: str
    entity: str
    action: Any
    observed_at_ms: int
    decided_at_ms: int | None = None
    confidence: float | None = None
    value_minor: int | None = None
    currency: str | None = None
    model: str | None = None
    proposer: str | None = None
    context_version: int | None = None
    expires_at_ms: int | None = None
    reversible: bool | None = None
    segment: str | None = None
    attributes: Mapping[str, Any] | None = None


def encode(decision: Decision, now_ms: int) -> bytes:
    """The record's value, sent at `now_ms`. Raises KitError that names the decision, the field and the limit."""
    if not isinstance(decision, Decision):
        raise KitError(f"a Decision is expected, got {shown(decision)}")
    body = {field.name: getattr(decision, field.name) for field in fields(decision)}
    body = {name: value for name, value in body.items() if value is not None or name == "action"}
    body.setdefault("decided_at_ms", now_ms)
    body["sent_at_ms"] = now_ms
    for problem in _problems(body):
        raise KitError(f"the decision {shown(decision.id)} cannot be sent: {problem}")
    value = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if len(value) > VALUE_BYTES_MAX:
        raise KitError(
            f"the decision {shown(decision.id)} cannot be sent: it has {len(value)} bytes, at most {VALUE_BYTES_MAX} "
            "are allowed; refer to large inputs instead of carrying them"
        )
    return value


def _problems(body: Mapping[str, Any]) -> Iterator[str]:
    for name in ("id", "workflow", "entity"):
        yield from _text(name, body.get(name), ID_CHARS_MAX)
    if "~" in body["id"]:
        yield "id: it may not hold a ~, which marks decisions made again"
    for name in ("observed_at_ms", "decided_at_ms", "sent_at_ms", "expires_at_ms"):
        if name in body or name == "observed_at_ms":
            yield from _time(name, body.get(name))
    for name in ("model", "proposer", "segment"):
        if name in body:
            yield from _text(name, body[name], None)
    yield from _numbers(body)
    currency = body.get("currency")
    if currency is not None and not (isinstance(currency, str) and len(currency) == 3 and currency.isalpha()):
        yield f"currency: an ISO 4217 code of three letters is expected, got {shown(currency)}, for example EUR"
    if "reversible" in body and not isinstance(body["reversible"], bool):
        yield f"reversible: true or false is expected, got {shown(body['reversible'])}"
    attributes = body.get("attributes")
    if attributes is not None and not isinstance(attributes, dict):
        yield f"attributes: a dict is expected, got {shown(attributes)}"
    yield from _json(body)


def _numbers(body: Mapping[str, Any]) -> Iterator[str]:
    confidence = body.get("confidence")
    if confidence is not None and not (_is_number(confidence) and 0 <= confidence <= 1):
        yield f"confidence: a number from 0 to 1 is expected, got {shown(confidence)}, for example 0.95"
    money = body.get("value_minor")
    if money is not None and not (_is_int(money) and abs(money) <= MONEY_MINOR_MAX):
        yield (
            "value_minor: an integer in the currency's minor unit within 2**53 is expected, got "
            f"{shown(money)}, for example 1250"
        )
    version = body.get("context_version")
    if version is not None and not (_is_int(version) and 0 <= version <= VERSION_MAX):
        yield f"context_version: an integer from 0 to 2**53 is expected, got {shown(version)}, for example 41"


def _text(name: str, value: object, chars_max: int | None) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{name}: text is expected, got {shown(value)}"
    elif chars_max is not None and not 1 <= len(value) <= chars_max:
        yield f"{name}: 1 to {chars_max} characters are expected, got {len(value)}"


def _time(name: str, value: object) -> Iterator[str]:
    if not _is_int(value):
        yield f"{name}: integer epoch milliseconds are expected, got {shown(value)}, for example now_ms()"
    elif not 0 <= value <= TIME_MS_MAX:
        yield f"{name}: outside 0 ... {TIME_MS_MAX} (the end of the year 9999)"
    elif 0 < value < SECONDS_MAX:
        yield f"{name}: {value} looks like seconds; epoch milliseconds are expected"


def _json(body: Mapping[str, Any]) -> Iterator[str]:
    """What of the whole value JSON or the gate would not take; breadth first, without recursion."""
    level: list[tuple[str, object]] = list(body.items())
    depth, count = 1, 0
    while level:
        below: list[tuple[str, object]] = []
        for path, value in level:
            yield from _leaf(path, value)
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield from _leaf(f"{path}, a key", key)
                    if not isinstance(key, str):
                        yield f"{path}: keys are text, got {shown(key)}"
                    below.append((f"{path}.{_named(key)}"[:PATH_CHARS_MAX], inner))
            elif isinstance(value, list | tuple):
                below += [(f"{path}[{index}]"[:PATH_CHARS_MAX], inner) for index, inner in enumerate(value)]
        depth += any(isinstance(value, dict | list | tuple) for _, value in level)
        count += len(below)
        if count > VALUE_BYTES_MAX:  # each takes a byte at least; also what contains itself ends here
            yield f"it has more than {VALUE_BYTES_MAX} values"
            return
        if depth > DEPTH_MAX:
            yield f"{level[0][0]}: nested more than {DEPTH_MAX} deep"
            return
        level = below


def _named(key: object) -> str:
    return key if isinstance(key, str) and key.isprintable() else shown(key)


def _leaf(path: str, value: object) -> Iterator[str]:
    if isinstance(value, str):
        if BOM in value:
            yield f"{path}: it holds a byte order mark"
        elif value.encode("utf-8", "ignore").decode() != value:
            yield f"{path}: it holds half a character (a lone surrogate)"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{path}: {value} is no number in JSON"
    elif _is_int(value):
        if abs(value) >= 10**NUMBER_DIGITS_MAX:
            yield f"{path}: a number of more than {NUMBER_DIGITS_MAX} digits"
    elif value is not None and not isinstance(value, bool | dict | list | tuple):
        yield f"{path}: {type(value).__name__} is not JSON; send text or a number"


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_int(value)
