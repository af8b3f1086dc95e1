"""Who may answer reviews: the keys that sign verdicts, the persons that each may speak for, and what these may approve.

`by` in a verdict is a claim; it is believed when a key that was given to that person signed exactly these bytes. What
its roles may approve is the policy's to say (`review.approvers`), up to a value: in its currency, by its magnitude.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

from schemas.decision import Decision
from schemas.policy import Approver
from schemas.rejection import Reason
from streams.chains import is_chain, worth
from streams.signatures import verify


class Key(NamedTuple):
    """One key: its secret, and the roles of the persons that it may speak for."""

    secret: bytes
    by: Mapping[str, Set[str]]


class Unauthorised(NamedTuple):
    """Why a signature says nothing about a person."""

    reason: Reason
    detail: str


class Keys:
    """The keys by key-id."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = dict(keys)
        self._secrets = {key_id: key.secret for key_id, key in keys.items()}

    def roles(self, signature: bytes | None, value: bytes, by: str) -> Set[str] | Unauthorised:
        """The roles in which `by` has signed these bytes, or why nobody has."""
        key_id = verify(self._secrets, signature, value)
        if key_id is None:
            what = "it has no signature" if signature is None else "its signature fits no key that is known here"
            return Unauthorised("verdict.unsigned", what)
        roles = self._keys[key_id].by.get(by)
        if roles is None:
            return Unauthorised("verdict.by", f"the key {key_id!r} may not speak for {by!r:.200}")
        return roles


NO_KEYS = Keys({})


def may_not(roles: Set[str], approvers: list[Approver], decision: Decision) -> str | None:
    """Why somebody in these roles may not approve so much, or None: they may. Without approvers everybody may.

    Where an approver has a limit, a value that is absent or in another currency is over it: nothing is guessed.
    """
    if not approvers:
        return None
    own = [one for one in approvers if one.role in roles]
    for one in own:
        if one.value_minor_at_most is None or is_within(decision, one.value_minor_at_most, one.currency):
            return None
    told = ", ".join(sorted(roles)) or "none"
    if not own:
        wanted = ", ".join(sorted({one.role for one in approvers}))
        return f"the policy lets {wanted} approve; the roles of this person: {told}"
    value = "an unknown value" if decision.value_minor is None else f"{decision.value_minor} {decision.currency}"
    if is_chain(decision):
        value += " or what its steps come to"
    return f"the roles of this person ({told}) may not approve {value}"


def is_within(decision: Decision, value_minor_at_most: int, currency: str | None) -> bool:
    """Whether the decision, all its steps together, is known to be worth no more than this."""
    found = "field_missing" if currency is None else worth(decision, currency)
    return isinstance(found, int) and found <= value_minor_at_most
