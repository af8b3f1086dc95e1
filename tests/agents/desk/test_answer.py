"""What is said to a person about a verdict, and what is not sent at all."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.desk.answer import action_of, answerable, named, told
from agents.desk.view import listed, whole
from streams.errors import CheckFailed, ConfigurationError
from streams.runtime.store.reviews import ReviewStore, Wanted
from tests.streams.runtime.store.records import AT_MS, PREFIX, identifier, told_by_all_topics


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with closing(ReviewStore(f"sqlite:///{tmp_path / 'reviews.db'}")) as opened:
        opened.bind("cluster", PREFIX)
        opened.take(0, told_by_all_topics(), {})
        yield opened


def line(store: ReviewStore, n: int, verdict: int) -> tuple[bool | None, str]:
    said = store.verdicts(identifier(n))[verdict]
    answered = told(said, store.named(identifier(n))[0])
    return answered.accepted, answered.line


def test_each_answer_is_one_line(store: ReviewStore) -> None:
    assert line(store, 1, 1) == (False, "the verdict was refused, verdict.repeated: it is verdict.repeated")
    assert line(store, 1, 2)[0] is True and "it is the command c-" in line(store, 1, 2)[1]
    assert line(store, 2, 0)[0] is True and "review.rejected" in line(store, 2, 0)[1]
    assert line(store, 4, 0)[0] is True and "asked about again" in line(store, 4, 0)[1]
    assert line(store, 5, 0) == (True, "accepted: 1 of 2 have approved, the review goes on")


def test_an_ended_or_a_changed_review_is_not_answered(store: ReviewStore) -> None:
    with pytest.raises(CheckFailed, match="has ended by ben: approved"):
        answerable(named(store, identifier(1)), None)
    with pytest.raises(CheckFailed, match="it was modified since"):
        answerable(named(store, identifier(5)), "sha256:0123456789")
    assert answerable(named(store, identifier(5)), None).review_id == identifier(5)


def test_an_action_is_json_byte_for_byte() -> None:
    assert bytes(action_of(b' {"a": 1.50 }\n', "x")) == b'{"a": 1.50 }'
    with pytest.raises(ConfigurationError, match="x is not JSON"):
        action_of(b"{", "x")


def test_the_list_and_one_review_are_drawn_without_markup_or_control_characters(store: ReviewStore) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    rows, count = store.reviews(Wanted(ended=True))
    console.print(listed(rows, count, AT_MS))
    for row in rows:
        said, facts = store.verdicts(row["review_id"]), store.facts(row["review_id"])
        console.print(whole(store.named(row["review_id"])[0], said, facts, AT_MS))
    text = console.export_text()
    for part in ("1/2", "approved by ana", "escalated", "review.expired", "as it came", "modified"):
        assert part in text, part
    assert "mallory (unsigned) says approve: rejected (verdict.unsigned" in text
