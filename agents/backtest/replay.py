"""One partition number of a recording through the gate's own path, under other policies.

Inputs, batches and readings of the clock are the recorded ones; window and superseding grow anew, from a warm-up before
the time that is counted. What policies do not decide is taken as it was: what was shed, what a halt stopped, what an
executor took. An attempt is there only where what led to it came out as it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.audit.inputs import LOG_APPEND_TIME
from agents.backtest.answers import Answer
from agents.backtest.batches import Event, Part, Recorded
from agents.backtest.contexts import Looked, RecordedContexts, Told
from agents.backtest.restrictions import RecordedExposure, RecordedHalts
from schemas.identifiers import command_id
from streams.backtest import ABSENT, Cell, Example, Shape, Tally
from streams.batch import Fetched, Row
from streams.exposure import Exposures
from streams.memory import Memory
from streams.partitioning import Home
from streams.path import Snapshot, judged
from streams.policy import Policy
from streams.publish import outcome
from streams.shed_text import SHED

GUESSED_CONTEXT, GUESSED_EXPOSURE, GUESSED_MISSING = "context", "exposure", "inputs"
_NOWHERE = (Shape(None, ABSENT, ABSENT, None, None), None)
Outcome = tuple[Shape, str | None]
"""The shape of a disposition, and its command's id."""


@dataclass(frozen=True)
class World:
    """What the recording says beside inputs and answers. `looked`: how each recorded policy looked at context, by
    its name.
    """

    topics: Mapping[str, str]  # by kind of input
    partitions: int
    looked: Mapping[str, Looked]
    contexts: Sequence[Told] = ()


class Side:
    """One set of policies over the recording; its memory is its own."""

    def __init__(self, policies: Sequence[Policy], number: int, world: World) -> None:
        wanted = {one.workflow: one.freshness.context for one in policies}
        names = frozenset(one.name for one in policies)
        self.contexts = RecordedContexts(wanted, world.looked, names, world.contexts)
        self._policies = Snapshot(policies)
        self._measured = [one for one in policies if one.freshness.reserve.measured]
        self._number, self._world = number, world
        self._exposure = RecordedExposure(policies, world.partitions)
        limited = Exposures(number, world.partitions)
        limited.recorded = self._exposure.seen
        self._memory = Memory(contexts=self.contexts, exposure=limited, home=Home(number, world.partitions))
        self._kept_back_ms = {one.index: one.freshness.reserve.initial_ms for one in self._measured}
        self._otherwise: set[str] = set()  # attempts that left another way, or were not there
        self._shapes: dict[Shape, Shape] = {}

    @property
    def guessed(self) -> dict[str, int]:
        """What the recording did not hold, and how often it was asked for."""
        found = {GUESSED_CONTEXT: self.contexts.guessed, GUESSED_EXPOSURE: self._exposure.guessed}
        return {name: count for name, count in found.items() if count}

    def decided(self, batch: Recorded) -> list[Outcome]:
        """What becomes of each event of a batch, in its order."""
        events = [event for part in batch.parts for event in part.events]
        self.contexts.look(batch.gated_at_ms, events)
        self._exposure.look(events)
        # of the batch's own transaction: known where it was too much for one of it
        self._memory.commit_ms = max((one.answer.commit_ms or 0 for one in events), default=0)
        if self._measured:
            self._keep_back(events)
        fetched, going = list[Fetched](), list[int]()
        found: list[Outcome] = [_NOWHERE] * len(events)
        first = 0
        for part in batch.parts:
            goes = self._going(part, first, found)
            if goes:
                fetched.append(self._fetched(part.input, [events[at] for at in goes], batch.gated_at_ms))
                going += goes
            first += len(part.events)
        if fetched:
            policies = self._under_halts(events)
            decided = judged(fetched, batch.gated_at_ms, policies, self._memory)
            self._memory.commit(decided.remembered, batch.gated_at_ms)
            for at, row in zip(going, decided.rows, strict=True):
                found[at] = self._outcome(row)
        self._note(events, found)
        return found

    def _outcome(self, row: Row) -> Outcome:
        """What would be read of the record that is sent for this row."""
        output, reason = outcome(row)
        shape = Shape(
            None if row.decision is None else row.decision.workflow,
            output,
            "+".join(row.review_reasons) if row.review_reasons else reason,
            None if output == "reevaluations" else row.rule,
            self._policies.by_index[row.policy].name if row.policy >= 0 else None,
        )
        return self._shapes.setdefault(shape, shape), command_id(row.root) if output == "commands" else None

    def _going(self, part: Part, first: int, found: list[Outcome]) -> list[int]:
        """Places of the events that go through the path; what was shed stays so."""
        goes = list[int]()
        is_successor = part.input == "successors"
        for at, event in enumerate(part.events, first):
            shape = event.answer.shape
            if shape.reason == SHED:
                found[at] = (shape, None)
            elif not is_successor or self._asked(event.answer):
                goes.append(at)
            else:
                found[at] = (Shape(shape.workflow, ABSENT, ABSENT, None, None), None)
        return goes

    def _asked(self, answer: Answer) -> bool:
        """Whether this attempt would be there: what it follows left the way it did."""
        root, _, attempt = (answer.decision_id or "").partition("~")
        before = root if attempt == "2" or not attempt.isdecimal() else f"{root}~{int(attempt) - 1}"
        return before not in self._otherwise

    def _note(self, events: Sequence[Event], found: Sequence[Outcome]) -> None:
        for event, (shape, _) in zip(events, found, strict=True):
            answer = event.answer
            if shape.output != answer.shape.output and answer.decision_id is not None:
                self._otherwise.add(answer.decision_id)

    def _fetched(self, name: str, events: Sequence[Event], now_ms: int) -> Fetched:
        records = [event.record for event in events]
        headers = [record.headers for record in records] if any(record.headers for record in records) else None
        return Fetched(
            topic=self._world.topics[name],
            input="successors" if name == "successors" else "decisions",
            partition=self._number,
            offsets=[record.offset for record in records],
            timestamps_ms=[record.timestamp for record in records],
            keys=[record.key for record in records],
            values=[record.value for record in records],
            broker_time=records[0].timestamp_type == LOG_APPEND_TIME,
            read_ms=now_ms,
            headers=headers,
        )

    def _keep_back(self, events: Iterable[Event]) -> None:
        """What was kept back for executors, as far as it shows: some went out in time, some would not have been."""
        slack_ms, told_ms = dict[str | None, int](), dict[str | None, int]()
        for event in events:
            answer = event.answer
            if answer.kept_back_ms is not None:
                told_ms[answer.shape.workflow] = answer.kept_back_ms
            elif answer.slack_ms is not None:
                workflow = answer.shape.workflow
                slack_ms[workflow] = min(answer.slack_ms, slack_ms.get(workflow, answer.slack_ms))
        for policy in self._measured:
            known_ms = told_ms.get(policy.workflow, self._kept_back_ms[policy.index])
            if policy.workflow in slack_ms:
                known_ms = min(known_ms, max(0, slack_ms[policy.workflow] - 1))
            self._kept_back_ms[policy.index] = known_ms
        self._memory.allowances_ms = self._kept_back_ms

    def _under_halts(self, events: Sequence[Event]) -> Snapshot:
        halted = [event for event in events if event.answer.origin is not None]
        return self._policies.under(RecordedHalts(events, halted)) if halted else self._policies


