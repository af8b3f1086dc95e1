"""`sluicegate policy check`: says everything that is wrong with a folder of policies."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import click

from agents.cli.options import POLICIES, output_option
from streams.errors import ConfigurationError
from streams.policy import Policy
from streams.runtime.policies import Fault, read_folder
from streams.terms import Asked


@click.command(
    epilog="""\b
Example of a policy:
  workflow: billing
  version: 1
  freshness:
    budget: 10m                 # the greatest age at which acting is allowed
    total: 30m                  # ends all attempts
    on_stale: reevaluate        # or drop, or escalate
    context: [rate_card]        # stale too when this field of the entity's context has changed
    allowance: 200ms            # kept back for the executor
  evaluator: {url: "http://127.0.0.1:8080/rate", timeout: 2s}
  boundary:
    rules:
      - {name: disputed, when: {attributes.payment_type: {in: ["4"]}}, then: block}
      - name: small-and-sure
        then: autonomous
        limits: {value_minor_at_most: 5000, currency: USD, confidence_at_least: 0.8, reversible: true}

The first rule whose `when` holds decides, and a block rule that holds overrides it. Beyond the limits, without a rule,
or without a field that the policy needs, the decision goes to a person. Exit code 2 when something is wrong."""
)
@click.argument("folder", type=POLICIES)
@output_option
def check(folder: Path, output: str) -> None:
    """Check the policies in FOLDER, one YAML file per workflow."""
    policies, faults = read_folder(folder)
    if output == "json":
        print(
            json.dumps(
                {
                    "ok": not faults,
                    "policies": [_told(one) for one in policies],
                    "faults": [_fault(one) for one in faults],
                }
            )
        )
    else:
        for one in policies:
            print(f"{one.name}: {', '.join(_parts(one))}")
        for fault in faults:
            print(f"{fault}", file=sys.stderr)
    if faults:
        sys.exit(ConfigurationError.exit_code)


def _parts(one: Policy) -> Iterator[str]:
    """What a person reads of a policy: its budget, and what is set beside it."""
    terms, asked = one.freshness, one.evaluator
    yield f"budget {terms.own.budget_ms} ms"
    if terms.own.on_stale != "drop":
        yield f"on_stale {terms.own.on_stale}"
    for name, own in terms.segments.items():
        yield f"segment {name} budget {own.budget_ms} ms on_stale {own.on_stale}"
    if asked is not None:
        yield f"evaluator {asked.function or _without_password(asked.url or '')} within {asked.timeout_ms} ms"
        yield f"at most {terms.max_attempts} attempts in {terms.total_ms} ms"
    if terms.context is not None:
        yield f"context {' or '.join(sorted(terms.context)) or 'any'}"
    if terms.supersede:
        yield "supersede"
    if (kept := terms.reserve).measured:
        yield f"allowance {kept.initial_ms} ms measured within {kept.at_least_ms} to {kept.at_most_ms} ms"
    elif kept.initial_ms:
        yield f"allowance {kept.initial_ms} ms"
    if (shed := terms.shedding) is not None:
        yield f"overload from {shed.start:.0%} of the budget{' newest first' if shed.newest_first else ''}"
    yield f"{len(one.rules) + len(one.blocks)} rules"


def _told(one: Policy) -> dict[str, object]:
    terms, kept = one.freshness, one.freshness.reserve
    return {
        "policy": one.name,
        "budget_ms": terms.own.budget_ms,
        "total_ms": terms.total_ms,
        "skew_tolerance_ms": terms.skew_tolerance_ms,
        "on_stale": terms.own.on_stale,
        "max_attempts": terms.max_attempts,
        "segments": {name: asdict(own) for name, own in terms.segments.items()},
        "evaluator": None if one.evaluator is None else _told_evaluator(one.evaluator),
        "context": None if terms.context is None else sorted(terms.context) or "any",
        "supersede": terms.supersede,
        "allowance": asdict(kept) if kept.measured or kept.initial_ms else None,
        "overload": None if terms.shedding is None else asdict(terms.shedding),
        "rules": len(one.rules) + len(one.blocks),
    }


def _told_evaluator(asked: Asked) -> dict[str, object]:
    types = None if asked.action_types is None else sorted(asked.action_types)
    url = None if asked.url is None else _without_password(asked.url)
    return {**asdict(asked), "url": url, "action_types": types}


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _fault(fault: Fault) -> dict[str, str]:
    path, found, expected = fault.problem
    return {"file": str(fault.file), "path": path, "found": found, "expected": expected}
