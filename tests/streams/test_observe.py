"""What a batch adds to the metrics: against the rows themselves, and however many names the input makes up."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from streams.batch import Fetched, Output
from streams.latency import ABSENT, Measured
from streams.metric_table import LATENCY_EDGES_S, RATIO_EDGES
from streams.metrics import STAGES, Observed
from streams.observe import observe
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.stage import Batch
from tests.streams.making import (
    BILLING,
    BUDGET_MS,
    NOW_MS,
    SMALL_AND_SURE,
    decided,
    decision,
    encoded,
    fetched,
    policy,
    row,
)

MILLION = 1_000_000
BATCH = 20_000


def test_ages_ratios_and_stages_of_a_batch() -> None:
    quick = policy([SMALL_AND_SURE], "quick", 1, budget="2s")
    whole = decision(1, observed_at_ms=NOW_MS - 1_000, decided_at_ms=NOW_MS - 400, sent_at_ms=NOW_MS - 50)
    late = decision(2, workflow="quick", observed_at_ms=NOW_MS - 5_000)
    found = decided(fetched([whole, late, whole, b"{"]), (BILLING, quick)).observed
    assert found.workflows == ("billing", "quick")
    assert found.ages.sums.tolist() == [1.0, 5.0]
    assert found.ages.counts.sum(axis=1).tolist() == [1, 1], "the repeat and what cannot be read have no age"
    assert found.ages.counts[0][LATENCY_EDGES_S.index(1)] == 1
    assert found.ratios.counts[1][RATIO_EDGES.index(5.0)] == 1, "5 s of 2 s"
    by_stage = dict(zip(STAGES, found.stages.counts.sum(axis=1).tolist(), strict=True))
    assert by_stage == {"inference": 1, "producer": 1, "transport": 2, "queue": 2, "gate": 2}
    assert found.stages.sums.tolist() == [0.6, 0.35, 0.03 + 4.98, 0.015 * 2, 0.005 * 2]
    assert sum(found.counts.values()) == 4


def test_an_empty_batch_and_one_of_nothing_but_garbage_add_no_age() -> None:
    for batch in (fetched([]), fetched([b"\xff", None])):
        found = decided(batch).observed
        assert found.workflows == ()
        assert found.stages.counts.sum() == 0


def keep(meter: Meter, batch: Fetched, found: Observed) -> None:
    meter.committed([batch], Batch([], {}, None, found), 0.001, 0.001, 1.0)


def answered(board: Board) -> dict[tuple[str, ...], float]:
    return {labels: numbers[0] for (name, labels), numbers in board.read().items() if name == "dispositions"}


def test_thousands_of_workflows_and_models_through_the_whole_path_make_no_series() -> None:
    board = Board.private()
    meter = Meter(board, ["billing"])
    known, unknown = (
        encoded({**decision(), "id": "d-%s", "workflow": workflow, "model": "model-%s", "segment": "segment-%s"})
        for workflow in ("billing", "made-up-%s")
    )
    series: list[int] = []
    for first in range(0, 10_000, 1_000):
        numbers = [b"%d" % number for number in range(first, first + 1_000)]
        batch = fetched([(known, unknown)[n % 2].replace(b"%s", number) for n, number in enumerate(numbers)])
        keep(meter, batch, decided(batch).observed)
        series.append(len(board.read()))
    assert len(set(series)) == 1
    assert answered(board) == {
        ("billing", "commands", "within_bounds"): 5_000,
        ("unknown", "exceptions", "invalid.unknown_workflow"): 5_000,
    }


def test_a_million_workflows_and_reasons_handed_to_it_make_no_series() -> None:
    """Even if the path let them through."""
    board = Board.private()
    meter = Meter(board, ["billing"])
    batch = fetched([decision()])
    about = {"policy": 0, "budget_ms": BUDGET_MS, "stages": (1, 2, None, 4, 5)}
    rows = [replace(row(), age_ms=number, **about) for number in range(BATCH)]
    measured = Measured(np.arange(BATCH), np.tile(np.array([[1], [2], [ABSENT], [4], [5]]), BATCH))
    for first in range(0, MILLION, BATCH):
        names = range(first, first + BATCH)
        counts: dict[tuple[str, Output, str], int] = {(f"made-up-{n}", "exceptions", f"no.{n}"): 1 for n in names}
        keep(meter, batch, observe(rows, measured, [BILLING], counts))
        if first == 0:
            series = board.read().keys()
    assert board.read().keys() == series
    assert answered(board) == {("unknown", "exceptions", "unknown"): MILLION}
    assert np.sum(board.read()["decision_age_seconds", ("billing",)][:-1]) == MILLION
