"""The topics in data-path order, with what each must be set to and why; and what differs from that in a cluster.

Outputs go to the partition number their input came from, so all data topics have one count, which `decisions` decides.
What is acknowledged must still be there when it is read: nothing is removed by size, a copy that lags behind is never
elected, and of three copies two must have a record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

DAY_MS = 24 * 60 * 60 * 1000
MIB = 1 << 20
# Kafka counts its own 12 bytes a batch
BATCH_OVERHEAD_BYTES = 12

NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]+")
# Kafka's limit for a topic's whole name
NAME_LENGTH_MAX = 249


class Rule(StrEnum):
    """How a setting found in a cluster must stand to ours; somebody who keeps records for longer is not corrected."""

    IS = "is"
    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True)
class Setting:
    value: str
    rule: Rule
    why: str

    def holds(self, found: str | None) -> bool:
        if found is None:
            return False
        if self.rule is Rule.IS:
            return found == self.value
        found_number, number = _number(found), _number(self.value)
        return found_number >= number if self.rule is Rule.AT_LEAST else found_number <= number


def _number(text: str) -> float:
    """-1 is Kafka's word for no limit; what is no number satisfies neither rule."""
    try:
        number = int(text)
    except ValueError:
        return float("nan")
    return float("inf") if number == -1 else number


BROKER_TIME = Setting(
    "LogAppendTime",
    Rule.IS,
    "the broker's clock is the witness of when a record was there, and no producer's clock decides what is deleted",
)
DELETED = Setting("delete", Rule.IS, "records are events: kept for a time, each of them")
COMPACTED = Setting("compact", Rule.IS, "the latest record of a key is the truth and must never be deleted for its age")
ANY_SIZE = Setting("-1", Rule.IS, "what is removed by size may be removed before it was read, in the first busy hour")
NO_UNCLEAN_ELECTION = Setting(
    "false",
    Rule.IS,
    "a leader that lags behind has lost what was acknowledged: decisions without an answer, answers without a decision",
)
INPUT_BYTES = Setting(
    str(MIB + BATCH_OVERHEAD_BYTES),
    Rule.AT_LEAST,
    "Kafka's default, 4 times the largest value that is accepted: one over the limit still arrives, and leaves as "
    "invalid.oversized; one beyond this is refused to its producer",
)
OUTPUT_BYTES = Setting(
    str(2 * MIB),
    Rule.AT_LEAST,
    "carries an input of up to 256 KiB, escaped and with everything said about it: no accepted input makes an output "
    "that cannot be sent",
)
SMALL_SEGMENTS = Setting(
    str(32 * MIB),
    Rule.AT_MOST,
    "only closed segments are compacted, and a hand-over reads the partition to its end",
)


def _kept(days: int, why: str) -> Setting:
    return Setting(str(days * DAY_MS), Rule.AT_LEAST, why)


COPIES = 3  # of each record, where there are so many brokers
RETENTION_MS = 7 * DAY_MS  # of what the path itself reads and writes; nothing may be waited for longer
WEEK = _kept(7, "the path's own traffic: the longest outage or holiday after which a worker must find everything")
MONTH = _kept(30, "read by people, and the store of cases and outcomes is rebuilt from it")
DAY = _kept(1, "says who is alive and what was acknowledged: only the present matters")


@dataclass(frozen=True)
class Topic:
    """`partitions` is None for a data topic: as many as `decisions` has."""

    kind: str
    partitions: int | None
    settings: Mapping[str, Setting]

    def partitions_of(self, data_partitions: int) -> int:
        return data_partitions if self.partitions is None else self.partitions


def _topic(
    kind: str, bytes_max: Setting, kept: Setting = COMPACTED, partitions: int | None = None, **more: Setting
) -> Topic:
    settings = {
        "message.timestamp.type": BROKER_TIME,
        "max.message.bytes": bytes_max,
        "unclean.leader.election.enable": NO_UNCLEAN_ELECTION,
    }
    if kept is COMPACTED:
        settings["cleanup.policy"] = COMPACTED
    else:
        settings |= {"cleanup.policy": DELETED, "retention.ms": kept, "retention.bytes": ANY_SIZE}
    settings |= {name.replace("_", "."): setting for name, setting in more.items()}
    return Topic(kind, partitions, MappingProxyType(settings))


