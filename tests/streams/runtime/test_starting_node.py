"""A node that answers before it knows of any node, itself included, as one does that has just come up in a cluster."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition

from streams.runtime.lookup import Lookup
from streams.runtime.settings import Kafka
from streams.runtime.transactions import Failed, Transactions

METADATA, API_VERSIONS = 3, 18
# error, then (key, oldest version, newest version) of each request it takes
_VERSIONS = struct.pack(">hi3h3h", 0, 2, METADATA, 0, 0, API_VERSIONS, 0, 0)
_NOBODY = struct.pack(">ii", 0, 0)  # no nodes, no topics


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            api, _, correlation = struct.unpack_from(">hhi", await reader.readexactly(size))
            body = _VERSIONS if api == API_VERSIONS else _NOBODY
            writer.write(struct.pack(">ii", 4 + len(body), correlation) + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@pytest.fixture
async def bootstrap() -> AsyncIterator[str]:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    server.close()


async def test_a_hand_over_fails_and_is_tried_again(bootstrap: str) -> None:
    made = Transactions(bootstrap, "t-0", 0, "t")
    with pytest.raises(Failed, match="names no nodes"):
        await made.start()
    await made.stop()


async def test_a_question_fails_and_is_asked_again(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.runtime.lookup.REQUEST_S", 1.0)
    lookup = Lookup(Kafka(bootstrap, "t."))
    place = TopicPartition("t.decisions", 0)
    with pytest.raises(Failed):
        await lookup.ends([place])
    with pytest.raises(Failed):
        await lookup.committed("t", [place])
    with pytest.raises(Failed):
        await lookup.changelog("gate", 0)
    await lookup.stop()
