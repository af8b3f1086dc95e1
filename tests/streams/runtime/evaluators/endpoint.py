"""A real HTTP server that does right and wrong, by path; it remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


def decide_again(question: dict[str, Any]) -> dict[str, Any]:
    decision = question["decision"]
    return {"action": decision["action"], "observed_at_ms": question["deadline_ms"], "id": question["id"]}


class Endpoint:
    """`base` is its address; `requests` are the paths, bodies and headers of what came."""

    def __init__(self) -> None:
        self.base = ""
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.busy = self.busy_most = 0
        self.broken = False
        self.released = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        question = json.loads(await request.read())
        self.requests.append((request.path, question, dict(request.headers)))
        self.busy += 1
        self.busy_most = max(self.busy, self.busy_most)
        try:
            behaviour: Callable[..., Awaitable[web.StreamResponse]] = getattr(self, request.match_info["behaviour"])
            return await behaviour(request, question)
        finally:
            self.busy -= 1

    def came(self, behaviour: str) -> int:
        return sum(path == f"/{behaviour}" for path, _, _ in self.requests)

    async def right(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(decide_again(question))

    async def slow(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return await self.right(request, question)

    async def hanging(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        await self.released.wait()
        return await self.right(request, question)

    async def trickling(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"action":')
        await self.released.wait()
        return response

    async def wrong(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(text="<html>fine</html>")

    async def huge(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=b"x" * 3_000_000)

    async def endless(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not self.released.is_set():
            await response.write(b"x" * 65_536)
            await asyncio.sleep(0)
        return response

    async def failing(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=500, text="boom")

    async def busy_first(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=503) if self.came("busy_first") == 1 else await self.right(request, question)

    async def busy_always(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=503)

    async def busy_for_long(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=429, headers={"retry-after": "3600"})

    async def refusing(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=422)

    async def moved(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("/right")

    async def zipped(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=b"\x1f\x8b", headers={"content-encoding": "gzip"})

    async def resetting(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def resets_first(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        behaviour = self.resetting if self.came("resets_first") == 1 else self.right
        return await behaviour(request, question)

    async def mended(self, request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        return await (self.failing if self.broken else self.right)(request, question)


@asynccontextmanager
async def serving() -> AsyncIterator[Endpoint]:
    """An endpoint on a free port of this machine, until the block ends."""
    endpoint = Endpoint()
    app = web.Application(client_max_size=4 * 1024 * 1024)
    app.router.add_post("/{behaviour}", endpoint.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield endpoint
    finally:
        endpoint.released.set()
        await runner.cleanup()
