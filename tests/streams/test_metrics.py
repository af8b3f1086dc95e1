"""The table of metrics, what a batch adds, and how the series of several processes become one."""

from __future__ import annotations

import re

import numpy as np
import pytest

from schemas.reasons import EXCEPTION_REASONS
from streams.metric_table import BUILD_INFO, FAMILIES, LATENCY_EDGES_S, RATIO_EDGES, ROLE_FAMILIES
from streams.metrics import UNKNOWN, histogram, label_of, merge, reason_label

EVERY = [*FAMILIES.values(), *ROLE_FAMILIES.values(), BUILD_INFO]


@pytest.mark.parametrize("family", EVERY, ids=lambda family: family.name)
def test_names_and_labels_are_as_prometheus_has_them(family: object) -> None:
    (one,) = [known for known in EVERY if known is family]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", one.name)
    assert not one.name.endswith(("_total", "_ms", "_count", "_sum", "_bucket"))
    assert one.about.endswith(".")
    assert "role" not in one.labels or one.name in ROLE_FAMILIES
    assert bool(one.edges) == (one.kind == "histogram")
    assert list(one.edges) == sorted(set(one.edges))
    assert one.kind == "gauge" or one.merge == "sum"


def test_a_bin_goes_up_to_and_with_its_edge() -> None:
    values = np.array([0.0, 1.0, 1.5, 2.0, 9.0])
    found = histogram(values, np.zeros(5, dtype=np.int64), 1, (1.0, 2.0))
    assert found.counts.tolist() == [[2, 2, 1]]
    assert found.sums.tolist() == [13.5]


def test_rows_are_kept_apart_and_an_empty_batch_adds_nothing() -> None:
    found = histogram(np.array([0.5, 3.0]), np.array([2, 0]), 3, (1.0, 2.0))
    assert found.counts.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    nothing = histogram(np.array([]), np.array([], dtype=np.int64), 0, (1.0,))
    assert nothing.counts.shape == (0, 2)


def test_the_budget_itself_is_an_edge() -> None:
    assert 1.0 in RATIO_EDGES
    assert LATENCY_EDGES_S[0] == 0.001


def test_labels_come_from_closed_lists() -> None:
    known = frozenset({"billing"})
    assert label_of("billing", known) == "billing"
    assert label_of("", known) == label_of("anything", known) == UNKNOWN
    assert all(reason_label(reason) == reason for reason in EXCEPTION_REASONS)
    assert reason_label("made.up") == UNKNOWN


def test_counters_and_histograms_add_up_and_gauges_follow_their_rule() -> None:
    counter = ("dispositions", ("billing", "commands", "within_bounds"))
    bins = ("batch_records", ())
    width = FAMILIES["batch_records"].width
    one = {counter: np.array([2.0]), bins: np.ones(width), ("lag_seconds", ("0",)): np.array([5.0])}
    other = {counter: np.array([3.0]), bins: np.ones(width), ("lag_seconds", ("0",)): np.array([1.0])}
    merged = merge([("gate", one), ("gate", other), ("reviews", one)])
    assert merged["dispositions", ("gate", *counter[1])].tolist() == [5.0]
    assert merged["dispositions", ("reviews", *counter[1])].tolist() == [2.0]
    assert merged["batch_records", ("gate",)].tolist() == [2.0] * width
    assert merged["lag_seconds", ("gate", "0")].tolist() == [5.0]
    assert one[counter].tolist() == [2.0], "what is merged is not changed"
    ready = ROLE_FAMILIES["ready"]
    assert ready.together(np.array([1.0]), np.array([0.0])).tolist() == [0.0], "the worst of them"