class Comparison:
    """Candidate against what was recorded, or against another set of policies, batch by batch."""

    def __init__(
        self, candidate: Side, against: Side | None, from_ms: int, examples_max: int, workflow: str | None = None
    ) -> None:
        self.tally = Tally()
        self._workflow = workflow
        self._candidate, self._against = candidate, against
        self._from_ms, self._examples_max = from_ms, examples_max

    def take(self, batch: Recorded) -> None:
        """Replays the batch, and counts it where it is not of the warm-up."""
        after = self._candidate.decided(batch)
        before = None if self._against is None else self._against.decided(batch)
        if batch.gated_at_ms < self._from_ms:
            self.tally.warmed_up += len(after)
            return
        events = (event for part in batch.parts for event in part.events)
        for at, event in enumerate(events):
            answer = event.answer
            if self._workflow is not None and answer.shape.workflow != self._workflow:
                continue
            was = (answer.shape, answer.command_id) if before is None else before[at]
            self._count(answer, was, after[at])

    def finish(self) -> Tally:
        """All of it, with what had to be guessed."""
        sides = [self._candidate, *([] if self._against is None else [self._against])]
        for name, count in (item for side in sides for item in side.guessed.items()):
            self.tally.guessed[name] = self.tally.guessed.get(name, 0) + count
        return self.tally

    def _count(self, answer: Answer, was: Outcome, now: Outcome) -> None:
        (before, before_id), (after, after_id) = was, now
        if (cell := self.tally.cells.get((before, after, answer.currency))) is None:
            cell = self.tally.cells[before, after, answer.currency] = Cell()
        cell.count += 1
        if answer.value_minor is not None:
            cell.value_minor += abs(answer.value_minor)
        if before_id != after_id and before.output == after.output:
            self.tally.ids_differ += 1
        if len(cell.examples) < self._examples_max and not before.agrees(after):
            source = answer.source
            place = (answer.gated_at_ms, source.topic, source.partition, source.offset)
            worth = (answer.decision_id, answer.value_minor, answer.currency)
            cell.examples.append(Example(*place, *worth, before, after))
