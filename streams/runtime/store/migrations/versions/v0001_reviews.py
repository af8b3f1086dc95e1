"""Reviews, verdicts, what the topics said about them, and how far the topics were read."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Text

revision = "0001"
down_revision = None


def upgrade() -> None:
    _followed()
    _told()


def _followed() -> None:
    op.create_table(
        "sluicegate_store",
        Column("id", Integer, primary_key=True),
        Column("cluster", String(200), nullable=False),
        Column("prefix", String(249), nullable=False),
        Column("generation", Integer, nullable=False),
    )
    op.create_table(
        "sluicegate_offsets",
        Column("topic", String(40), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("next", BigInteger, nullable=False),
    )
    op.create_table(
        "sluicegate_records",
        Column("topic", String(40), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("position", BigInteger, primary_key=True),
        Column("at_ms", BigInteger, nullable=False),
        Column("review_id", String(200)),
        Column("verdict_number", Integer),
        Column("verdict_position", BigInteger),
        Column("text", Text, nullable=False),
    )
    op.create_index("sluicegate_records_review", "sluicegate_records", ["review_id"])
    op.create_index("sluicegate_records_verdict", "sluicegate_records", ["verdict_number", "verdict_position"])


def _told() -> None:
    op.create_table(
        "sluicegate_reviews",
        Column("review_id", String(200), primary_key=True),
        Column("number", Integer, nullable=False),
        Column("kind", String(40), nullable=False),
        Column("state", String(20), nullable=False),
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
        Column("approved_by", Text, nullable=False),
        Column("escalated", Boolean, nullable=False),
        Column("gated_at_ms", BigInteger, nullable=False),
        Column("fresh_until_ms", BigInteger, nullable=False),
        Column("escalate_at_ms", BigInteger, nullable=False),
        Column("deadline_ms", BigInteger, nullable=False),
        Column("opened_at_ms", BigInteger, nullable=False),
        Column("changed_at_ms", BigInteger, nullable=False),
        Column("ended_how", Text),
        Column("ended_id", Text),
        Column("ended_by", Text),
        Column("ended_at_ms", BigInteger),
        Column("ended_detail", Text),
        Column("text", Text, nullable=False),
    )
    op.create_table(
        "sluicegate_verdicts",
        Column("number", Integer, primary_key=True),
        Column("position", BigInteger, primary_key=True),
        Column("review_id", String(200), nullable=False),
        Column("verdict", String(20), nullable=False),
        Column("by", Text, nullable=False),
        Column("key_id", Text),
        Column("action_digest", Text, nullable=False),
        Column("note", Text),
        Column("said_at_ms", BigInteger),
        Column("at_ms", BigInteger, nullable=False),
        Column("result", String(20), nullable=False),
        Column("reason", Text),
        Column("detail", Text),
    )
    op.create_index("sluicegate_reviews_open", "sluicegate_reviews", ["state", "deadline_ms"])
    op.create_index("sluicegate_verdicts_review", "sluicegate_verdicts", ["review_id"])
