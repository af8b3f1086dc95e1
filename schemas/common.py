"""What several records share: where a record came from, its stages, and the limits of the contract."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

VALUE_BYTES_MAX = 256 * 1024  # a decision's value; a larger one is `invalid.oversized`
RAW_BYTES_MAX = 64 * 1024  # how much of an unreadable input an exception carries
DEPTH_MAX = 64  # nesting of objects and arrays, the top level counted
NUMBER_DIGITS_MAX = 300  # digits of one number
TIME_MS_MAX = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
MONEY_MINOR_MAX = 2**53  # beyond it, readers that use doubles would round

Id = Annotated[str, Meta(min_length=1, max_length=200)]
# the range is checked at ingest, where it has a reason of its own (`invalid.time`)
TimeMs = Annotated[
    int,
    Meta(
        description="Integer epoch milliseconds.",
        extra_json_schema={"minimum": 0, "maximum": TIME_MS_MAX},
    ),
]
DurationMs = Annotated[int, Meta(ge=0, description="Integer milliseconds.")]
Money = Annotated[
    int,
    Meta(ge=-MONEY_MINOR_MAX, le=MONEY_MINOR_MAX, description="Integer in the currency's minor unit."),
]
Currency = Annotated[str, Meta(min_length=3, max_length=3, description="ISO 4217 code.")]
Confidence = Annotated[float, Meta(ge=0, le=1)]
Version = Annotated[int, Meta(ge=0, le=2**53)]
# beyond 64 bits readers of JSON make a float of it, and nobody could load the policy any more; a time of day to the
# millisecond (17 digits), which is more than 2**53, is a usual version
POLICY_VERSION_MAX = 2**63 - 1
PolicyVersion = Annotated[int, Meta(ge=1, le=POLICY_VERSION_MAX)]
# numbers, text and flags are what a policy compares; anything else is carried
Attributes = dict[str, Any]


class Source(Struct, frozen=True, omit_defaults=True, gc=False):
    """The input record that an output answers. `through`: the last offset of an unreadable range."""

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    through: Annotated[int, Meta(ge=0)] | None = None


class Stages(Struct, omit_defaults=True, frozen=True, gc=False):
    """Where the age of a decision went. A stage whose end is unknown is absent: its time is in the next one.

    Stages are never negative and their sum is `age_ms`.
    """

    inference: DurationMs | None = None
    producer: DurationMs | None = None
    transport: DurationMs | None = None
    queue: DurationMs | None = None
    gate: DurationMs | None = None
