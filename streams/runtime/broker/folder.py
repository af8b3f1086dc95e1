"""A broker's data folder: only one that is new, empty or ours is touched, and only by one broker at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from streams.errors import ConfigurationError

MARKER = "sluicegate-broker"
MARKER_TEXT = "The data folder of a `sluicegate broker`. Remove the whole folder to begin anew; it holds your topics.\n"


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """The claim is a lock on the marker; whoever inherits the yielded descriptor goes on holding it."""
    with _locked_marker(folder) as lock:
        yield lock.fileno()


def _locked_marker(folder: Path) -> TextIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / MARKER
        if not marker.exists():
            _refuse_unless_empty(folder)
            marker.write_text(MARKER_TEXT, encoding="utf-8")
        lock = marker.open("r+", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot use the data folder {folder}: {error.strerror or error}; give one that can be written with --data"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConfigurationError(
            f"the data folder {folder} is in use by another broker; stop that one, or give another with --data"
        ) from error
    return lock


def _refuse_unless_empty(folder: Path) -> None:
    if any(folder.iterdir()):
        raise ConfigurationError(
            f"the data folder {folder} is not empty and was not made by `sluicegate broker`; nothing in it was "
            "touched. Give an empty or a new folder with --data"
        )
