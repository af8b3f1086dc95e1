"""The oracle is right; and in virtual time: nine tenths of its value, a queue that recovers, a steady share."""

from __future__ import annotations

import random
from xml.etree import ElementTree

import pytest

from tests.bench.oracle import best
from tests.bench.overload import Phase, Run, by_second, run, traffic, wobble
from tests.bench.overload_plot import Point, plot

CAPACITY_PER_S = 100
BUDGET_MS = 10_000


def overload(*phases: tuple[float, float], sheds: bool = True) -> Run:
    shape = [Phase(seconds, per_s * CAPACITY_PER_S) for seconds, per_s in phases]
    return run(traffic(shape, BUDGET_MS), BUDGET_MS, CAPACITY_PER_S, sheds=sheds)


def by_matching(spans: list[tuple[int, int]], values: list[int], size: int, count: int) -> int:
    """The same as the oracle by plain augmenting paths: every way to make room is tried."""
    slots: list[list[int]] = [[] for _ in range(count)]

    def place(job: int, tried: set[int]) -> bool:
        for slot in set(range(spans[job][0], spans[job][1] + 1)) - tried:
            tried.add(slot)
            if len(slots[slot]) < size:
                slots[slot].append(job)
                return True
            for other in [*slots[slot]]:
                if place(other, tried):
                    slots[slot].remove(other)
                    slots[slot].append(job)
                    return True
        return False

    return sum(values[job] for job in sorted(range(len(values)), key=lambda one: -values[one]) if place(job, set()))


@pytest.mark.parametrize("seed", range(100))
def test_the_oracle_finds_what_trying_every_way_finds(seed: int) -> None:
    rnd = random.Random(seed)
    size, count = rnd.randint(1, 3), rnd.randint(2, 9)
    firsts = [rnd.randrange(count) for _ in range(rnd.randint(1, 40))]
    spans = [(first, rnd.randrange(first, count)) for first in firsts]
    values = [rnd.randint(1, 30) for _ in spans]
    arrivals, deadlines = [first * 10 for first, _ in spans], [last * 10 + 10 for _, last in spans]
    assert best(arrivals, deadlines, values, size * 100, slot_ms=10) == by_matching(spans, values, size, count)


def test_nine_tenths_of_the_oracles_value_and_a_queue_that_recovers_by_itself() -> None:
    found = overload((40, 3))
    assert found.ratio >= 0.9
    assert found.late == 0
    assert max(tick.age_ms for tick in found.ticks) < BUDGET_MS / 2
    assert overload((40, 3), sheds=False).ratio < 0.5


def test_a_step_up_and_down_is_followed_without_swinging() -> None:
    found = overload((10, 0.5), (20, 3), (20, 0.5))
    points = by_second(found.ticks)
    assert found.ratio >= 0.9
    assert wobble(found.ticks) < 0.1
    assert all(point.share == 1 and point.age_s < 0.5 for point in points if point.at_s < 10 or point.at_s > 40)
    held = [point.age_s for point in points if 22 < point.at_s < 30]
    assert max(held) - min(held) < 0.5


def test_a_burst_is_absorbed() -> None:
    found = overload((5, 0.5), (1, 3), (5, 0.5))
    assert (found.shed, found.late, found.ratio) == (0, 0, 1)


def test_the_picture_is_an_svg_with_a_line_for_each() -> None:
    drawn = plot("a < b", [Point(0, 0, 1), Point(1, 2, 0.5)])
    root = ElementTree.fromstring(drawn)
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 2]
