"""Which data folders are taken, and which are left as they were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.errors import ConfigurationError
from streams.runtime.broker.folder import MARKER, MARKER_TEXT, DataFolder, Made


@contextmanager
def claimed(path: Path, kafka: str = "4.0.2", nodes: int = 1) -> Iterator[Made]:
    folder = DataFolder(path)
    yield folder.claim(kafka, nodes)[1]
    folder.release()


def everything_in(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


def test_a_folder_says_with_what_it_was_made_and_is_taken_again_by_the_same(tmp_path: Path) -> None:
    with claimed(tmp_path / "data", "4.0.2", 3) as made:
        assert (made.kafka, made.nodes) == ("4.0.2", 3)
        assert re.fullmatch(r"[A-Za-z0-9_]{22}", made.cluster_id)
        assert Made.from_text((tmp_path / "data" / MARKER).read_text()) == made
    with claimed(tmp_path / "data", "4.0.2", 3) as again:
        assert again == made


def test_a_claim_holds_until_it_is_released_and_may_be_asked_for_again(tmp_path: Path) -> None:
    one = DataFolder(tmp_path)
    assert one.claim("4.0.2", 1) == one.claim("4.0.2", 1)
    with pytest.raises(ConfigurationError, match="in use by another broker"), claimed(tmp_path):
        pass
    one.release()
    with claimed(tmp_path):
        pass


@pytest.mark.parametrize(
    ("text", "kafka", "nodes", "message"),
    [
        (
            MARKER_TEXT,
            "4.0.2",
            1,
            r"made by Apache Kafka 4\.3\.1 with 1 node and cannot be used by Apache Kafka 4\.0\.2 ",
        ),
        (Made("4.0.2", 1, "x").as_text(), "4.1.0", 1, r"Apache Kafka 4\.0\.2 with 1 node and .* 4\.1\.0 with 1 node;"),
        (Made("4.0.2", 1, "x").as_text(), "4.0.2", 3, r"with 1 node and .* with 3 nodes;.* or ask .* --nodes 1,"),
        (Made("4.0.2", 3, "x").as_text(), "4.0.2", 1, r"with 3 nodes and .* with 1 node;.* or ask .* --nodes 3,"),
    ],
    ids=["before versions stood in it", "another version", "one node, not three", "three nodes, not one"],
)
def test_a_folder_made_otherwise_is_refused_and_left_as_it_was(
    tmp_path: Path, text: str, kafka: str, nodes: int, message: str
) -> None:
    (tmp_path / MARKER).write_text(text)
    (tmp_path / "kafka.log").write_text("as it was")
    before = everything_in(tmp_path)
    folder = DataFolder(tmp_path)
    with pytest.raises(ConfigurationError, match=message) as refused:
        folder.claim(kafka, nodes)
    assert "nothing in it was touched" in str(refused.value)
    assert everything_in(tmp_path) == before
    with claimed(tmp_path, Made.from_text(text).kafka, Made.from_text(text).nodes):
        pass  # the refusal let go of it


def test_a_foreign_folder_is_refused_and_no_marker_is_left_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    before = everything_in(tmp_path)
    with pytest.raises(ConfigurationError, match="was not made by `sluicegate broker`"):
        DataFolder(tmp_path).claim("4.0.2", 1)
    assert everything_in(tmp_path) == before


def test_only_a_temporary_folder_is_removed(tmp_path: Path) -> None:
    given, temporary = DataFolder(tmp_path), DataFolder(None)
    path = temporary.path
    assert path.is_dir()
    given.remove()
    temporary.remove()
    assert tmp_path.is_dir()
    assert not path.exists()
