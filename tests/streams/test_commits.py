"""What is kept back for a transaction follows what transactions take, and ends what comes too late again and again."""

from __future__ import annotations

from streams.commits import AT_MOST_MS, FIRST_MS, KEPT, Commits


def test_it_is_the_usual_time_of_the_last_ones() -> None:
    commits = Commits()
    assert commits.kept_back_ms == FIRST_MS + 1
    for ms in [10.0] * 95 + [400.0] * 5:
        commits.took(ms)
    assert commits.kept_back_ms == 11, "one in twenty is decided again instead"
    for _ in range(KEPT):
        commits.took(80.0)
    assert commits.kept_back_ms == 81


def test_a_broker_that_stalls_ends_nothing_that_has_more_time() -> None:
    commits = Commits()
    for _ in range(KEPT):
        commits.took(15_000.0)
    assert commits.kept_back_ms == AT_MOST_MS + 1


def test_after_one_that_was_late_more_is_kept_back_until_one_is_committed() -> None:
    commits = Commits()
    commits.took(10.0)
    commits.was_late(3_000.0)
    assert commits.kept_back_ms == 6_001
    commits.took(2_000.0)
    assert commits.kept_back_ms <= AT_MOST_MS + 1
