"""One Faust app for a role: its inputs as one stream, its batches handed to the lanes, nothing of Faust's own state."""

from __future__ import annotations

import asyncio
from typing import Any

import faust
from faust.tables import TableManager
from yarl import URL

from streams.runtime.lanes import Lanes
from streams.runtime.settings import REBALANCE_S, REQUEST_S, SESSION_S, Worker
from streams.runtime.transport import PassThrough, Transport


class NoTables(TableManager):
    """Faust's manager of its tables, of which we have none: it waits a second for them before the consumer joins."""

    async def sleep(self, n: Any) -> None:
        """There is nothing to wait for."""
        await asyncio.sleep(0)


class App(faust.App):
    """Faust's app, which keeps nothing on disk."""

    async def on_first_start(self) -> None:
        """Faust makes folders for tables here."""


def make_app(worker: Worker, lanes: Lanes) -> faust.App:
    """The app, on our transport; `wire` puts the agent on it."""
    app = App(
        worker.role.group,
        broker=[URL(f"kafka://{address}") for address in worker.kafka.bootstrap.split(",")],
        broker_client_id=f"{worker.role.group}",
        broker_request_timeout=REQUEST_S,
        broker_session_timeout=SESSION_S,
        broker_rebalance_timeout=REBALANCE_S,
        producer_request_timeout=REQUEST_S,
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        reply_create_topic=False,
        topic_partitions=worker.partitions,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        consumer_auto_offset_reset="earliest",
        TableManager=NoTables,
    )
    transport = Transport(app.conf.broker_consumer, app, loop=app.loop)
    transport.lanes = lanes
    app.transport = transport
    return app


def wire(app: faust.App, worker: Worker, lanes: Lanes) -> None:
    """Puts the role's agent on the app. The lanes decide and send; the agent only hands them what has come.

    All inputs of the role are one topic of Faust's, undecoded and without acks.
    """

    async def hand_over(stream: Any) -> None:
        async for delivered in stream:
            lanes.offer(delivered)

    names = [worker.kafka.topic(name) for name in worker.role.inputs]
    app.agent(app.topic(*names, schema=PassThrough(), acks=False), name=worker.role.name)(hand_over)
