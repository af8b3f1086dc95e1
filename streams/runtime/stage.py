"""What a lane asks of the role it works for: decide a batch, and remember in the changelog what must survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from streams.batch import Fetched, Sent
from streams.metrics import Observed


class Fill(NamedTuple):
    """How full a stage's memory is, and how much of what it should still know this batch made it forget."""

    ids: int
    ids_max: int
    evicted: int


class Batch(NamedTuple):
    """What one transaction will hold, beside the offsets."""

    records: Sequence[Sent]
    changelog: Mapping[str, bytes | None]  # `<store>/<slot>` -> value; None takes the slot away
    earliest_deadline_ms: int | None  # past it the batch has to be decided again
    observed: Observed | None = None  # for the metrics, like `fill`
    fill: Fill | None = None
    exposed: Mapping[tuple[str, str, str], int] = MappingProxyType({})  # taken, over or leased; workflow; limit


class Stage(Protocol):
    """The memory and judgement of one partition number. One task at a time uses it; `restore` and `decide` are pure."""

    @property
    def intact(self) -> bool:
        """After `decide` or `prepare` raised: whether it may decide another batch. If not, it is thrown away."""

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        """Takes over what an earlier owner committed. Called once, before the first batch."""

    async def learn(self, goes_on: Callable[[], None]) -> None:
        """Learns what it must know of the world before it may decide; tells `goes_on` while it does.

        Called once, at the end of the hand-over: until then the partition is not open. Raises Failed.
        """

    async def prepare(self, fetched: Sequence[Fetched]) -> None:
        """Does what takes time before a batch can be decided: asks evaluators, keeps to a pace. No transaction is open.

        Bounded by itself; cancelled when the partition is taken away.
        """

    def due_ms(self) -> int | None:
        """When, by the clock, `decide` is to be called even if nothing comes (with no records); None: it need not be.

        Asked every `LOOK_S` where it is not None. A call must move it.
        """

    def decide(self, fetched: Sequence[Fetched], now_ms: int, commit_ms: int = 0) -> Batch:
        """Decides a batch. `commit_ms`: what its transaction will take, kept back of what is left to each decision.

        Then either `committed` is called, or `undone`, or this stage is thrown away and another one restored.
        """

    def committed(self) -> None:
        """The batch that was decided last is committed: what it changed is so from now on."""

    def undone(self) -> bool:
        """The batch that was decided last was not committed, and will be decided again. False: it cannot be undone."""
