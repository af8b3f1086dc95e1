"""What was found about a decision: records, and how they hang together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Place = tuple[str, int, int]
# in data-path order: what the same millisecond and the same cause leave open
KINDS = (
    *("decisions", "successors", "reviews", "verdicts", "rejections", "reevaluations", "commands", "exceptions"),
    *("policies", "receipts", "outcomes"),
)


@dataclass(frozen=True)
class Found:
    """One record; `body` is its value, `key_id` what its signature claims, `at_ms` the broker's time."""

    kind: str
    topic: str
    number: int
    position: int
    at_ms: int
    body: Mapping[str, Any]
    key: str | None = None
    key_id: str | None = None

    @property
    def place(self) -> Place:
        return self.topic, self.number, self.position

    @property
    def where(self) -> str:
        """For people: kind, partition and offset."""
        return f"{self.kind} {self.number}/{self.position}"

    def named(self, name: str) -> Place | None:
        """The place that the record names in this field, such as `source`."""
        return place_of(self.body.get(name))


def place_of(told: Any) -> Place | None:
    """A `{topic, partition, offset}`."""
    if not isinstance(told, dict):
        return None
    topic, number, position = (told.get(name) for name in ("topic", "partition", "offset"))
    if isinstance(topic, str) and isinstance(number, int) and isinstance(position, int):
        return topic, number, position
    return None


def root_of(found: Found) -> str | None:
    """The root decision that a record is about, where it says so itself."""
    name = "id" if found.kind in ("decisions", "successors") else "decision_id"
    told = found.body.get("root_id") or found.body.get(name)
    return told.split("~")[0] if isinstance(told, str) else None


def text_of(body: Mapping[str, Any], name: str) -> str | None:
    told = body.get(name)
    return told if isinstance(told, str) else None


def number_of(body: Mapping[str, Any], name: str) -> int | None:
    told = body.get(name)
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def in_order(records: list[Found]) -> list[Found]:
    """By the broker's time; what another record led to comes after it, whatever the clocks say."""
    by_place = {one.place: one for one in records}
    firsts = _firsts(records)
    known: dict[Place, tuple[int, int]] = {}

    def when(one: Found, above: frozenset[Place]) -> tuple[int, int]:
        if one.place in known:
            return known[one.place]
        before = [by_place[place] for place in _causes(one, firsts) if place in by_place and place not in above]
        times = [when(cause, above | {one.place}) for cause in before if cause is not one]
        at_ms = max([one.at_ms, *(at for at, _ in times)])
        depth = 1 + max((depth for at, depth in times if at == at_ms), default=0)
        known[one.place] = at_ms, depth
        return at_ms, depth

    return sorted(records, key=lambda one: (*when(one, frozenset()), KINDS.index(one.kind), one.number, one.position))


def _firsts(records: list[Found]) -> dict[str, Place]:
    """The record that an id was first told in: of a command, of a review."""
    firsts: dict[str, Place] = {}
    for one in sorted(records, key=lambda one: (one.kind, one.number, one.position)):
        name = {"commands": "command_id", "reviews": "review_id"}.get(one.kind)
        if name and (told := text_of(one.body, name)):
            firsts.setdefault(told, one.place)
    return firsts


def _causes(one: Found, firsts: Mapping[str, Place]) -> Iterator[Place]:
    for name in ("caused_by", "source"):
        if (place := one.named(name)) is not None:
            yield place
    by = {"receipts": "command_id", "outcomes": "command_id", "verdicts": "review_id"}.get(one.kind)
    told = text_of(one.body, by) if by else None
    if told is not None and told in firsts:
        yield firsts[told]
