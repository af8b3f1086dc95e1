"""The memory of one partition number of the gate: what it has decided, and what it knows of the world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from streams import ring
from streams.admission import Learnt
from streams.batch import Remembered
from streams.context import NO_CONTEXT, Contexts
from streams.exposure import Exposures, Taken
from streams.partitioning import ANYWHERE, Home
from streams.shedding import Admission
from streams.superseding import Latest
from streams.window import Window

WINDOW, LATEST, EXPOSURE = "window/", "latest/", "exposure/"  # its stores in the changelog


class Planned(NamedTuple):
    """What a batch makes of the memory, part by part; None: nothing. `slots`: the changelog's records."""

    slots: Mapping[str, bytes]
    window: ring.Planned | None
    latest: ring.Planned | None
    exposure: Taken | None
    learnt: Learnt | None


class Memory:
    """`window`, `latest` and `exposure` go to the changelog; `contexts` and `allowances_ms` are kept up by others.

    `allowances_ms`, by policy index: what is kept back for executors, where it is measured; `commit_ms`: for the
    batch's own transaction. `admission` chooses what is shed under overload, None: nothing; what it has learnt of the
    flow is not kept for the next owner, who learns anew. `home`: which keys belong to this partition number.
    """

    def __init__(
        self,
        window: Window | None = None,
        contexts: Contexts = NO_CONTEXT,
        admission: Admission | None = None,
        exposure: Exposures | None = None,
        home: Home = ANYWHERE,
    ) -> None:
        self.window = Window() if window is None else window
        self.latest = Latest()
        self.exposure = Exposures() if exposure is None else exposure
        self.home = home
        self.contexts = contexts
        self.admission = admission
        self.allowances_ms: dict[int, int] = {}
        self.commit_ms = 0

    def plan(self, new: Remembered, now_ms: int) -> Planned:
        """What a batch adds, with the records (slot -> value) for its own transaction; changes nothing."""
        window, latest = self.window.plan(new, now_ms), self.latest.plan(new, now_ms)
        exposure = self.exposure.plan(new, now_ms) if new.exposure else None
        slots = {
            f"{store}{planned.change.slot}": planned.change.value
            for store, planned in ((WINDOW, window), (LATEST, latest))
            if planned is not None
        }
        if exposure is not None:
            slots |= {EXPOSURE + slot: value for slot, value in exposure.slots.items()}
        return Planned(slots, window, latest, exposure, new.learnt)

    def apply(self, planned: Planned) -> None:
        """Keeps what was planned last, once it is committed; a plan that came to nothing is left lying."""
        if self.admission is not None and planned.learnt is not None:
            self.admission.learnt = planned.learnt
        if planned.window is not None:
            self.window.apply(planned.window)
        if planned.latest is not None:
            self.latest.apply(planned.latest)
        if planned.exposure is not None:
            self.exposure.apply(planned.exposure)

    def commit(self, new: Remembered, now_ms: int) -> Mapping[str, bytes]:
        """Both at once, where nothing can come between; the records, by slot."""
        planned = self.plan(new, now_ms)
        self.apply(planned)
        return planned.slots

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        """Takes over what an earlier owner committed. Raises ValueError on what it cannot read."""
        for store, entries in ((WINDOW, self.window), (LATEST, self.latest)):
            entries.restore((value for slot, value in changelog.items() if slot.startswith(store)), now_ms)
        exposure = {slot.removeprefix(EXPOSURE): one for slot, one in changelog.items() if slot.startswith(EXPOSURE)}
        self.exposure.restore(exposure, now_ms)
