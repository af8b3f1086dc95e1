"""The job that is measured, as data: decisions made from a seed, and the output that each belongs in.

Five workflows, 5,000 entities, about 360 bytes a decision; 79.9 % become commands, 10 % are stale, 10 % are for
a person (half for their value, half for their confidence), 0.1 % are cut short. `policies/` states the same job for
the gate, and `bare_loop` for the loop beside it. `sent_us` travels inside the action, which nobody may touch: so the
latency can be read off an output, whatever wrote it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

import orjson

OUTPUTS = ("commands", "reviews", "exceptions")
COMMANDS, REVIEWS, EXCEPTIONS = range(3)

ENTITIES = 5_000
MODELS = ("risk-lgbm-2025.3", "risk-llm-7b-q4", "router-v12", "pricing-xgb-88")
ACTIONS = ("send", "hold", "credit", "notify")
CUT_BYTES = 40  # off the end of a malformed one: no JSON any more, its id and time can still be read
FRESH_FOR_MS = 400_000  # what is fresh when it is made stays so for longer than a run takes
STALE_BY_MS = 5_000
SENT = b'"sent_us":%d'


class Terms(NamedTuple):
    budget_ms: int
    limit_minor: int


WORKFLOWS = {
    "refund": Terms(600_000, 25_000),
    "payout": Terms(900_000, 100_000),
    "kyc-review": Terms(1_200_000, 500_000),
    "dispatch": Terms(1_800_000, 12_000),
    "pricing": Terms(3_600_000, 7_500),
}
CONFIDENCE_FLOOR = 0.60


@dataclass(frozen=True, slots=True)
class Load:
    """Decisions in the order in which they are sent; number i is at index i, and `outputs[i]` is where it belongs."""

    made_ms: int
    keys: list[bytes]
    values: list[bytes]
    outputs: bytes

    def stamped(self, number: int, sent_us: int) -> bytes:
        """The value with the time (16 digits, epoch microseconds) at which it is now sent."""
        return self.values[number].replace(SENT % (self.made_ms * 1000), SENT % sent_us, 1)


def make(count: int, now_ms: int, seed: int) -> Load:
    """`count` decisions as of `now_ms`; the same arguments make the same ones."""
    rnd = random.Random(f"{seed}/{count}")
    kinds = ["malformed"] * (count // 1000) + ["stale"] * (count // 10) + ["review"] * (count // 10)
    kinds += ["command"] * (count - len(kinds))
    rnd.shuffle(kinds)
    belongs = {"malformed": EXCEPTIONS, "stale": EXCEPTIONS, "review": REVIEWS, "command": COMMANDS}
    keys, values = [], []
    for number, kind in enumerate(kinds):
        entity, value = _decision(rnd, number, kind, now_ms)
        keys.append(entity.encode())
        values.append(value[:-CUT_BYTES] if kind == "malformed" else value)
    return Load(now_ms, keys, values, bytes(belongs[kind] for kind in kinds))


def entity_of(number: int) -> bytes:
    return b"ent-%06d" % number


def _decision(rnd: random.Random, number: int, kind: str, now_ms: int) -> tuple[str, bytes]:
    chance = rnd.random
    workflow = rnd.choice(tuple(WORKFLOWS))
    terms = WORKFLOWS[workflow]
    entity = entity_of(int(chance() * ENTITIES)).decode()
    if kind == "stale":
        age_ms = int(terms.budget_ms + STALE_BY_MS + chance() * terms.budget_ms)
    else:
        age_ms = int(chance() * (terms.budget_ms - FRESH_FOR_MS))
    value_minor, confidence = int(terms.limit_minor * chance() * 0.99), round(0.61 + chance() * 0.389, 4)
    if kind == "review" and number % 2:
        value_minor = int(terms.limit_minor * (1.05 + chance() * 3))
    elif kind == "review":
        confidence = round(0.1 + chance() * 0.45, 4)
    return entity, orjson.dumps(
        {
            "id": f"b{number:08d}-{rnd.getrandbits(96):024x}",
            "workflow": workflow,
            "entity": entity,
            "action": {
                "type": f"{rnd.choice(ACTIONS)}-{number:08d}",  # its own, so that no decision supersedes another
                "sent_us": now_ms * 1000,
                "target": f"acct-{int(chance() * 1e9):09d}",
                "params": {"channel": "api", "note": "auto decision"},
            },
            "observed_at_ms": now_ms - age_ms,
            "decided_at_ms": now_ms - age_ms + int(min(age_ms, 2_000) * chance()),
            "confidence": confidence,
            "value_minor": value_minor,
            "currency": "EUR",
            "model": rnd.choice(MODELS),
            "context_version": 1,
        }
    )
