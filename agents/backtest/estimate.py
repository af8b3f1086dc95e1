"""When a backtest is an estimate: what a candidate does that the recording does not hold, each in one sentence.

All else is exact: the same inputs, readings of the clock, batches and context, and a window that was warmed up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agents.backtest.answers import UNACTIONABLE
from agents.backtest.replay import GUESSED_CONTEXT, GUESSED_EXPOSURE, GUESSED_MISSING
from agents.backtest.run import Backtest
from agents.recorded.topics import told
from streams.backtest import ABSENT, Cells, Shape
from streams.policy import Policy


def reasons(found: Backtest, candidate: Sequence[Policy]) -> list[str]:
    """Why the result is an estimate; none: it is what the gate would have done."""
    return [*_guesses(found), *_couplings(found.tally.cells), *_policies(found, candidate)]


def _guesses(found: Backtest) -> Iterator[str]:
    guessed, forgotten_ms = found.tally.guessed, found.plan.forgotten_ms
    if count := guessed.get(GUESSED_CONTEXT):
        yield (
            f"context: {count:,} times the candidate looked at context in a way that the answers do not record; it was "
            "taken from the topic as it stood, and as unchanged where that has forgotten"
        )
    if count := guessed.get(GUESSED_EXPOSURE):
        yield (
            f"exposure: {count:,} times a limit was looked at that was not looked at then; what the partition would "
            "have held of it is its even share, or what it held last"
        )
    if count := guessed.get(GUESSED_MISSING):
        yield f"deleted: {count:,} answers are left out, because retention has deleted their decisions"
    if forgotten_ms is not None:
        yield (
            f"warm-up: decisions before {told(forgotten_ms)} are deleted, so repeats of them and later observations "
            "among them are not known"
        )


def _couplings(cells: Cells) -> Iterator[str]:
    asked = sum(
        cell.count
        for (before, after, _), cell in cells.items()
        if after.output == "reevaluations" and before.output not in ("reevaluations", ABSENT)
    )
    if asked:
        yield (
            f"questions: {asked:,} decisions would have been asked about again that were not; what the evaluator would "
            "have answered, and what that would have superseded, is open"
        )


def _policies(found: Backtest, candidate: Sequence[Policy]) -> Iterator[str]:
    recorded, cells = found.plan.recorded, found.tally.cells

    def differing(part: str, policy: Policy, shapes: set[Shape]) -> bool:
        documents = [recorded.get(shape.policy or "") for shape in shapes]
        freshness = part == "freshness"
        own = policy.document.freshness if freshness else policy.document.boundary.exposure
        return any(
            document is None or (document.freshness if freshness else document.boundary.exposure) != own
            for document in documents
        )

    for policy in candidate:
        mine = [(key, cell) for key, cell in cells.items() if key[0].workflow == policy.workflow]
        shed = {key[0] for key, _ in mine if key[0].category == "shed"}
        if shed and differing("freshness", policy, shed):
            yield (
                f"shedding: {policy.workflow} was under overload, and what was shed is taken as shed; with another "
                "freshness it might be other decisions"
            )
        edge = sum(
            cell.count
            for (before, after, _), cell in mine
            if (before.reason == UNACTIONABLE) != (after.reason == UNACTIONABLE)
        )
        if policy.freshness.reserve.measured and edge:
            yield (
                f"allowance: what {policy.workflow} keeps back for executors is measured, and shows in the recording "
                f"only where it mattered; {edge:,} decisions are at its edge"
            )
        commanded = {key[0] for key, _ in mine if key[0].output == "commands"}
        moved = any((before.output == "commands") != (after.output == "commands") for (before, after, _), _ in mine)
        if policy.exposure and (moved or differing("exposure", policy, commanded)):
            yield (
                f"leases: {policy.workflow} has exposure limits, and other commands or limits would have led to other "
                "leases; what the partitions held is taken as recorded"
            )
