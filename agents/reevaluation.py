"""Re-evaluation: asks the evaluator of each stale decision again, and sends its answer back to the gate.

A batch is asked about concurrently, before any transaction is open. A crash in between loses the answers and nothing
else: the questions are asked again, with the same ids.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.decision import Successor
from streams.batch import Fetched, Output, Refused, Sent
from streams.headers import HeaderSettings
from streams.metrics import only_counts
from streams.reevaluation import (
    FAILED,
    TIMEOUT,
    Pending,
    Unanswered,
    pending,
    question,
    sent_exception,
    sent_successor,
    successor,
)
from streams.requests import Ended
from streams.runtime.in_force import InForce
from streams.runtime.settings import Role
from streams.runtime.stage import Batch

NAME = "reevaluation"
BATCH_RECORDS_MAX = 64  # asked about together; the slowest answer holds back the others


class Evaluators(Protocol):
    """Whoever can be asked: `streams.runtime.evaluators`."""

    async def ask(self, asked: Pending, body: bytes, timeout_s: float) -> bytes:
        """What the evaluator of the policy says, within `timeout_s`. Raises Unanswered."""


class Heard(NamedTuple):
    """What was said to one question, and the version of the context that it showed."""

    asked: Pending
    said: bytes | Unanswered
    context_version: int | None


class ReevaluationStage:
    """One partition number: questions out, answers back. It remembers nothing from batch to batch."""

    intact = True

    def __init__(
        self,
        number: int,
        in_force: InForce,
        evaluators: Evaluators,
        clock_ms: Callable[[], int],
        headers: HeaderSettings,
    ) -> None:
        self._number = number
        self._in_force = in_force
        self._evaluators = evaluators
        self._clock_ms = clock_ms
        self._headers = headers
        self._heard: dict[int, Heard | Ended] = {}  # by offset

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        """Nothing to remember: a question is known by its offset."""

    async def learn(self, goes_on: Callable[[], None]) -> None:
        """Reads what is in force, and the present context of its entities."""
        await self._in_force.complete(self._number, goes_on)

    async def prepare(self, fetched: Sequence[Fetched]) -> None:
        """Asks about every request in the batch that can still be saved, all at once."""
        self._heard.clear()
        waiting = []
        for batch in fetched:
            for index, offset in enumerate(batch.offsets):
                found = pending(batch, index, self._in_force.snapshot.by_workflow, self._clock_ms())
                if isinstance(found, Ended):
                    self._heard[offset] = found
                else:
                    waiting.append(self._ask(found))
        for heard in await asyncio.gather(*waiting):
            self._heard[heard.asked.place.offset] = heard

    async def _ask(self, asked: Pending) -> Heard:
        now_ms, evaluator = self._clock_ms(), asked.policy.evaluator
        assert evaluator is not None, "a request without an evaluator is never pending"
        deadline_ms = min(now_ms + evaluator.timeout_ms, asked.request.final_deadline_ms)
        contexts = self._in_force.world.contexts(self._number)
        context = contexts.present(asked.request.entity)
        body = question(asked, context, deadline_ms)
        said: bytes | Unanswered
        if context is None and contexts.overflowed:
            return Heard(asked, Unanswered("there is no room for the context of this entity: it is not known"), None)
        try:
            said = await self._evaluators.ask(asked, body, (deadline_ms - now_ms) / 1000)
        except Unanswered as why:
            said = why
        return Heard(asked, said, context.version if context else None)

    def due_ms(self) -> int | None:
        """Nothing is due that no record asks for."""
        return None

    def committed(self) -> None:
        """Nothing is left to do."""

    def undone(self) -> bool:
        """The answers are still there, and nothing else changes."""
        return True

    def decide(self, fetched: Sequence[Fetched], now_ms: int, commit_ms: int = 0) -> Batch:
        """A successor or an exception for each request, in order."""
        records: list[Sent] = []
        policies = self._in_force.snapshot.by_workflow
        counts: Counter[tuple[str, Output, str]] = Counter()
        earliest_ms: int | None = None
        for batch in fetched:
            for index, offset in enumerate(batch.offsets):
                made = self._answer(self._heard[offset], now_ms)
                if isinstance(made, Ended):
                    sent, workflow = sent_exception(batch, index, made, policies, now_ms, self._headers)
                    counts[workflow, sent.output, made.why.reason] += 1
                else:
                    sent = sent_successor(*made, self._headers)
                    counts[made[1].workflow, sent.output, made[1].cause] += 1
                    ends_ms = made[1].final_deadline_ms
                    earliest_ms = ends_ms if earliest_ms is None else min(earliest_ms, ends_ms)
                records.append(sent)
        return Batch(records, {}, earliest_ms, only_counts(counts))

    def _answer(self, heard: Heard | Ended, now_ms: int) -> tuple[Pending, Successor] | Ended:
        if isinstance(heard, Ended):
            return heard
        if isinstance(heard.said, Unanswered):
            return heard.asked.ended(Refused(TIMEOUT if heard.said.late else FAILED, str(heard.said)))
        made = successor(heard.asked, heard.said, heard.context_version, now_ms)
        return heard.asked.ended(made) if isinstance(made, Refused) else (heard.asked, made)


def role(
    group: str,
    in_force: InForce,
    evaluators: Evaluators,
    clock_ms: Callable[[], int],
    headers: HeaderSettings,
) -> Role:
    """The re-evaluator's role."""
    return Role(
        NAME,
        group,
        ("reevaluations",),
        lambda number: ReevaluationStage(number, in_force, evaluators, clock_ms, headers),
        BATCH_RECORDS_MAX,
        in_force.drop,
    )
