"""Evaluators: whoever a workflow's policy names is asked, within its time, whatever becomes of them.

client       one end in time for a call, so many at once, the breaker
http         an endpoint
child        a function in a process of its own; child_main is that process's program
breaker      pure: when a failing evaluator is left alone, and when it is tried again
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from streams.path import Snapshot
from streams.reevaluation import Pending, Unanswered
from streams.runtime.evaluators.child import ChildEvaluator
from streams.runtime.evaluators.client import BreakerOpen, Client
from streams.runtime.evaluators.http import HttpEvaluator
from streams.terms import EVALUATOR_TIMEOUT_MS_MAX, Asked

Result = Literal["answered", "failed", "timeout", "breaker_open"]

__all__ = ["Evaluators", "Result"]


class Evaluators:
    """All workflows' evaluators. `counted` hears how each call ended; `busy`: how many are under way, by workflow.

    A client is made when its workflow is first asked about, in the loop that asks.
    """

    def __init__(self, policies: Snapshot, counted: Callable[[str, Result], None] = lambda *call: None) -> None:
        self._asked = _asked(policies)
        self._clients: dict[str, Client] = {}
        self._retired: dict[Client, asyncio.Task[None]] = {}
        self._counted = counted
        self.busy: Counter[str] = Counter()

    async def ask(self, asked: Pending, body: bytes, timeout_s: float) -> bytes:
        """The answer of the evaluator of the question's workflow, within `timeout_s` seconds, retries and all.

        Raises Unanswered, `late` where the time ran out.
        """
        workflow = asked.request.workflow
        result: Result | None = None
        self.busy[workflow] += 1
        try:
            if timeout_s <= 0:
                raise Unanswered("its time was over before the evaluator could be asked", late=True)
            said = await self._client(workflow).ask(asked.id, body, timeout_s)
            result = "answered"
            return said
        except BreakerOpen:
            result = "breaker_open"
            raise
        except Unanswered as why:
            result = "timeout" if why.late else "failed"
            raise
        finally:
            self.busy[workflow] -= 1
            if result is not None:
                self._counted(workflow, result)

    async def check(self) -> list[str]:
        """What is wrong with each evaluator, as far as can be known without asking it: a function is imported.

        Starts the processes of functions and leaves them running, for the loop that calls this.
        """
        return await self._check(list(self._asked))

    async def adopt(self, policies: Snapshot) -> list[str]:
        """Asks from now on as these policies say; what is wrong with those that are new, like `check`.

        A question under way is still answered by whom it was put to.
        """
        before, self._asked = self._asked, _asked(policies)
        changed = [name for name in before.keys() | self._asked.keys() if before.get(name) != self._asked.get(name)]
        for client in filter(None, [self._clients.pop(workflow, None) for workflow in changed]):
            task = asyncio.create_task(_close_later(client))
            self._retired[client] = task
            task.add_done_callback(partial(self._closed, client))
        return await self._check([workflow for workflow in changed if workflow in self._asked])

    def _closed(self, client: Client, task: asyncio.Task[None]) -> None:
        self._retired.pop(client, None)

    async def _check(self, workflows: Sequence[str]) -> list[str]:
        found = await asyncio.gather(*(self._client(workflow).check() for workflow in workflows))
        return [f"workflow {workflow}: {why}" for workflow, why in zip(workflows, found, strict=True) if why]

    async def close(self) -> None:
        """Ends all processes and connections. Calls under way raise Unanswered."""
        clients, self._clients = [*self._clients.values(), *self._retired], {}
        for task in self._retired.values():
            task.cancel()
        await asyncio.gather(*(client.close() for client in clients))

    def _client(self, workflow: str) -> Client:
        if workflow not in self._clients:
            evaluator = self._asked.get(workflow)
            if evaluator is None:
                raise Unanswered(f"no policy with an evaluator is in force for the workflow {workflow!r:.100}")
            self._clients[workflow] = _made(evaluator)
        return self._clients[workflow]


def _asked(policies: Snapshot) -> dict[str, Asked]:
    return {policy.workflow: policy.evaluator for policy in policies.by_index if policy.evaluator}


async def _close_later(client: Client) -> None:
    await asyncio.sleep(EVALUATOR_TIMEOUT_MS_MAX / 1000)
    await client.close()


def _made(evaluator: Asked) -> Client:
    return HttpEvaluator(evaluator) if evaluator.url is not None else ChildEvaluator(evaluator)
