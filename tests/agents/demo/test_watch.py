"""Lines come once a second; the live view comes a few times a second and leaves the terminal as it was."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from agents.demo.live import FRAME_EVERY_S, Picture, watch_on_stdout
from agents.demo.tally import Tally
from agents.demo.watch import Lines, Moment

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


def moment(second: int, scene: str = "2019-01") -> Moment:
    return Moment(second, second * 200, 6000, scene)


def test_a_line_for_each_second_that_began() -> None:
    written: list[str] = []
    lines = Lines(written.append)
    tally = Tally()
    tally.kinds["commands"], tally.families["stale"], tally.receipts.counts["executed"] = 7, 2, 5
    for second in (0, 0, 1, 1, 3):
        lines.look(moment(second), tally)
    assert written == [
        "   1 s  sent   200  commands     7  reviews     0  exceptions     0 (stale 2)  receipts     5  2019-01",
        "   3 s  sent   600  commands     7  reviews     0  exceptions     0 (stale 2)  receipts     5  2019-01",
    ]


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def picture() -> tuple[Picture, Clock, io.StringIO]:
    screen, clock = io.StringIO(), Clock()
    return Picture(Console(file=screen, width=80, height=24, force_terminal=True), clock), clock, screen


def test_frames_are_drawn_when_due_and_at_once_when_the_scene_changes() -> None:
    drawing, clock, screen = picture()

    def frames() -> int:
        return len(re.findall("acted on .*USD", screen.getvalue()))

    drawing.look(moment(0), Tally())
    drawing.look(moment(0), Tally())
    first = frames()
    clock.now_s += FRAME_EVERY_S
    drawing.look(moment(0), Tally())
    second = frames()
    drawing.look(moment(0, "the audit reads"), Tally())
    assert (first, second, frames()) == (1, 2, 3)
    drawing.close()


def test_the_cursor_is_given_back_and_what_happened_stays_above_the_frame() -> None:
    drawing, _, screen = picture()
    drawing.say("[begins]")
    drawing.look(moment(1), Tally())
    drawing.say("the gate answers")
    assert screen.getvalue().count(HIDE_CURSOR) == 1
    drawing.close()
    drawing.close()
    shown = screen.getvalue()
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)
    assert shown.startswith("[begins]\n")
    assert "the gate answers\n" in shown


def test_what_is_no_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("CI", raising=False)
    assert isinstance(watch_on_stdout(print), Lines)
