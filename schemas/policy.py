"""The policy document of one workflow, as an owner writes it in YAML.

Conditions say which decisions a rule is about; the limits of an `autonomous` rule say how far it goes. A decision
that a rule is about and that is beyond its limits goes to a person, with the limit as the reason.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.common import MONEY_MINOR_MAX, Confidence, Currency, Id

Duration = Annotated[
    str,
    Meta(
        description="A length of time with its unit: 250ms, 90s, 10m, 1h30m.",
        extra_json_schema={"pattern": r"^(\d+(ms|s|m|h|d))+$"},
    ),
]
Scalar = str | int | float | bool


class Condition(Struct, forbid_unknown_fields=True, frozen=True, rename={"in_": "in"}):
    """What one field must be. All that is given must hold. `currency` belongs to conditions on `value_minor`."""

    equals: Scalar | None = None
    in_: list[Scalar] | None = None
    not_in: list[Scalar] | None = None
    at_least: int | float | None = None
    at_most: int | float | None = None
    over: int | float | None = None
    under: int | float | None = None
    currency: Currency | None = None


class Limits(Struct, forbid_unknown_fields=True, frozen=True):
    """How far an `autonomous` rule goes. The value is compared by its magnitude: a large refund is large."""

    value_minor_at_most: Annotated[int, Meta(ge=0, le=MONEY_MINOR_MAX)] | None = None
    currency: Currency | None = None
    confidence_at_least: Confidence | None = None
    reversible: Literal[True] | None = None


class Rule(Struct, forbid_unknown_fields=True, frozen=True):
    """`when` maps fields (`value_minor`, `confidence`, `segment`, `attributes.vendor`, ...) to conditions."""

    name: Id
    then: Literal["autonomous", "escalate", "block"]
    when: dict[str, Condition] = {}
    limits: Limits | None = None


class Freshness(Struct, forbid_unknown_fields=True, frozen=True):
    """`budget`: the greatest age at which acting is allowed, at it is too late. `total`: ends all attempts."""

    budget: Duration
    total: Duration | None = None
    skew_tolerance: Duration = "2s"


class Boundary(Struct, forbid_unknown_fields=True, frozen=True):
    """The first rule whose `when` holds decides; a `block` rule whose `when` holds overrides them all."""

    rules: list[Rule] = []


class PolicyDocument(Struct, forbid_unknown_fields=True, frozen=True):
    """One workflow's policy. Its name on every output is `<workflow>@<version>`."""

    workflow: Id
    version: Annotated[int, Meta(ge=1)]
    freshness: Freshness
    boundary: Boundary
