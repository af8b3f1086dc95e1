"""The board: what one process writes another reads, over lives, kills and versions."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import numpy as np
import pytest

from streams.metric_table import FAMILIES
from streams.runtime import metrics_board
from streams.runtime.metrics_board import FD_VARIABLE, Board

LIFE = """
import os, signal, sys
from streams.runtime.metrics_board import Board
board = Board.given()
board.numbers("hand_overs")[0] += 1
board.numbers("decisions", ("decisions",))[0] += 10
board.numbers("window_ids", (sys.argv[1],))[0] = 5
board.numbers("transaction_seconds")[3] += 1
board.report({"ready": False, "partitions": [1], "waits": [{"for": "n\\u00e4chste"}]})
assert "SLUICEGATE_METRICS_FD" not in os.environ, "it is not for children of this one"
os.kill(os.getpid(), signal.SIGKILL)
"""


def live(board: Board, partition: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIFE, partition],
        env={**os.environ, FD_VARIABLE: str(board.fd)},
        pass_fds=(board.fd,),
        timeout=50,
        check=False,
    )
    assert done.returncode == -9


def test_what_lives_that_were_killed_counted_is_there_and_adds_up() -> None:
    board = Board.make()
    for life in (1, 2, 3):
        board.begin_life()
        assert board.status() is None
        assert board.silent_s() == float("inf")
        live(board, str(life))
        found = board.read()
        assert found["decisions", ("decisions",)].tolist() == [10.0 * life]
        assert found["transaction_seconds", ()][3] == life
        assert [labels for name, labels in found if name == "window_ids"] == [(str(life),)], "gauges are of this life"
    assert board.status() == {"ready": False, "partitions": [1], "waits": [{"for": "nächste"}]}
    assert 0 <= board.silent_s() < 60


def test_what_is_read_is_a_copy() -> None:
    board = Board.private()
    board.numbers("hand_overs")[0] = 3
    read = board.read()
    board.numbers("hand_overs")[0] = 4
    assert read["hand_overs", ()].tolist() == [3.0]


def test_a_gauge_without_a_value_is_not_shown() -> None:
    board = Board.private()
    board.numbers("lag_seconds", ("0",))[0] = np.nan
    assert board.read() == {}


def test_a_torn_status_is_none() -> None:
    board = Board.private()
    board.report({"ready": True, "waits": []})
    at = metrics_board._STATUS_AT + metrics_board._STATUS.size
    board._memory[at : at + 1] = b"!"
    assert board.status() is None


def test_a_status_that_is_too_long_says_the_first_thing() -> None:
    board = Board.private()
    waits = [{"partition": number, "for": "x" * 1_000} for number in range(1_000)]
    board.report({"ready": False, "partitions": [], "waits": waits})
    assert board.status() == {"ready": False, "partitions": [], "waits": waits[:1]}


def test_more_series_than_fit_are_not_shown_and_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_board, "NUMBERS_MAX", FAMILIES["age_budget_ratio"].width + 1)
    board = Board.private()
    for workflow in ("a", "b", "c"):
        board.numbers("age_budget_ratio", (workflow,))[0] += 1
    board.numbers("hand_overs")[0] += 1
    assert set(board.read()) == {("age_budget_ratio", ("a",)), ("hand_overs", ())}


def test_a_board_of_another_format_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Board.make()
    metrics_board._FORMAT.pack_into(made._memory, 0, 99)
    monkeypatch.setenv(FD_VARIABLE, str(made.fd))
    Board.given().numbers("hand_overs")[0] = 1
    assert made.read() == {}


def test_series_of_another_version_are_passed_over() -> None:
    board = Board.make()
    line = b'["of_tomorrow",[],0,1]\n["batch_records",[],1,3]\n'
    board._memory[metrics_board._NAMES_AT : metrics_board._NAMES_AT + len(line)] = line
    metrics_board._LENGTH.pack_into(board._memory, metrics_board._LENGTH_AT, len(line))
    again = Board(mmap.mmap(board.fd, metrics_board._SIZE))
    assert again.read() == {}
    again.numbers("batch_records")[0] = 7
    assert board.read()["batch_records", ()][0] == 7


def test_without_memory_files_an_unnamed_file_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    board = Board.make()
    live(board, "0")
    assert board.read()["hand_overs", ()].tolist() == [1.0]
