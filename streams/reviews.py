"""Reviews of one partition number: what was opened, what people said to it, and what the clock and policies did.

In a batch the clock comes first, then what changed of the policies, then new reviews, then verdicts: an answer that
comes at the deadline is late, however the records were fetched. A verdict of a review that was not read yet is held for
a while, since the two topics are not read in step. All that a batch changes goes into its transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from schemas.common import Source
from schemas.review import Review
from schemas.verdict import Verdict
from streams.batch import Fetched, Output, Refused, Sent
from streams.context import NO_CONTEXT, Contexts
from streams.headers import DEFAULTS, Came, HeaderSettings
from streams.path import Snapshot
from streams.rejections import rejection
from streams.review_beforehand import approvers
from streams.review_keys import NO_KEYS, Keys, Unauthorised
from streams.review_later import NOTHING_COMMANDED, Commanded, Later
from streams.review_life import (
    Ended,
    Issued,
    Refusal,
    Seen,
    Stays,
    Step,
    answer,
    approved,
    by_clock,
    by_later,
    by_policy,
)
from streams.review_memory import ReviewMemory, State
from streams.review_open import Open, decision_of, kind_of_action, opened
from streams.review_reading import Arrived, arrived, came, review_in, verdict_in
from streams.review_records import Occasion, sent

HOLD_MS = 10_000  # so long after reviews of its time have stopped coming, a verdict's review is unknown


class Turn(NamedTuple):
    """What a batch, or a timer, came to."""

    records: list[Sent]
    changelog: Mapping[str, bytes | None]
    earliest_deadline_ms: int | None  # of the commands in it
    counts: Mapping[tuple[str, Output, str], int]  # (workflow or "", output, reason)


class Reviews:
    """All methods but `due_ms` change it; what they return must be committed, or this be thrown away."""

    def __init__(
        self,
        number: int,
        keys: Keys = NO_KEYS,
        settings: HeaderSettings = DEFAULTS,
        memory: ReviewMemory | None = None,
    ) -> None:
        self.memory = ReviewMemory() if memory is None else memory
        self._mine = f"r-{number}-"
        self._keys = keys
        self._settings = settings
        self._commanded = NOTHING_COMMANDED
        self._restored = True  # what is open was not yet held against the commands
        self._snapshot: Snapshot | None = None  # under which the open reviews were last looked at
        self._older_ms = 0  # when a review last came that is older than a verdict that is held
        self._seen = Seen(0, Snapshot(()), NO_CONTEXT)
        self._records: list[Sent] = []
        self._counts: Counter[tuple[str, Output, str]] = Counter()
        self._earliest_ms: int | None = None

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        """Takes over what an earlier owner committed. Raises ValueError on what it cannot read."""
        self.memory.restore(changelog, now_ms)

    def due_ms(self, snapshot: Snapshot, now_ms: int, commanded: Commanded = NOTHING_COMMANDED) -> int | None:
        """When something is to be done that no record asks for; None: there is nothing."""
        if self.memory.open and (snapshot is not self._snapshot or commanded.changed):
            return now_ms
        since_ms = self.memory.held_since_ms
        gives_up_ms = None if since_ms is None else max(since_ms, self._older_ms) + HOLD_MS
        return min((at for at in (self.memory.next_due_ms, gives_up_ms) if at is not None), default=None)

    def decide(
        self,
        fetched: Sequence[Fetched],
        now_ms: int,
        snapshot: Snapshot,
        contexts: Contexts,
        commanded: Commanded = NOTHING_COMMANDED,
    ) -> Turn:
        """What the records, of `reviews` and `verdicts`, and the time `now_ms` make of the reviews.

        `commanded`: the commands that were issued meanwhile; its `changed` is emptied.
        """
        self._records, self._counts, self._earliest_ms = [], Counter(), None
        self._commanded = commanded
        self._seen = Seen(now_ms, snapshot, contexts)
        for one in self.memory.due(now_ms):
            self._clock(one)
        self._policies()
        self._retire_before_commands()
        for batch in fetched:
            if batch.input == "reviews":
                self._is_behind(batch)
                for index in self._readable(batch):
                    self._arrives(arrived(batch, index), came(batch, index))
        for batch in fetched:
            if batch.input == "verdicts":
                for index in self._readable(batch):
                    self._answer(arrived(batch, index))
        if now_ms >= self._older_ms + HOLD_MS:
            for waited in self.memory.let_go_before(now_ms - HOLD_MS):
                self._refuse(waited, Refusal("verdict.unknown_review", "there is no such review"))
        return Turn(self._records, self.memory.take_changes(now_ms), self._earliest_ms, self._counts)

    def _readable(self, batch: Fetched) -> Iterator[int]:
        """The rows that hold a record; those that stand for a range without one are refused by it."""
        for index in range(len(batch)):
            unread = batch.why_unread(index)
            if unread is None:
                yield index
            else:
                self._refuse(arrived(batch, index), Refusal(unread.reason, unread.detail))

    def _is_behind(self, batch: Fetched) -> None:
        """Notes that reviews still come older than a verdict that is held: the one it waits for may follow."""
        to_ms = self.memory.held_to_ms
        if to_ms is not None and len(batch) and batch.timestamps_ms[0] <= to_ms:
            self._older_ms = self._seen.now_ms

    # what nobody said

    def _clock(self, one: Open) -> None:
        step = by_clock(one.review, self._seen.now_ms)
        if step is not None:
            self._take(one, step, one.place)

    def _policies(self) -> None:
        before, now = self._snapshot, self._seen.snapshot
        self._snapshot = now
        if before is not None and (before is now or before.currents == now.currents):
            return
        for one in list(self.memory.open.values()):
            if (step := by_policy(one.review, self._seen)) is not None:
                self._take(one, step, one.place)

    # what the gate sent

    def _arrives(self, record: Arrived, headers: Came) -> None:
        review = review_in(record.value)
        if isinstance(review, Refusal):
            self._refuse(record, review)
            return
        known = review.review_id in self.memory.open or self.memory.state(review.review_id) is not None
        if review.kind == "followup" or known:
            return  # our own, or read again
        if review.kind == "audit_sample":
            self.memory.note(review.review_id, State.SAMPLE, review.action_digest, self._seen.now_ms)
        else:
            self._opens(opened(review, record.place, headers))
        for one in self.memory.let_go_of(review.review_id):
            self._answer(one)

    def _opens(self, one: Open) -> None:
        review, seen = one.review, self._seen
        step: Step | None = by_policy(review, seen) or by_clock(review, seen.now_ms)
        later = self._commanded.later(review) if self._supersedes(review) else None
        if later is not None and (ended := by_later(review, later)) is not None:
            self._take(one, ended, later.place)
            return
        if step is None and self.memory.is_full:
            told = f"{len(self.memory.open)} reviews are open in this partition: there is no room for another"
            step = Ended(review, Refused("shed.capacity", told))
        if step is not None and not isinstance(step, Stays):
            self._take(one, step, one.place)
            return
        self._retire_before(one)
        self.memory.keep(one)
        if step is not None:
            self._take(one, step, one.place)
        for by in approvers(review, seen, self._keys):
            now = self.memory.open.get(review.review_id)
            if now is None:
                return
            self._take(now, approved(now.review, by, seen), now.place)

    def _supersedes(self, review: Review) -> bool:
        policy = self._seen.policy(review)
        return policy is not None and policy.freshness.supersede

    def _retire_before(self, opening: Open) -> None:
        """Ends what rests on an earlier observation, where the policy wants that."""
        review = opening.review
        if not self._supersedes(review):
            return
        decision = decision_of(review)
        kind, how = kind_of_action(decision), f"went to review after it, {review.review_id}"
        later = Later(decision.observed_at_ms, opening.place, how)
        for one in self.memory.of_entity(review.workflow, review.entity):
            if kind_of_action(decision_of(one.review)) == kind and (step := by_later(one.review, later)) is not None:
                self._take(one, step, later.place)

    def _retire_before_commands(self) -> None:
        """The same for what became a command while it was open."""
        commanded, restored = self._commanded, self._restored
        self._restored = False
        looked_at = (
            self.memory.open.values()
            if restored
            else (one for entity in sorted(commanded.changed) for one in self.memory.of_entity(*entity))
        )
        for one in list(looked_at if commanded else ()):
            later = commanded.later(one.review) if self._supersedes(one.review) else None
            if later is not None and (step := by_later(one.review, later)) is not None:
                self._take(one, step, later.place)
        commanded.changed.clear()

    # what people said

    def _answer(self, record: Arrived) -> None:
        said = verdict_in(record)
        if isinstance(said, Refusal):
            self._refuse(record, said)
            return
        roles = self._keys.roles(record.signature, record.value, said.by)
        if isinstance(roles, Unauthorised):
            self._refuse(record, Refusal(*roles))
            return
        one = self.memory.open.get(said.review_id)
        if one is None:
            self._answer_closed(record, said)
            return
        if record.key != one.review.entity.encode():
            self._refuse(record, Refusal("invalid.key", "the record's key is not the review's entity"))
            return
        step = answer(one.review, said, roles, self._seen)
        if isinstance(step, Refusal):
            self._refuse(record, step)
        else:
            self._take(one, step, record.place)

    def _answer_closed(self, record: Arrived, said: Verdict) -> None:
        """A verdict of a review that is not open: it has ended, it was a sample, or it may still come."""
        state = self.memory.state(said.review_id)
        if state is State.SAMPLE:
            if self.memory.is_of(said.review_id, said.action_digest):
                self.memory.note(said.review_id, State.ANSWERED, said.action_digest, self._seen.now_ms)
            else:
                self._refuse(record, Refusal("verdict.digest", "it is not of the action that was shown"))
        elif state is not None:
            told = "it was answered already" if state is State.ANSWERED else "the review has ended"
            self._refuse(record, Refusal("verdict.ended", told))
        elif not said.review_id.startswith(self._mine) or not self.memory.hold(
            record, said.review_id, self._seen.now_ms
        ):
            self._refuse(record, Refusal("verdict.unknown_review", "there is no such review in this partition"))

    # what becomes of it

    def _take(self, one: Open, step: Step, caused_by: Source) -> None:
        policy, now_ms = self._seen.policy(step.review), self._seen.now_ms
        looks = policy is not None and policy.freshness.context is not None
        context_seen = self._seen.contexts.version(step.review.entity) if looks else None
        record, reason = sent(one, step, Occasion(caused_by, now_ms, policy, context_seen, self._settings))
        self._records.append(record)
        self._counts[step.review.workflow, record.output, reason] += 1
        if isinstance(step, Stays):
            self.memory.keep(Open(step.review, one.place, one.trace))
            return
        self.memory.close(one, now_ms)
        if isinstance(step, Issued):
            ends_ms = step.review.fresh_until_ms
            self._earliest_ms = ends_ms if self._earliest_ms is None else min(self._earliest_ms, ends_ms)

    def _refuse(self, record: Arrived, why: Refusal) -> None:
        made = rejection(record.place, record.key, record.value, *why, self._settings)
        self._records.append(made)
        self._counts["", "rejections", why.reason] += 1
