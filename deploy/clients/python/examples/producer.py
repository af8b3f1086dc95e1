"""Proposes a payout. The id names this decision for ever: a retry repeats it, and nothing is paid twice."""

from sluicegate_kit import Decision, now_ms, produce


def decide():
    action = {"type": "pay", "to": "DE02-1203", "amount": "12.50"}
    more = {"value_minor": 1250, "currency": "EUR", "confidence": 0.97, "reversible": True}
    known = {"segment": "retail", "attributes": {"country": "de"}}
    about = {"workflow": "payout", "entity": "acct-17", "observed_at_ms": now_ms()}
    yield Decision(id="payout-17-1", action=action, **about, **known, **more)


produce(decide)
