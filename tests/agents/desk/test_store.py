"""The store of reviews where it is damaged, and where there is no place for it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from agents.desk.follow import default_store, emptied
from streams.errors import ConfigurationError
from streams.runtime.folders import user_folder
from streams.runtime.store.engine import Damaged
from streams.runtime.store.reviews import ReviewStore, Wanted
from tests.streams.runtime.store.records import PREFIX, told_by_all_topics


def test_a_file_that_is_no_database_is_told_from_one_that_cannot_be_reached_and_rebuild_sets_it_aside(
    tmp_path: Path,
) -> None:
    file = tmp_path / "reviews.db"
    file.write_bytes(b"this is no database, and it is longer than a header of one " * 100)
    with pytest.raises(Damaged, match="`sluicegate reviews rebuild` makes it anew, or name another with --store"):
        ReviewStore(f"sqlite:///{file}")
    with closing(emptied(f"sqlite:///{file}", "cluster", PREFIX)) as store:
        assert store.reviews(Wanted(ended=True)) == ([], 0)
    assert (tmp_path / "reviews.db.damaged").read_bytes().startswith(b"this is no database")


def test_a_database_whose_pages_are_torn_is_set_aside_too(tmp_path: Path) -> None:
    file = tmp_path / "reviews.db"
    with closing(ReviewStore(f"sqlite:///{file}")) as store:
        store.bind("cluster", PREFIX)
        store.take(0, told_by_all_topics(), {})
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with closing(emptied(f"sqlite:///{file}", "cluster", PREFIX)) as store:
        assert store.reviews(Wanted(ended=True)) == ([], 0)
    assert (tmp_path / "reviews.db.damaged").exists()


def test_a_user_without_a_home_is_told_what_else_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with pytest.raises(ConfigurationError, match=r"has no home folder.*--store.*XDG_DATA_HOME=/var/tmp/sluicegate"):
        default_store("cluster", PREFIX)
    monkeypatch.setenv("XDG_DATA_HOME", "/srv/data")
    assert default_store("c", "p.") == "sqlite:////srv/data/sluicegate/reviews-c-p.db"
    assert user_folder("XDG_DATA_HOME", ".local/share", "") == Path("/srv/data")
