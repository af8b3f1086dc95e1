"""The story of a decision: what happened, who did it and why, in the order in which it happened. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from agents.why.conclusion import conclusion
from agents.why.found import Found, Place, in_order, root_of, text_of
from agents.why.telling import Told, told

ABOUT_NOBODY = "(unreadable input)"


@dataclass(frozen=True)
class Entry:
    """One step. `at_ms` is the broker's time of the record that tells it."""

    found: Found
    told: Told


@dataclass(frozen=True)
class Story:
    """All that is known of one root decision of one entity, and how it stands."""

    root_id: str
    workflow: str | None
    entity: str | None
    entries: tuple[Entry, ...]
    conclusion: str


def stories(records: Iterable[Found], now_ms: int) -> list[Story]:
    """One story for each root decision and entity among the records, the earliest first."""
    made = [_story(name, about, now_ms) for name, about in _parted(list(records)).items()]
    return sorted(made, key=lambda story: (story.entries[0].found.at_ms, story.root_id, story.entity or ""))


def _story(name: tuple[str, str | None], about: list[Found], now_ms: int) -> Story:
    ordered = in_order(about)
    workflow = next((flow for one in ordered if (flow := text_of(one.body, "workflow"))), None)
    results = _results(ordered)
    entries = tuple(Entry(one, told(one, results.get(one.place))) for one in ordered)
    return Story(name[0], workflow, name[1], entries, conclusion(ordered, now_ms))


def _results(ordered: list[Found]) -> dict[Place, str]:
    """What became of each verdict."""
    results: dict[Place, str] = {}
    for one in ordered:
        if one.kind == "rejections" and (place := one.named("source")) is not None:
            results.setdefault(place, f"refused: {one.body.get('reason')}")
        elif one.kind != "rejections" and (place := one.named("caused_by")) is not None:
            results[place] = "accepted"
    return results


def _parted(records: list[Found]) -> dict[tuple[str, str | None], list[Found]]:
    """The records by root and entity. What names neither goes with the records that it answers."""
    parts: dict[tuple[str, str | None], list[Found]] = defaultdict(list)
    homes: dict[str | Place, list[tuple[str, str | None]]] = defaultdict(list)
    rest = []
    for one in records:
        root = root_of(one)
        if root is None and one.kind == "exceptions":
            root = ABOUT_NOBODY
        if root is None or one.kind == "outcomes":
            rest.append(one)
            continue
        name = (root, text_of(one.body, "entity"))
        parts[name].append(one)
        homes[one.place].append(name)
        for id_name in ("command_id", "review_id"):
            if (known := text_of(one.body, id_name)) and name not in homes[known]:
                homes[known].append(name)
    # rejections last: they answer verdicts, which have to find their home first
    for one in sorted(rest, key=lambda one: one.kind == "rejections"):
        for name in _homes(one, homes):
            parts[name].append(one)
            homes[one.place].append(name)
    return dict(parts)


def _homes(one: Found, homes: dict[str | Place, list[tuple[str, str | None]]]) -> list[tuple[str, str | None]]:
    if one.kind == "rejections":
        place = one.named("source")
        return list(homes.get(place, [])) if place is not None else []
    if one.kind == "policies":
        return list(homes.get((one.key or "").removeprefix("recall/"), []))
    if one.kind == "decisions":  # an input that could not be read as a decision
        return [(ABOUT_NOBODY, None)]
    known = text_of(one.body, "review_id" if one.kind == "verdicts" else "command_id")
    found = homes.get(known, []) if known else []
    entity = text_of(one.body, "entity")
    if not found and (root := root_of(one)) is not None:
        found = [name for names in homes.values() for name in names if name[0] == root]
    return list(dict.fromkeys(name for name in found if entity is None or name[1] == entity))
