"""What all tests share: one real Kafka a session, started by the first test that asks for it, and a prefix a test."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator

import pytest

from streams.runtime.broker import Broker, BrokerConfig

# workers of several tests, and of several people, share this machine; what tests a metrics port names one
os.environ["SLUICEGATE_METRICS_PORT"] = "0"

# the sources are compiled once, and not by each of the some hundred processes that the tests start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# a shell that starts the tests in the background has SIGINT ignored, and every program of theirs would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# a killed member of a group is noticed after a second, not after six
QUICK_GROUPS = {"group.min.session.timeout.ms": "1000"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test that uses the broker has the marker `kafka`: `-m 'not kafka'` runs the rest."""
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A real broker for the whole session; `.bootstrap` is its address. Tests that stop or kill one start their own."""
    with Broker(BrokerConfig(properties=QUICK_GROUPS)) as broker:
        yield broker


@pytest.fixture
def prefix() -> str:
    """Topic names of this test's own: the broker is shared, its topics are not."""
    return f"t{secrets.token_hex(4)}."
