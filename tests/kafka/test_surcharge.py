"""The three gates of the README on a week of real trips: the same decisions, and what each gate misbills."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.progress import Progress

from agents.workflows.billing.compare import run, table
from agents.workflows.billing.surcharge import trips
from streams.runtime.broker import Broker

pytestmark = pytest.mark.kafka


async def test_asking_again_bills_what_the_present_card_says(kafka: Broker, tmp_path: Path) -> None:
    week = [trip for trip in trips() if "2019-02-01" <= trip.started_at.isoformat() < "2019-02-08"]
    found = await run(kafka.bootstrap, tmp_path, week, Progress(disable=True))
    ignored, dropped, again = found.values()
    assert ignored.posted == again.posted == len(week)
    assert ignored.misbilled_minor == 250 * ignored.misbilled_trips > 50_000
    assert dropped.unbilled_minor > 100_000
    assert again.misbilled_minor * 3 < ignored.misbilled_minor
    assert [len(list(column.cells)) for column in table(found).columns] == [3] * 7
