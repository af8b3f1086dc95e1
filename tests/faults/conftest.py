"""A fleet on fresh topics, ended whatever happens, and a place to print what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.runtime.broker import Broker
from tests.faults.fleet import Fleet

Report = Callable[[str], None]


@pytest.fixture
def fleet(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(kafka.bootstrap, prefix, tmp_path)
    yield made
    made.end()


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Prints a line that is seen also when the test is green."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", flush=True)

    return say
