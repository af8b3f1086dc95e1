"""An evaluator behind HTTP: the question is POSTed, the body of a 200 is the answer.

A call may be repeated, here or after a crash; `Idempotency-Key` is the same then. What the endpoint says is read up to
a limit and taken as bytes: what it means is found out elsewhere.
"""

from __future__ import annotations

import asyncio
import errno
import random
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from schemas.common import VALUE_BYTES_MAX
from streams.foreign import own
from streams.runtime.evaluators.client import Call, Client, Failed, Health, cut
from streams.terms import Asked

RETRIED = frozenset({429, 502, 503, 504})  # the endpoint, or what stands before it, says: not now
BACKOFF_S = (0.02, 0.1)  # a random time between, so that calls which failed together do not come back together
RETRY_LEFT_S_MIN = 0.02  # what a retry must have left: less is no time for any answer over a network
_GONE = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE})
# what a header cannot hold, and what tells the rest: the rule of CloudEvents for HTTP
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class _Limit(msgspec.Struct):
    deadline_ms: int


_limit = own(_Limit)


class _Again(Exception):
    """Raised when the same call may succeed a moment later. `after_s`: when the endpoint says so itself."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


class HttpEvaluator(Client):
    """The client of one endpoint. Its connections are made when first needed."""

    def __init__(self, asked: Asked) -> None:
        assert asked.url is not None
        super().__init__(f"the evaluator at {shown(asked.url)}", asked)
        self._url = asked.url
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, call: Call) -> bytes:
        """The body of a 200. One more attempt where it may help and there is time for it. Raises Failed."""
        loop = asyncio.get_running_loop()
        call.asked_s = loop.time()
        try:
            return await self._post(call)
        except _Again as why:
            left_s = call.ends_s - loop.time()
            backoff_s = max(why.after_s, random.uniform(*BACKOFF_S))  # noqa: S311 - spreads load, guards nothing
            if not call.retries or left_s < backoff_s + RETRY_LEFT_S_MIN:
                raise Failed(f"{self.name} {why}", "failing") from why
            call.doing = f"it {why} and was left alone before another attempt"
            await asyncio.sleep(backoff_s)
        try:
            return await self._post(call)
        except _Again as why:
            raise Failed(f"{self.name} {why}, twice", "failing") from why

    async def close(self) -> None:
        """Closes the connections; calls under way fail."""
        self.is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, call: Call) -> bytes:
        call.doing = "it was asked and had not answered"
        headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "Idempotency-Key": quote(call.id, safe=_HEADER_SAFE),
            "Sluicegate-Deadline-Ms": str(_limit(call.body).deadline_ms),
        }
        try:
            async with self._opened().post(
                self._url, data=call.body, headers=headers, allow_redirects=False
            ) as response:
                return await self._body(response)
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # RuntimeError: the session was closed under the call; ValueError: an address that cannot be one after all
            why = f"could not be reached, or broke off: {cut(str(error) or type(error).__name__)}"
            if _is_gone(error):
                raise _Again(why) from error
            raise Failed(f"{self.name} {why}", "failing") from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        status = response.status
        if status in RETRIED:
            raise _Again(f"answered with the status {status}", _after_s(response))
        if status != 200:
            followed = "; redirects are not followed" if 300 <= status < 400 else ""
            health: Health = "failing" if status >= 500 else "alive"
            raise Failed(f"{self.name} answered with the status {status}{followed}", health)
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise Failed(f"{self.name} answered with the content encoding {encoding!r:.40}, which it was not asked for")
        try:
            await response.content.readexactly(VALUE_BYTES_MAX + 1)
        except asyncio.IncompleteReadError as whole:
            return whole.partial
        response.close()
        raise Failed(f"{self.name} answered with more than {VALUE_BYTES_MAX} bytes")

    def _opened(self) -> aiohttp.ClientSession:
        self.refuse_if_closed()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.asked.concurrency),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # one limit for all of it: the call's
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


def shown(url: str) -> str:
    """The address without what may be secret in it: no user, password or query."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that is none"
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def _is_gone(error: Exception) -> bool:
    """Whether the connection was refused, or went away: a restart, or a kept connection that had ended."""
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | ConnectionResetError):
        return True
    return isinstance(error, OSError) and error.errno in _GONE


def _after_s(response: aiohttp.ClientResponse) -> float:
    said = response.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0.0
