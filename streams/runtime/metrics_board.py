"""The board: memory that a child writes its metrics to and its supervisor reads, in no file and over no connection.

The supervisor makes it before the child's first life and hands it to each life. So a child that hangs cannot hang a
scrape, one that is killed loses nothing that it counted, and the next life goes on counting where the last one ended:
counters never fall. Nobody waits for anybody: each number is one aligned 8-byte store, a new series is written before
the length that makes it visible, and the status carries a checksum.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from streams.foreign import own_json
from streams.metric_table import FAMILIES
from streams.metrics import Series

FD_VARIABLE = "SLUICEGATE_METRICS_FD"  # which descriptor of the child is the board
STATUS_BYTES_MAX = 256 * 1024  # some thousand partitions, each waiting for something
NAMES_BYTES_MAX = 16 * 1024 * 1024  # WORKFLOWS_MAX workflows; only what is used takes memory
NUMBERS_MAX = 1 << 20

_FORMAT = struct.Struct("<Q")
_LENGTH = struct.Struct("<Q")
_BEAT = struct.Struct("<d")
_STATUS = struct.Struct("<II")  # length, checksum
_LENGTH_AT, _BEAT_AT, _STATUS_AT = 8, 16, 24
_NAMES_AT = _STATUS_AT + _STATUS.size + STATUS_BYTES_MAX
_NUMBERS_AT = _NAMES_AT + NAMES_BYTES_MAX
_SIZE = _NUMBERS_AT + 8 * NUMBERS_MAX
_THIS_FORMAT = 1

Labels = tuple[str, ...]


class Board:
    """One role's numbers by family and labels. One process writes; any may read."""

    def __init__(self, memory: mmap.mmap, fd: int = -1) -> None:
        self.fd = fd
        self._memory = memory
        self._numbers = np.frombuffer(memory, dtype=np.float64, offset=_NUMBERS_AT)
        self._series: dict[tuple[str, Labels], NDArray[np.float64]] = {}
        self._names_read = 0
        self._used = 0

    @classmethod
    def make(cls) -> Board:
        """A new one, that can be handed to a child as `fd`."""
        fd = os.memfd_create("sluicegate-metrics") if hasattr(os, "memfd_create") else _unnamed_file()
        os.ftruncate(fd, _SIZE)
        memory = mmap.mmap(fd, _SIZE)
        _FORMAT.pack_into(memory, 0, _THIS_FORMAT)
        return cls(memory, fd)

    @classmethod
    def given(cls) -> Board:
        """The supervisor's, if it gave one that this version can write; else one that nobody reads."""
        fd = os.environ.pop(FD_VARIABLE, None)  # not for children of this one
        if fd is not None:
            memory = mmap.mmap(int(fd), _SIZE)
            if _FORMAT.unpack_from(memory)[0] == _THIS_FORMAT:
                board = cls(memory)
                board._forget_gauges()
                return board
        return cls.private()

    @classmethod
    def private(cls) -> Board:
        """One that no other process sees."""
        return cls(mmap.mmap(-1, _SIZE))

    # the child's side

    def numbers(self, name: str, labels: Labels = ()) -> NDArray[np.float64]:
        """The numbers of a series, to be changed in place: of a histogram its bins and the sum. Made if it is new."""
        found = self._series.get((name, labels))
        if found is not None:
            return found
        width = FAMILIES[name].width
        line = orjson.dumps([name, labels, self._used, width]) + b"\n"
        at = _NAMES_AT + self._names_read
        if self._used + width > NUMBERS_MAX or self._names_read + len(line) > NAMES_BYTES_MAX:
            return np.zeros(width)  # more than anybody's policies make: not shown, and no reason to stop
        self._memory[at : at + len(line)] = line
        self._add(name, labels, self._used, width)
        self._names_read += len(line)
        _LENGTH.pack_into(self._memory, _LENGTH_AT, self._names_read)
        return self._series[name, labels]

    def report(self, status: dict[str, Any]) -> None:
        """Says what the child waits for, and that it lives."""
        text = orjson.dumps(status)
        if len(text) > STATUS_BYTES_MAX:
            text = orjson.dumps({**status, "waits": status["waits"][:1]})
        whole = _STATUS.pack(len(text), zlib.crc32(text)) + text
        self._memory[_STATUS_AT : _STATUS_AT + len(whole)] = whole
        _BEAT.pack_into(self._memory, _BEAT_AT, time.monotonic())  # the same clock in all processes

    def _forget_gauges(self) -> None:
        """What an earlier life owned is not owned; what it counted was counted."""
        self._read_names()
        for (name, _), numbers in self._series.items():
            if FAMILIES[name].kind == "gauge":
                numbers[:] = np.nan

    # the supervisor's side

    def read(self) -> Series:
        """A copy of all series; gauges that have no value now are left out."""
        self._read_names()
        return {key: numbers.copy() for key, numbers in list(self._series.items()) if not np.isnan(numbers[0])}

    def status(self) -> dict[str, Any] | None:
        """What the child said last; None if it has said nothing in this life, or died while it spoke."""
        for _ in range(3):
            length, checksum = _STATUS.unpack_from(self._memory, _STATUS_AT)
            at = _STATUS_AT + _STATUS.size
            text = self._memory[at : at + min(length, STATUS_BYTES_MAX)]
            if length and zlib.crc32(text) == checksum:
                status: dict[str, Any] = own_json(text)
                return status
        return None

    @property
    def beat(self) -> float:
        """When the child said something last, another number each time; 0 if it has not in this life."""
        (beat,) = _BEAT.unpack_from(self._memory, _BEAT_AT)
        return float(beat)

    def silent_s(self) -> float:
        """Seconds since the child said something; infinite if it has not in this life."""
        return max(0.0, time.monotonic() - beat) if (beat := self.beat) else float("inf")

    def begin_life(self) -> None:
        """Forgets what the last life said of itself, not what it counted."""
        self._memory[_BEAT_AT : _STATUS_AT + _STATUS.size] = bytes(_BEAT.size + _STATUS.size)

    # both

    def _read_names(self) -> None:
        (length,) = _LENGTH.unpack_from(self._memory, _LENGTH_AT)
        for line in self._new_names(length):
            name, labels, at, width = own_json(line)
            self._add(name, tuple(labels), at, width)
        self._names_read = length

    def _new_names(self, length: int) -> Iterator[bytes]:
        return iter(self._memory[_NAMES_AT + self._names_read : _NAMES_AT + length].splitlines())

    def _add(self, name: str, labels: Labels, at: int, width: int) -> None:
        self._used = at + width
        if name in FAMILIES and FAMILIES[name].width == width:  # else of another version
            self._series[name, labels] = self._numbers[at : at + width]


def _unnamed_file() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
