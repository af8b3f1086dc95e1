"""The live view on a terminal: a few frames a second below the lines of what happened, gone when the report comes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live

from agents.demo.flow import Flow
from agents.demo.tally import Tally
from agents.demo.view import Screen, frame, totals
from agents.demo.watch import Lines, Moment, Watch

FRAME_EVERY_S = 0.25  # a frame costs some milliseconds of the process that also sends


@dataclass(slots=True)
class Picture:
    """A Watch that draws on `console`; where a window is made too small afterwards, the frame is cut off."""

    console: Console
    clock: Callable[[], float] = time.monotonic
    _flow: Flow = field(default_factory=Flow)
    _live: Live | None = None
    _next_at: float = 0.0
    _scene: str = ""

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def look(self, moment: Moment, tally: Tally) -> None:
        self._flow.note(moment.second, totals(moment, tally))
        if self.clock() < self._next_at and moment.scene == self._scene:
            return
        self._next_at, self._scene = self.clock() + FRAME_EVERY_S, moment.scene
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False, transient=True, redirect_stderr=False)
            self._live.start()
        self._live.update(frame(moment, tally, self._flow, screen(self.console)), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def screen(console: Console) -> Screen:
    return Screen(console.width, console.height)


def watch_on_stdout(write: Callable[[str], None]) -> Watch:
    """A live view where stdout is a terminal that can show one; else lines through `write`."""
    console = Console()
    shows = sys.stdout.isatty() and not console.is_dumb_terminal and not os.environ.get("CI")
    encodes = console.encoding.lower().startswith("utf")
    if shows and encodes and screen(console).is_large_enough:
        return Picture(console)
    return Lines(write)
