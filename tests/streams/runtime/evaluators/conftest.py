"""Both kinds of evaluator, each with its other side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.streams.runtime.evaluators.endpoint import Endpoint, serving

HOME = Path(__file__).parents[4]


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the functions tell what they did; they are found as a user's would be, through PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", str(HOME))
    monkeypatch.setenv("EVALUATOR_TEST_FOLDER", str(tmp_path))
    return tmp_path
