"""Identifiers that anybody can compute again from the contract (CONTRACT: "Identifiers")."""

from __future__ import annotations

from hashlib import sha256


def root_digest(root_id: str) -> bytes:
    """16 bytes that stand for a root decision: `command_id` is their hex, and the window remembers them."""
    return sha256(b"sluicegate:" + root_id.encode()).digest()[:16]


def command_id(digest: bytes) -> str:
    """The command id of a root, from its `root_digest`."""
    return "c-" + digest.hex()


def review_id(topic: str, partition: int, offset: int) -> str:
    return f"r-{partition}-" + sha256(f"review:{topic}/{partition}/{offset}".encode()).hexdigest()[:32]


def request_id(topic: str, partition: int, offset: int) -> str:
    """Of a record on `reevaluations`."""
    return f"q-{partition}-" + sha256(f"reevaluation:{topic}/{partition}/{offset}".encode()).hexdigest()[:32]


def successor_id(root_id: str, attempt: int) -> str:
    return f"{root_id}~{attempt}"


def exception_id(topic: str, partition: int, offset: int, reason: str) -> str:
    return "x-" + sha256(f"exception:{topic}/{partition}/{offset}:{reason}".encode()).hexdigest()[:32]


def rejection_id(topic: str, partition: int, offset: int) -> str:
    """Of a record on `rejections`, from the place of the one that it is about."""
    return "n-" + sha256(f"rejection:{topic}/{partition}/{offset}".encode()).hexdigest()[:32]


def action_digest(action: bytes) -> str:
    """The digest that binds a review to exactly these bytes."""
    return "sha256:" + sha256(action).hexdigest()
