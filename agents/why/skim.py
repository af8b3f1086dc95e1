"""Reading past what does not matter: a fetched answer in which none of the texts stands is never taken apart.

An answer holds some thousands of records, and hardly any of them is about the decision that is asked for. Looking for
a text in its bytes costs a hundredth of making records of it. What is compressed has to be opened to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from streams.runtime.frames import Frame, Head
from streams.runtime.records import Kept, Lenient


class Skimming(Lenient):
    """The records of one partition in one answer, or none where the answer holds none of the texts."""

    texts: ClassVar[Sequence[bytes] | None] = None  # None: everything is read

    def __init__(self, tp: Any, records: Kept, *rest: Any) -> None:
        super().__init__(tp, records, *rest)
        self._passes = self.texts is not None and not any(text in records.data for text in self.texts)

    def _is_wanted(self, frame: Frame, head: Head) -> bool:
        return super()._is_wanted(frame, head) and (not self._passes or head.codec != 0 or frame.format < 2)


@contextmanager
def skimming(texts: Sequence[bytes] | None) -> Iterator[None]:
    """Within it, consumers of this process that read with `Skimming` look for these texts only."""
    Skimming.texts = texts
    try:
        yield
    finally:
        Skimming.texts = None
