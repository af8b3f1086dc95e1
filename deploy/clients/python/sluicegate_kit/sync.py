"""The producer for code without an event loop: one in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any

from sluicegate_kit.decision import Decision
from sluicegate_kit.producer import Producer, Sent


class SyncProducer:
    """`with SyncProducer("host:9092") as producer: producer.send(...)`; options and errors as those of Producer.

    May be used by several threads at once; each `send` waits for its own acknowledgement.
    """

    def __init__(self, bootstrap: str, **options: Any) -> None:
        self._producer = Producer(bootstrap, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sluicegate-producer", daemon=True)

    def __enter__(self) -> SyncProducer:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._producer.__aenter__(), self._loop).result()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._producer.__aexit__(None, None, None), self._loop).result()
        finally:
            self._end()

    def send(self, decision: Decision | None = None, /, **fields: Any) -> Sent:
        """Sends one decision and returns when it is acknowledged; raises as `Producer.send` does."""
        return asyncio.run_coroutine_threadsafe(self._producer.send(decision, **fields), self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
