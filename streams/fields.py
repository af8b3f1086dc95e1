"""The fields of a decision that a policy may name, and what each holds."""

from __future__ import annotations

from typing import Literal

NUMBERS = frozenset({"value_minor", "confidence"})
FLAGS = frozenset({"reversible"})
TEXTS = frozenset({"entity", "segment", "model", "proposer", "action_type"})
ATTRIBUTE = "attributes."
FIELDS = f"{', '.join(sorted(NUMBERS | FLAGS | TEXTS))} or {ATTRIBUTE}<name>"
Kind = Literal["number", "flag", "text", "attribute"]


def kind_of(field: str) -> Kind | None:
    """What a field of `when` holds, or None when no decision has it."""
    if field in NUMBERS:
        return "number"
    if field in FLAGS:
        return "flag"
    if field in TEXTS:
        return "text"
    if field.startswith(ATTRIBUTE) and len(field) > len(ATTRIBUTE):
        return "attribute"
    return None
