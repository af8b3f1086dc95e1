"""The policy document of one workflow, as an owner writes it in YAML.

Conditions say which decisions a rule is about; the limits of an `autonomous` rule say how far it goes. A decision
that a rule is about and that is beyond its limits goes to a person, with the limit as the reason.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.common import MONEY_MINOR_MAX, Confidence, Currency, Id, PolicyVersion

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
    """`when` maps fields (`value_minor`, `confidence`, `segment`, `attributes.vendor`, ...) to conditions.

    `cel`: an expression of the Common Expression Language that must hold too; it is evaluated only where `when` holds.
    `shadow`: the rule is evaluated and counted, and decides nothing.
    """

    name: Id
    then: Literal["autonomous", "escalate", "block"]
    when: dict[str, Condition] = {}
    cel: Annotated[str, Meta(min_length=1, max_length=4000)] | None = None
    limits: Limits | None = None
    shadow: bool = False


OnStale = Literal["drop", "reevaluate", "escalate"]


class Segment(Struct, forbid_unknown_fields=True, frozen=True):
    """What is different for decisions of one segment; what is not given is the workflow's own."""

    budget: Duration | None = None
    on_stale: OnStale | None = None


class Allowance(Struct, forbid_unknown_fields=True, frozen=True):
    """What is kept back for the executor, measured: p95 of issue to execution, from receipts.

    `initial` holds until enough receipts have come; the measured one stays within `at_least` and `at_most`.
    """

    initial: Duration
    at_most: Duration
    at_least: Duration = "0s"


class Overload(Struct, forbid_unknown_fields=True, frozen=True):
    """What is shed when more comes than can be decided in time; without it nothing is shed before its deadline.

    `start`: how long decisions may have waited, as a share of the budget, before shedding begins. `newest_first`: of
    an entity's decisions that wait together, all but the one observed last are shed.
    """

    start: Annotated[float, Meta(gt=0, lt=1)] = 0.25
    newest_first: bool = False


class Freshness(Struct, forbid_unknown_fields=True, frozen=True):
    """`budget`: the greatest age at which acting is allowed, at it is too late. `total`: ends all attempts.

    `on_stale`: what becomes of a decision that is too old, or whose context has changed: it is dropped, the evaluator
    is asked again, or a person is. `max_attempts` counts the first. `context`: which changes of the entity's context
    make a decision stale: `any`, or one of the named fields of its state; without it context is not looked at.
    `supersede`: a later observation of the same entity and action type retires an earlier one that was not acted on.
    `allowance`: what is kept back for the executor, fixed or measured.
    """

    budget: Duration
    total: Duration | None = None
    skew_tolerance: Duration = "2s"
    on_stale: OnStale = "drop"
    max_attempts: Annotated[int, Meta(ge=2, le=100)] = 3
    segments: dict[str, Segment] = {}
    context: Literal["any"] | list[Id] | None = None
    supersede: bool = False
    allowance: Duration | Allowance | None = None
    overload: Overload | None = None


class Evaluator(Struct, forbid_unknown_fields=True, frozen=True):
    """Who is asked again: an HTTP endpoint (`url`), or a Python function (`function: module:name`) in a process of its
    own, run by `interpreter` (the path of a Python; without it the worker's).

    `timeout` ends one call, `concurrency` bounds how many run at once. `action_types`: what the answer may propose;
    without it, the type that the decision had.
    """

    url: str | None = None
    function: str | None = None
    interpreter: str | None = None
    timeout: Duration = "2s"
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 16
    action_types: list[str] | None = None


class Exposure(Struct, forbid_unknown_fields=True, frozen=True):
    """How much may run without a person in each window of time: so many commands, or so much value.

    Windows follow each other without overlap, from the epoch on. `per`: each workflow (the policy's own) has one
    account, or each of its segments, action types, entities, or combinations of them. Values count by their magnitude.
    What is over goes to a person, or is refused (`block`).
    """

    name: Id
    window: Duration
    per: list[Literal["segment", "action_type", "entity"]] = []
    count_at_most: Annotated[int, Meta(ge=0, le=MONEY_MINOR_MAX)] | None = None
    value_minor_at_most: Annotated[int, Meta(ge=0, le=MONEY_MINOR_MAX)] | None = None
    currency: Currency | None = None
    then: Literal["escalate", "block"] = "escalate"


class Boundary(Struct, forbid_unknown_fields=True, frozen=True):
    """The first rule whose `when` holds decides; a `block` rule whose `when` holds overrides them all.

    `exposure`: what all that runs without a person may add up to. `audit_sample`: the share of it that a person is
    shown afterwards, drawn by the id of the decision, so that it can be drawn again.
    """

    rules: list[Rule] = []
    exposure: list[Exposure] = []
    audit_sample: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Approver(Struct, forbid_unknown_fields=True, frozen=True):
    """One line of the delegation matrix: reviewers with this role, up to this value (by its magnitude)."""

    role: Id
    value_minor_at_most: Annotated[int, Meta(ge=0, le=MONEY_MINOR_MAX)] | None = None
    currency: Currency | None = None


class ReviewTerms(Struct, forbid_unknown_fields=True, frozen=True):
    """How people answer. `quorum`: how many must approve. `sla`: a review ends so long after the gate asked, if its
    deadline is not earlier; half of it later it is escalated.

    `approvers`: who may approve; empty: everybody with a key that may sign.
    """

    queue: Id | None = None
    quorum: Annotated[int, Meta(ge=1, le=10)] = 1
    sla: Duration | None = None
    on_timeout: Literal["reject"] = "reject"
    approvers: list[Approver] = []


class PolicyDocument(Struct, forbid_unknown_fields=True, frozen=True):
    """One workflow's policy. Its name on every output is `<workflow>@<version>`."""

    workflow: Id
    version: PolicyVersion
    freshness: Freshness
    boundary: Boundary
    evaluator: Evaluator | None = None
    review: ReviewTerms = ReviewTerms()
