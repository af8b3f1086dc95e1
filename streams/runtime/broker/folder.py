"""A data folder: only one that is new, empty or ours is touched, only by one owner at a time, and only by the same
version of Kafka with as many nodes as made it. Kafka upgrades data by itself and cannot go back; and a folder of three
nodes holds three copies of which one alone has no majority.
"""

from __future__ import annotations

import base64
import fcntl
import re
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from streams.errors import ConfigurationError

MARKER = "sluicegate-broker"
MARKER_TEXT = "The data folder of a `sluicegate broker`. Remove the whole folder to begin anew; it holds your topics.\n"


@dataclass(frozen=True)
class Made:
    """What stands in the marker: with what the folder was made, and the id that its nodes share."""

    kafka: str
    nodes: int
    cluster_id: str

    def __str__(self) -> str:
        return f"Apache Kafka {self.kafka} with {self.nodes} node{'s' if self.nodes > 1 else ''}"

    def as_text(self) -> str:
        return f"{MARKER_TEXT}kafka: {self.kafka}\nnodes: {self.nodes}\ncluster: {self.cluster_id}\n"

    @classmethod
    def from_text(cls, text: str) -> Made:
        """A marker that says only what it marks is from before versions stood in it: then it was one node of 4.3.1."""
        said = dict(re.findall(r"^(kafka|nodes|cluster): (\S+)$", text, re.MULTILINE))
        return cls(said.get("kafka", "4.3.1"), int(said.get("nodes", "1")), said.get("cluster", ""))


class DataFolder:
    """The folder that was given, or a temporary one, made when it is first asked for."""

    def __init__(self, given: Path | None) -> None:
        self.temporary = given is None
        self._path = given.absolute() if given else None
        self._claim: TextIO | None = None

    @property
    def path(self) -> Path:
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="sluicegate-broker-"))
        return self._path

    def claim(self, kafka: str, nodes: int) -> tuple[int, Made]:
        """Locks the marker until `release`; whoever inherits the returned descriptor goes on holding it.

        Raises ConfigurationError, with nothing touched, for a folder that is not ours, in use, or made differently.
        """
        claim = self._claim or _locked_marker(self.path)
        try:
            made = _made(claim, self.path, kafka, nodes)
        except BaseException:
            claim.close()
            raise
        self._claim = claim
        return claim.fileno(), made

    def release(self) -> None:
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def remove(self) -> None:
        """Removes a temporary folder; one that was given stays."""
        if self.temporary and self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None


def _locked_marker(folder: Path) -> TextIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / MARKER
        if not marker.exists():
            _refuse_unless_empty(folder)
        lock = marker.open("a+", encoding="utf-8")
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


def _made(marker: TextIO, folder: Path, kafka: str, nodes: int) -> Made:
    """What the marker says; a new one is written. Under the lock, so of two first starts the second reads."""
    marker.seek(0)
    text = marker.read()
    if not text:
        made = Made(kafka, nodes, _new_cluster_id())
        marker.write(made.as_text())
        marker.flush()
        return made
    made = Made.from_text(text)
    if (made.kafka, made.nodes) != (kafka, nodes):
        wanted = Made(kafka, nodes, "")
        again = f", or ask for the same with --nodes {made.nodes}" if made.kafka == kafka else ""
        raise ConfigurationError(
            f"the data folder {folder} was made by {made} and cannot be used by {wanted}; nothing in it was touched. "
            f"Give a new folder with --data{again}, or remove this one if its topics are not needed any more"
        )
    return made


def _refuse_unless_empty(folder: Path) -> None:
    if any(folder.iterdir()):
        raise ConfigurationError(
            f"the data folder {folder} is not empty and was not made by `sluicegate broker`; nothing in it was "
            "touched. Give an empty or a new folder with --data"
        )


def _new_cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=").replace("-", "_")