TOPICS: tuple[Topic, ...] = (
    _topic("decisions", INPUT_BYTES, WEEK),
    _topic("successors", OUTPUT_BYTES, WEEK),
    _topic("context", INPUT_BYTES),
    _topic("policies", INPUT_BYTES, partitions=1),
    _topic("commands", OUTPUT_BYTES, WEEK),
    _topic("reviews", OUTPUT_BYTES, MONTH),
    _topic("verdicts", INPUT_BYTES, MONTH),
    _topic("reevaluations", OUTPUT_BYTES, WEEK),
    _topic("exceptions", OUTPUT_BYTES, MONTH),
    _topic("receipts", INPUT_BYTES, MONTH),
    _topic("outcomes", INPUT_BYTES, MONTH),
    _topic("rejections", OUTPUT_BYTES, MONTH),
    _topic("case-actions", INPUT_BYTES, MONTH),
    _topic("state", OUTPUT_BYTES, segment_bytes=SMALL_SEGMENTS),
    _topic("workers", INPUT_BYTES, DAY, partitions=1),
)
BY_KIND: Mapping[str, Topic] = MappingProxyType({topic.kind: topic for topic in TOPICS})


@dataclass(frozen=True)
class FoundTopic:
    """A topic as it is in a cluster. `copies`: of the partition that has the fewest; None: not known."""

    partitions: int
    settings: Mapping[str, str]
    copies: int | None = None


@dataclass(frozen=True)
class Difference:
    """`setting` is a Kafka setting or `partitions`."""

    topic: str
    setting: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, expected {self.expected}"


def name(prefix: str, kind: str) -> str:
    """The topic's name; a kind that is not in the table is a mistake of ours and raises KeyError."""
    return prefix + BY_KIND[kind].kind


def names(prefix: str) -> dict[str, Topic]:
    return {prefix + topic.kind: topic for topic in TOPICS}


def valid_prefix(prefix: str) -> bool:
    """Whether Kafka takes every name that begins with it."""
    return all(NAME_PATTERN.fullmatch(topic) and len(topic) <= NAME_LENGTH_MAX for topic in names(prefix))


def missing(prefix: str, found: Mapping[str, FoundTopic]) -> list[str]:
    return [topic for topic in names(prefix) if topic not in found]


def data_partitions(prefix: str, found: Mapping[str, FoundTopic]) -> int | None:
    """What `decisions` has; None when there is no such topic."""
    decisions = found.get(name(prefix, "decisions"))
    return decisions.partitions if decisions else None


def unequal_counts(prefix: str, found: Mapping[str, FoundTopic], expected: int) -> list[Difference]:
    differences = []
    for topic, table in names(prefix).items():
        count = table.partitions_of(expected)
        if topic in found and found[topic].partitions != count:
            differences.append(Difference(topic, "partitions", str(found[topic].partitions), str(count)))
    return differences


def in_sync(copies: int) -> Setting:
    """How many copies must have a record before it is acknowledged, of so many."""
    return Setting(
        "2" if copies >= COPIES else "1",
        Rule.AT_LEAST,
        "one copy may go, and records are still there and taken; with one alone a disk takes what was acknowledged",
    )


def differing_copies(prefix: str, found: Mapping[str, FoundTopic], brokers: int) -> list[Difference]:
    """Where one disk, or one broker, holds what others rely on, though there are enough of them."""
    differences = []
    for topic in names(prefix):
        if (there := found.get(topic)) is None or there.copies is None:
            continue
        if there.copies == 1 and brokers >= COPIES:
            differences.append(
                Difference(topic, "replication.factor", "1", f"more than 1 on a cluster of {brokers} brokers")
            )
        setting = in_sync(there.copies)
        if not setting.holds(there.settings.get("min.insync.replicas")):
            said = there.settings.get("min.insync.replicas", "unknown")
            differences.append(Difference(topic, "min.insync.replicas", said, f"{setting.rule} {setting.value}"))
    return differences


def differing_settings(prefix: str, found: Mapping[str, FoundTopic]) -> list[Difference]:
    differences = []
    for topic, table in names(prefix).items():
        if topic not in found:
            continue
        for key, setting in table.settings.items():
            there = found[topic].settings.get(key)
            if not setting.holds(there):
                wanted = setting.value if setting.rule is Rule.IS else f"{setting.rule} {setting.value}"
                differences.append(Difference(topic, key, there or "unknown", wanted))
    return differences
