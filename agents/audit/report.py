"""What the audit found: counts, a few examples of each finding, and the two forms in which they are shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

EXAMPLES_MAX = 5
"""Examples kept of each finding: enough to start looking, and bounded when everything is wrong."""

LOST_MAX = 1_000
"""Ranges of lost inputs that are named: each is one time that somebody was away or too slow."""

TEXT_MAX = 300
"""Characters of an example's text, so that an id of a megabyte does not fill the report."""

DISPOSITIONS = ("commands", "reviews", "exceptions", "reevaluations")

BROKEN = (
    "missing",
    "duplicates",
    "command_twice",
    "out_of_order",
    "late_commands",
    "altered",
    "unexplained",
    "unanswered",
    "answered_twice",
    "misfits",
    "ended_twice",
    "lost",
)
"""The findings that break a promise; `ok` means that none of them was found."""

REPORTED = ("id_reused", "appended_late")
"""Findings that are somebody else's fault, or harmless: shown, and not part of `ok`."""

ABOUT = {
    "missing": "inputs that nothing answers",
    "duplicates": "further answers to an input already answered",
    "command_twice": "the same command again, before its deadline, in whatever partition",
    "out_of_order": "answers that overtook an earlier input of their key",
    "late_commands": "commands gated at or past their deadline",
    "altered": "outputs that do not fit their input",
    "unexplained": "outputs without an input they could answer, answers without a request",
    "unanswered": "requests to ask again that nothing answers",
    "answered_twice": "further answers to a request already answered",
    "misfits": "answers that do not fit their request",
    "ended_twice": "further endings of a review, or of a root that was asked about again",
    "lost": "offsets removed before they were read, at most so many records",
    "id_reused": "a root commanded after its deadline, or for two entities",
    "appended_late": "commands the broker stored at or past their deadline",
}


def printable(text: str) -> str:
    """The text cut to a bound, with what no terminal can encode (lone surrogates) replaced."""
    cut = text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"
    return cut.encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Example:
    """One record that a finding is about, and what is wrong with it."""

    topic: str
    partition: int
    offset: int
    id: str | None
    wrong: str


@dataclass
class Result:
    """The counts. Outputs are counted as dispositions by topic; all later steps are `followups`.

    `successors` are among the inputs. `reevaluations_answered` and `_pending` count requests of both kinds.
    """

    inputs: int = 0
    pending: int = 0
    commands: int = 0
    reviews: int = 0
    exceptions: int = 0
    reevaluations: int = 0
    reevaluations_answered: int = 0
    reevaluations_pending: int = 0
    successors: int = 0
    highest_attempt: int = 1
    followups: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    lost_ranges: list[dict[str, str | int]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(self.findings[name] for name in BROKEN)

    def find(self, finding: str, example: Example, count: int = 1) -> None:
        self.findings[finding] += count
        kept = self.examples.setdefault(finding, [])
        if len(kept) < EXAMPLES_MAX:
            identifier = None if example.id is None else printable(example.id)
            kept.append(replace(example, id=identifier, wrong=printable(example.wrong)))

    def lose(self, topic: str, partition: int, offset: int, through: int, told: str | None) -> None:
        """A range of inputs that the broker removed before they were read. `told`: the exception that says so."""
        named = f"{topic}/{partition}: {offset} to {through}"
        wrong = f"{named} were removed before they were read" + ("" if told else ", and nothing answers them")
        self.find("lost", Example(topic, partition, offset, told, wrong), through + 1 - offset)
        if len(self.lost_ranges) < LOST_MAX:
            at: dict[str, str | int] = {"topic": topic, "partition": partition, "offset": offset, "through": through}
            self.lost_ranges.append(at)

    def reason(self, role: str, reason: str) -> None:
        self.reasons.setdefault(role, Counter())[printable(reason)] += 1

    def as_dict(self) -> dict[str, Any]:
        """The report for programs; its names are stable."""
        return {
            "inputs": self.inputs,
            "pending": self.pending,
            "commands": self.commands,
            "reviews": self.reviews,
            "exceptions": self.exceptions,
            "reevaluations": self.reevaluations,
            "reevaluations_answered": self.reevaluations_answered,
            "reevaluations_pending": self.reevaluations_pending,
            "successors": self.successors,
            "highest_attempt": self.highest_attempt,
            "followups": self.followups,
            "by_reason": {role: dict(sorted(self.reasons.get(role, {}).items())) for role in DISPOSITIONS},
            **{name: self.findings[name] for name in (*BROKEN, *REPORTED)},
            "ok": self.ok,
            "lost_ranges": self.lost_ranges,
            "examples": {name: [asdict(example) for example in examples] for name, examples in self.examples.items()},
        }

    def verdict(self) -> str:
        """One sentence: what holds, or what does not."""
        if self.ok:
            waiting = f", {self.pending} of them pending" if self.pending else ""
            asked = f"; {self.reevaluations_pending} requests to ask again are pending"
            return f"every promise holds for {self.inputs} inputs{waiting}{asked if self.reevaluations_pending else ''}"
        broken = ", ".join(f"{name} {self.findings[name]}" for name in BROKEN if self.findings[name])
        named = [f"{at['topic']}/{at['partition']} {at['offset']} to {at['through']}" for at in self.lost_ranges]
        more = f" and {len(named) - EXAMPLES_MAX} more" if len(named) > EXAMPLES_MAX else ""
        lost = f" ({', '.join(named[:EXAMPLES_MAX])}{more})" if named else ""
        return f"the audit of {self.inputs} inputs found: {broken}{lost}"

    def print(self, console: Console) -> None:
        """The report for people."""
        console.print(Group(self._counts(), self._findings()))
        if self.examples:
            console.print(self._examples())
        console.print(Text(self.verdict(), style="green" if self.ok else "bold red"))

    def _counts(self) -> Table:
        table = Table("kind", "reason", title="What left the gate", title_justify="left")
        table.add_column("records", justify="right")
        table.add_row("inputs", "", f"{self.inputs:,}")
        table.add_row("pending", "", f"{self.pending:,}")
        for role in DISPOSITIONS:
            table.add_row(role, "", f"{getattr(self, role):,}")
            for reason, count in self.reasons.get(role, Counter()).most_common():
                table.add_row("", Text(reason), f"{count:,}")
        if self.reevaluations_answered or self.reevaluations_pending or self.successors:
            table.add_row("", "answered", f"{self.reevaluations_answered:,}")
            table.add_row("", "pending", f"{self.reevaluations_pending:,}")
            table.add_row("successors", f"up to attempt {self.highest_attempt}", f"{self.successors:,}")
        table.add_row("followups", "", f"{self.followups:,}")
        return table

    def _findings(self) -> Table:
        table = Table("finding", "meaning", title="What was promised", title_justify="left")
        table.add_column("records", justify="right")
        for name in (*BROKEN, *REPORTED):
            count = self.findings[name]
            style = "bold red" if count and name in BROKEN else "yellow" if count else ""
            table.add_row(name, ABOUT[name], f"{count:,}", style=style)
        return table

    def _examples(self) -> Table:
        table = Table("finding", "record", "id", "what is wrong", title="Examples", title_justify="left")
        for name, examples in self.examples.items():
            for example in examples:
                place = f"{example.topic}/{example.partition}/{example.offset}"
                table.add_row(name, Text(place), Text(str(example.id)), Text(example.wrong))
        return table
