"""A recording through the gate's own path under another budget: same inputs, same clock readings, same batches.

What cannot be known is not made up: a decision that is stale only in the replay was never asked about, so what the
evaluator would have answered is open; a context that no answer recorded is taken to be unchanged. A repeat of a
decision stays one, and what was shed under overload stays shed: a budget makes no capacity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from agents.budget.contexts import RecordedContexts
from agents.budget.recording import Answer, Input, Recording
from streams.batch import Fetched, Sent
from streams.budget import Needs, Replayed, State, with_budget
from streams.foreign import own_json
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.policy import Policy

RECEIPTS_MIN = 20  # fewer say nothing about the 95th percentile
SETTLED_FAMILIES = frozenset({"duplicate", "invalid", "shed"})
STALE_FAMILIES = frozenset({"stale", "reevaluation"})

Event = tuple[Input, Answer]


class Replay:
    """One recording, ready to be replayed under any budget.

    Looked at are the decisions to which the budget applies: those of `segment`, or all of segments without a budget of
    their own.
    """

    def __init__(self, recording: Recording, policy: Policy, segment: str | None = None) -> None:
        self.recording, self.policy, self.segment = recording, replace(policy, index=0), segment
        self.kept_back_ms = kept_back_ms(policy, recording.actuation_ms)
        self._partitions = _partitions(recording)
        roots = [event for events in self._partitions for event in events if self._is_looked_at(event)]
        looked_at = _firsts(roots)
        self._index = {answer.attempt_id: at for at, answer in enumerate(looked_at)}
        self.names = tuple(sorted({answer.currency for answer in looked_at if answer.currency}))
        self.at_ms = np.array([answer.gated_at_ms for answer in looked_at], dtype=np.int64)
        self._ages_ms = np.array([answer.age_ms for answer in looked_at], dtype=np.int64)
        self._values_minor = np.array([abs(answer.value_minor) for answer in looked_at], dtype=np.int64)
        numbers = {name: number for number, name in enumerate(self.names)}
        self._currencies = np.array([numbers.get(one.currency or "", -1) for one in looked_at], dtype=np.int16)

    def __len__(self) -> int:
        """How many decisions are looked at."""
        return len(self._index)

    @property
    def records(self) -> int:
        """How many records one replay reads."""
        return sum(map(len, self._partitions))

    def under(self, budget_ms: int, passed: Callable[[int], None] = lambda _: None) -> Replayed:
        """What would have become of the decisions under this budget; `passed` hears how many records went by."""
        policies = Snapshot([with_budget(self.policy, budget_ms, self.segment)])
        states = np.full(len(self._index), State.OTHER, dtype=np.int8)
        questions_ms: list[int] = []
        for events in self._partitions:
            asked: set[str] = set()
            contexts = RecordedContexts(self.policy.freshness.context is not None)
            memory = Memory(contexts=contexts)
            memory.allowances_ms = {0: self.kept_back_ms}
            for gated_at_ms, batch in groupby(events, key=lambda event: event[1].gated_at_ms):
                going = [event for event in batch if _goes(event[1], asked)]
                contexts.look(going)
                for (_, answer), sent in _decided(going, gated_at_ms, policies, memory):
                    state = _state(sent)
                    if state is State.ASKED:
                        asked.add(answer.attempt_id)
                        questions_ms.append(gated_at_ms)
                        state = State.DROPPED if answer.attempt_id in self.recording.vain else state
                    at = self._index.get(answer.attempt_id.partition("~")[0])
                    if at is not None and state is not None:
                        states[at] = state
                passed(len(going))
        return Replayed(
            budget_ms,
            states,
            self._values_minor,
            self._currencies,
            self.names,
            np.array(questions_ms, dtype=np.int64),
        )

    def needs(self, unlimited: Replayed, currency: str | None) -> tuple[npt.NDArray[np.bool_], Needs]:
        """Which decisions some budget keeps, and what each of them needs; by value of a currency, or by count."""
        kept = unlimited.states == State.KEPT
        if currency is not None:
            kept &= self._currencies == self.names.index(currency)
        weights = self._values_minor[kept] if currency is not None else np.ones(int(kept.sum()), dtype=np.int64)
        return kept, Needs(self.at_ms[kept], self._ages_ms[kept] + self.kept_back_ms + 1, weights)

    def _is_looked_at(self, event: Event) -> bool:
        segment, terms = event[1].segment, self.policy.freshness
        if "~" in event[1].attempt_id:
            return False
        if self.segment is not None:
            return segment == self.segment
        return terms.of(segment).budget_ms == terms.own.budget_ms


def kept_back_ms(policy: Policy, actuation_ms: list[int]) -> int:
    """What is kept back for the executor: the policy's own figure, or what the recorded receipts measure."""
    reserve = policy.freshness.reserve
    if not reserve.measured or len(actuation_ms) < RECEIPTS_MIN:
        return reserve.initial_ms
    measured_ms = sorted(actuation_ms)[-(-len(actuation_ms) * 95 // 100) - 1]
    return min(max(measured_ms, reserve.at_least_ms), reserve.at_most_ms)


def _partitions(recording: Recording) -> list[list[Event]]:
    """By partition number, in the order in which the gate decided."""
    found: dict[int, list[Event]] = {}
    for one in recording.inputs:
        found.setdefault(one.place[1], []).append((one, recording.answers[one.place]))
    return [sorted(found[number], key=lambda event: (event[1].gated_at_ms, event[0].place)) for number in sorted(found)]


def _firsts(events: list[Event]) -> list[Answer]:
    """Of each id the record that was not a repeat; where all were, the repeat is of one before the range."""
    named: dict[str, Answer] = {}
    for _, answer in events:
        if answer.attempt_id not in named or _is_settled(named[answer.attempt_id]):
            named[answer.attempt_id] = answer
    return list(named.values())


def _is_settled(answer: Answer) -> bool:
    return answer.output == "exceptions" and answer.reason.partition(".")[0] in SETTLED_FAMILIES


def _goes(answer: Answer, asked: set[str]) -> bool:
    """Whether this input would have been there: a successor only where its forerunner is asked about again."""
    root, is_successor, attempt = answer.attempt_id.partition("~")
    if _is_settled(answer):
        return False
    return not is_successor or (root if attempt == "2" else f"{root}~{int(attempt) - 1}") in asked


def _decided(events: list[Event], now_ms: int, policies: Snapshot, memory: Memory) -> Iterator[tuple[Event, Sent]]:
    if not events:
        return
    parts = [list(part) for _, part in groupby(events, key=lambda event: event[0].place[0])]
    decided = decide([_fetched(part, now_ms) for part in parts], now_ms, policies, memory)
    memory.commit(decided.remembered, now_ms)
    yield from zip(events, decided.records, strict=True)


def _fetched(events: list[Event], now_ms: int) -> Fetched:
    inputs = list(map(itemgetter(0), events))
    topic, partition, _ = inputs[0].place
    return Fetched(
        topic=topic,
        input="successors" if topic.endswith("successors") else "decisions",
        partition=partition,
        offsets=[one.place[2] for one in inputs],
        timestamps_ms=[one.timestamp_ms for one in inputs],
        keys=[one.key for one in inputs],
        values=[one.value for one in inputs],
        broker_time=inputs[0].broker_time,
        read_ms=now_ms,
        headers=[one.headers for one in inputs] if any(one.headers for one in inputs) else None,
    )


def _state(sent: Sent) -> State | None:
    """None of a repeat: what became of the decision itself stands."""
    if sent.output == "commands":
        return State.KEPT
    if sent.output == "reevaluations":
        return State.ASKED
    body = own_json(sent.value)
    if sent.output == "reviews":
        return State.SHOWN if body["reasons"] == ["stale"] else State.KEPT
    family = body["reason"].partition(".")[0]
    if family in SETTLED_FAMILIES:
        return None
    return State.DROPPED if family in STALE_FAMILIES else State.OTHER
