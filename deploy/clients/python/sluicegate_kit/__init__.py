"""Sluicegate's two ends: producers that emit decisions, executors that act on commands. You write one function each."""

from __future__ import annotations

from sluicegate_kit.clock import now_ms
from sluicegate_kit.decision import Decision
from sluicegate_kit.errors import BrokerUnreachable, KitError, Refuse, StoreTrouble
from sluicegate_kit.executor import Executor
from sluicegate_kit.limits import Limits
from sluicegate_kit.losses import Lost
from sluicegate_kit.main import produce, run
from sluicegate_kit.producer import Producer, Sent
from sluicegate_kit.records import Command, Receipt
from sluicegate_kit.store import Acting, Done, Intent, New, Store, open_store
from sluicegate_kit.sync import SyncProducer

__all__ = [
    "Acting",
    "BrokerUnreachable",
    "Command",
    "Decision",
    "Done",
    "Executor",
    "Intent",
    "KitError",
    "Limits",
    "Lost",
    "New",
    "Producer",
    "Receipt",
    "Refuse",
    "Sent",
    "Store",
    "StoreTrouble",
    "SyncProducer",
    "now_ms",
    "open_store",
    "produce",
    "run",
]
