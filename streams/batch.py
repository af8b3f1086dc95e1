"""What goes into the path and what comes out of it: a fetched batch, a row on its way, a record to send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from schemas.common import Source
from schemas.decision import Decision, Successor
from schemas.lease import Demand, ExposureSeen
from streams.admission import Learnt
from streams.metrics import Observed

Input = Literal["decisions", "successors", "reevaluations", "reviews", "verdicts", "workers"]
Output = Literal["commands", "reviews", "exceptions", "reevaluations", "successors", "rejections", "workers"]
Headers = tuple[tuple[str, bytes], ...]
OUTPUTS: tuple[Output, ...] = get_args(Output)


POISON: Final = "invalid.poison"


class Unread(NamedTuple):
    """Why a range of offsets has no records that can be read: from the row's own offset up to and with `through`.

    Poison is one record, which is there and is not looked at again: nothing of it goes out but its place and hash.
    """

    reason: Literal["lost.removed", "invalid.batch", "invalid.poison"]
    through: int
    detail: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records of one partition of one input topic, as columns of equal length, offsets rising."""

    topic: str
    input: Input
    partition: int
    offsets: list[int]
    timestamps_ms: list[int]  # the broker's time where `broker_time`, else the producer's claim
    keys: list[bytes | None]
    values: list[bytes | None]
    broker_time: bool
    read_ms: int
    headers: list[Sequence[tuple[str, bytes | None]]] | None = None  # None where no record of them has any
    unread: Mapping[int, Unread] | None = None  # by offset: rows that hold no record, and poison
    shown_ms: int | None = None  # what this machine's clock showed at `read_ms`, where that is not what is believed

    def __len__(self) -> int:
        return len(self.offsets)

    def place(self, index: int) -> Source:
        """Where the row stands: what its answer names as `source`."""
        offset = self.offsets[index]
        unread = self.why_unread(index)
        through = None if unread is None or unread.reason == POISON else unread.through
        return Source(self.topic, self.partition, offset, through)

    def why_unread(self, index: int) -> Unread | None:
        """Why the row holds no record; None where it holds one."""
        return None if self.unread is None else self.unread.get(self.offsets[index])


class Refused(NamedTuple):
    """Why a record is not a decision: data, not a Python exception."""

    reason: str
    detail: str


class Row(msgspec.Struct, gc=False):
    """One input record on its way through the stages; each stage fills in what it finds."""

    fetched: Fetched
    index: int  # within `fetched`
    offset: int
    key: bytes | None
    decision: Decision | Successor | None = None
    refused: Refused | None = None  # an ending that some stage has decided
    stage: str = "ingest"
    digest: bytes = b""  # of the id, see schemas.identifiers
    root: bytes = b""  # of the root id; the same as `digest` on a first attempt
    policy: int = -1  # index into the snapshot
    rule: str | None = None
    review_reasons: list[str] | None = None  # set: a person decides
    again: Refused | None = None  # set: the evaluator is asked again, for this reason
    age_ms: int = 0
    stages: tuple[int | None, ...] = ()
    clock_adjusted: tuple[str, ...] = ()
    context_seen: int | None = None  # the version that was present, where the policy looks at it
    budget_ms: int = 0
    deadline_ms: int = 0  # of this attempt
    final_deadline_ms: int = 0  # of all attempts
    data: bytes | None = None  # the decision, where the value is an envelope around it
    exposure_seen: dict[str, ExposureSeen] | None = None  # by the limit's name, where one was looked at

    @property
    def value(self) -> bytes | None:
        return self.fetched.values[self.index]

    @property
    def decision_text(self) -> bytes:
        """The decision as it came."""
        return self.data or self.value or b""

    @property
    def ends_ms(self) -> int:
        """When acting on it becomes too late: the earlier of its own and its final deadline."""
        return min(self.deadline_ms, self.final_deadline_ms)

    @property
    def settled(self) -> bool:
        """Whether a stage has said where it goes."""
        return self.refused is not None or self.review_reasons is not None or self.again is not None

    @property
    def attempt(self) -> int:
        return self.decision.attempt if type(self.decision) is Successor else 1


class Sent(msgspec.Struct, frozen=True, gc=False):
    """One record to send; it goes to the partition number that its input came from."""

    output: Output
    key: bytes | None
    value: bytes
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """What a batch became: exactly one record for each input record, in the input's order; `samples` beside."""

    records: list[Sent]
    remembered: Remembered
    gated_at_ms: int
    earliest_deadline_ms: int | None  # of the commands in it; None without any
    counts: dict[tuple[str, Output, str], int]  # (workflow or "", output, reason)
    observed: Observed = field(compare=False)  # for the metrics, once it is committed
    samples: list[Sent] = field(default_factory=list)  # commands shown to a person afterwards; they answer nothing


@dataclass(slots=True)
class Remembered:
    """What the partition will know once the batch is committed: entries of its rings, by digest, packed."""

    entries: dict[bytes, bytes] = field(default_factory=dict)  # of the window
    latest: dict[bytes, bytes] = field(default_factory=dict)  # of superseding
    exposure: dict[int, dict[bytes, bytes]] = field(default_factory=dict)  # accounts, by window_ms
    demands: dict[bytes, Demand] = field(default_factory=dict, compare=False)  # for leases, by account
    exposed: dict[tuple[str, str, str], int] = field(default_factory=dict, compare=False)  # (what, workflow, limit)
    learnt: Learnt | None = field(default=None, compare=False)  # of the flow of records, by admission
