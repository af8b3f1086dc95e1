"""`sluicegate policy check`: says everything that is wrong with a folder of policies."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from agents.cli.options import output_option
from streams.errors import ConfigurationError
from streams.policy import Policy
from streams.runtime.policies import Fault, read_folder


@click.group()
def policy() -> None:
    """Policies: what may run without a person, and how fresh it must be."""


@policy.command(
    epilog="""\b
Example of a policy:
  workflow: billing
  version: 1
  freshness: {budget: 10m, total: 30m, skew_tolerance: 2s}
  boundary:
    rules:
      - {name: disputed, when: {attributes.payment_type: {in: ["4"]}}, then: block}
      - name: small-and-sure
        then: autonomous
        limits: {value_minor_at_most: 5000, currency: USD, confidence_at_least: 0.8, reversible: true}

The first rule whose `when` holds decides, and a block rule that holds overrides it. Beyond the limits, without a rule,
or without a field that the policy needs, the decision goes to a person. Exit code 2 when something is wrong."""
)
@click.argument("folder", type=click.Path(path_type=Path))
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
            print(f"{one.name}: budget {one.freshness.own.budget_ms} ms, {len(one.rules) + len(one.blocks)} rules")
        for fault in faults:
            print(f"{fault}", file=sys.stderr)
    if faults:
        sys.exit(ConfigurationError.exit_code)


def _told(one: Policy) -> dict[str, object]:
    return {
        "policy": one.name,
        "budget_ms": one.freshness.own.budget_ms,
        "total_ms": one.freshness.total_ms,
        "skew_tolerance_ms": one.freshness.skew_tolerance_ms,
        "rules": len(one.rules) + len(one.blocks),
    }


def _fault(fault: Fault) -> dict[str, str]:
    path, found, expected = fault.problem
    return {"file": str(fault.file), "path": path, "found": found, "expected": expected}
