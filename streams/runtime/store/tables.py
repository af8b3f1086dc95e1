"""The tables, in SQL that SQLite and PostgreSQL both speak; the migrations make them, step by step.

`sluicegate_records` holds what the topics said about reviews, each record once, under its place. `sluicegate_reviews`
and `sluicegate_verdicts` follow from it (`standing`), and `sluicegate_offsets` says how far the topics were read.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

STORE = Table(
    "sluicegate_store",
    METADATA,
    Column("id", Integer, primary_key=True),  # one row
    Column("cluster", String(200), nullable=False),
    Column("prefix", String(249), nullable=False),
    Column("generation", Integer, nullable=False),  # one more at each rebuild
)
OFFSETS = Table(
    "sluicegate_offsets",
    METADATA,
    Column("topic", String(40), primary_key=True),  # its kind, without the prefix
    Column("number", Integer, primary_key=True),
    Column("next", BigInteger, nullable=False),
)
RECORDS = Table(
    "sluicegate_records",
    METADATA,
    Column("topic", String(40), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),  # the broker's time
    Column("review_id", String(200)),
    Column("verdict_number", Integer),  # the place of the verdict that it answers
    Column("verdict_position", BigInteger),
    Column("text", Text, nullable=False),
    Index("sluicegate_records_review", "review_id"),
    Index("sluicegate_records_verdict", "verdict_number", "verdict_position"),
)
REVIEWS = Table(
    "sluicegate_reviews",
    METADATA,
    Column("review_id", String(200), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("state", String(20), nullable=False),  # open, ended
    Column("workflow", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("value_minor", BigInteger),
    Column("currency", Text),
    Column("proposer", Text),
    Column("action_digest", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("rule", Text),
    Column("quorum", Integer, nullable=False),
    Column("approvals", Integer, nullable=False),
    Column("approved_by", Text, nullable=False),  # a JSON list
    Column("escalated", Boolean, nullable=False),
    Column("gated_at_ms", BigInteger, nullable=False),
    Column("fresh_until_ms", BigInteger, nullable=False),
    Column("escalate_at_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    Column("ended_how", Text),  # approved, reevaluated, answered, or an exception's reason
    Column("ended_id", Text),  # of the command, the exception or the request
    Column("ended_by", Text),
    Column("ended_at_ms", BigInteger),
    Column("ended_detail", Text),
    Column("text", Text, nullable=False),  # the newest record of `reviews` about it
    Index("sluicegate_reviews_open", "state", "deadline_ms"),
)
VERDICTS = Table(
    "sluicegate_verdicts",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("review_id", String(200), nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("by", Text, nullable=False),
    Column("key_id", Text),  # as claimed by the signature; null where there is none
    Column("action_digest", Text, nullable=False),
    Column("note", Text),
    Column("said_at_ms", BigInteger),  # by the reviewer's clock
    Column("at_ms", BigInteger, nullable=False),
    Column("result", String(20), nullable=False),  # waiting, accepted, rejected
    Column("reason", Text),
    Column("detail", Text),
    Index("sluicegate_verdicts_review", "review_id"),
)
