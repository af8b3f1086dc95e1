"""The memory of one partition number of the gate: what it has decided, and what it knows of the world."""

from __future__ import annotations

from collections.abc import Mapping

from streams.batch import Remembered
from streams.context import NO_CONTEXT, Contexts
from streams.exposure import Exposures
from streams.shedding import Admission
from streams.superseding import Latest
from streams.window import Window

WINDOW, LATEST, EXPOSURE = "window/", "latest/", "exposure/"  # its stores in the changelog


class Memory:
    """`window`, `latest` and `exposure` go to the changelog; `contexts` and `allowances_ms` are kept up by others.

    `allowances_ms`, by policy index: what is kept back for executors, where it is measured. `admission` chooses what is
    shed under overload, None: nothing; what it has learnt of the flow is not kept for the next owner, who learns anew.
    """

    def __init__(
        self,
        window: Window | None = None,
        contexts: Contexts = NO_CONTEXT,
        admission: Admission | None = None,
        exposure: Exposures | None = None,
    ) -> None:
        self.window = Window() if window is None else window
        self.latest = Latest()
        self.exposure = Exposures() if exposure is None else exposure
        self.contexts = contexts
        self.admission = admission
        self.allowances_ms: dict[int, int] = {}

    def commit(self, new: Remembered, now_ms: int) -> dict[str, bytes]:
        """Keeps what a batch adds, once it is final; the records (slot -> value) for the batch's own transaction."""
        if self.admission is not None and new.learnt is not None:
            self.admission.learnt = new.learnt
        changes = {WINDOW: self.window.commit(new, now_ms), LATEST: self.latest.commit(new, now_ms)}
        slots = {f"{store}{change.slot}": change.value for store, change in changes.items() if change}
        if new.exposure:
            slots |= {EXPOSURE + slot: value for slot, value in self.exposure.commit(new, now_ms).items()}
        return slots

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        """Takes over what an earlier owner committed. Raises ValueError on what it cannot read."""
        for store, ring in ((WINDOW, self.window), (LATEST, self.latest)):
            ring.restore((value for slot, value in changelog.items() if slot.startswith(store)), now_ms)
        exposure = {slot.removeprefix(EXPOSURE): one for slot, one in changelog.items() if slot.startswith(EXPOSURE)}
        self.exposure.restore(exposure, now_ms)
