from __future__ import annotations

import pytest

from schemas.topics import (
    BY_KIND,
    TOPICS,
    FoundTopic,
    Rule,
    Setting,
    data_partitions,
    differing_copies,
    differing_settings,
    missing,
    name,
    names,
    unequal_counts,
    valid_prefix,
)

# DESIGN section 3 and CONTRACT, typed again on purpose
KINDS = [
    "decisions",
    "successors",
    "context",
    "policies",
    "commands",
    "reviews",
    "verdicts",
    "reevaluations",
    "exceptions",
    "receipts",
    "outcomes",
    "rejections",
    "case-actions",
    "state",
    "workers",
]


def as_wanted(prefix: str = "s.", partitions: int = 4) -> dict[str, FoundTopic]:
    return {
        topic: FoundTopic(
            table.partitions_of(partitions), {key: setting.value for key, setting in table.settings.items()}
        )
        for topic, table in names(prefix).items()
    }


def test_every_topic_of_the_contract_is_in_the_table_once() -> None:
    assert [topic.kind for topic in TOPICS] == KINDS
    assert list(BY_KIND) == KINDS


def test_only_what_everybody_reads_whole_has_one_partition() -> None:
    assert [topic.kind for topic in TOPICS if topic.partitions == 1] == ["policies", "workers"]
    assert all(topic.partitions in (None, 1) for topic in TOPICS)


def test_compacted_topics_have_no_retention_and_the_others_have_one() -> None:
    compacted = [topic.kind for topic in TOPICS if topic.settings["cleanup.policy"].value == "compact"]
    assert compacted == ["context", "policies", "state"]
    assert all(("retention.ms" in topic.settings) != (topic.kind in compacted) for topic in TOPICS)


def test_nothing_is_removed_by_size_and_no_leader_that_lags_is_elected() -> None:
    """A default of the cluster's own must not take what was acknowledged and not read yet."""
    assert all(topic.settings["unclean.leader.election.enable"].value == "false" for topic in TOPICS)
    kept = [topic.settings["retention.bytes"] for topic in TOPICS if "retention.ms" in topic.settings]
    assert {(setting.value, setting.rule) for setting in kept} == {("-1", Rule.IS)}
    found = as_wanted()
    found["s.decisions"] = FoundTopic(4, {**found["s.decisions"].settings, "retention.bytes": "1073741824"})
    assert list(map(str, differing_settings("s.", found))) == [
        "s.decisions: retention.bytes is 1073741824, expected -1"
    ]


@pytest.mark.parametrize(
    ("copies", "in_sync", "brokers", "said"),
    [
        (1, "1", 1, []),
        (1, "1", 3, ["s.decisions: replication.factor is 1, expected more than 1 on a cluster of 3 brokers"]),
        (2, "1", 3, []),
        (3, "2", 3, []),
        (3, "3", 3, []),
        (3, "1", 3, ["s.decisions: min.insync.replicas is 1, expected at least 2"]),
        (None, "1", 3, []),
    ],
)
def test_copies_are_held_against_the_brokers_that_there_are(
    copies: int | None, in_sync: str, brokers: int, said: list[str]
) -> None:
    found = {"s.decisions": FoundTopic(4, {"min.insync.replicas": in_sync}, copies)}
    assert list(map(str, differing_copies("s.", found, brokers))) == said


def test_what_the_gate_writes_takes_2_mib() -> None:
    large = {topic.kind for topic in TOPICS if topic.settings["max.message.bytes"].value == str(2 * 1024 * 1024)}
    assert large >= {"commands", "reviews", "exceptions", "reevaluations", "state", "successors"}
    assert BY_KIND["decisions"].settings["max.message.bytes"].value == "1048588"


def test_every_setting_says_why() -> None:
    assert all(setting.why for topic in TOPICS for setting in topic.settings.values())


@pytest.mark.parametrize(
    ("rule", "found", "holds"),
    [
        (Rule.IS, "100", True),
        (Rule.IS, "101", False),
        (Rule.AT_LEAST, "100", True),
        (Rule.AT_LEAST, "99", False),
        (Rule.AT_LEAST, "-1", True),
        (Rule.AT_LEAST, "many", False),
        (Rule.AT_MOST, "100", True),
        (Rule.AT_MOST, "101", False),
        (Rule.AT_MOST, "-1", False),
        (Rule.AT_MOST, "many", False),
        (Rule.IS, None, False),
    ],
)
def test_a_setting_holds_by_its_rule(rule: Rule, found: str | None, holds: bool) -> None:
    assert Setting("100", rule, "a test").holds(found) is holds


def test_nothing_differs_in_topics_made_by_the_table() -> None:
    found = as_wanted(partitions=7)
    assert missing("s.", found) == []
    assert data_partitions("s.", found) == 7
    assert unequal_counts("s.", found, 7) == []
    assert differing_settings("s.", found) == []


def test_each_difference_is_named() -> None:
    found = as_wanted()
    del found["s.reviews"]
    found["s.commands"] = FoundTopic(3, found["s.commands"].settings)
    found["s.policies"] = FoundTopic(2, found["s.policies"].settings)
    found["s.state"] = FoundTopic(4, {**found["s.state"].settings, "cleanup.policy": "delete"})
    found["s.receipts"] = FoundTopic(4, {**found["s.receipts"].settings, "retention.ms": "1000"})
    found["s.workers"] = FoundTopic(1, {})
    assert missing("s.", found) == ["s.reviews"]
    assert [str(one) for one in unequal_counts("s.", found, 4)] == [
        "s.policies: partitions is 2, expected 1",
        "s.commands: partitions is 3, expected 4",
    ]
    said = [str(one) for one in differing_settings("s.", found)]
    assert said[:2] == [
        "s.receipts: retention.ms is 1000, expected at least 2592000000",
        "s.state: cleanup.policy is delete, expected compact",
    ]
    assert said[2] == "s.workers: message.timestamp.type is unknown, expected LogAppendTime"


def test_without_decisions_nothing_decides_the_count() -> None:
    assert data_partitions("s.", {}) is None


def test_names_begin_with_the_prefix() -> None:
    assert name("sluicegate.", "case-actions") == "sluicegate.case-actions"
    with pytest.raises(KeyError):
        name("sluicegate.", "decision")


@pytest.mark.parametrize(
    ("prefix", "valid"),
    [
        ("sluicegate.", True),
        ("", True),
        ("a_b-c.", True),
        ("a b", False),
        ("ä.", False),
        ("x" * 237, False),
        ("a\n", False),
    ],
)
def test_a_prefix_kafka_refuses_is_known_beforehand(prefix: str, valid: bool) -> None:
    assert valid_prefix(prefix) is valid
