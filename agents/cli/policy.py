"""`sluicegate policy ...`: the life of a policy, from a file to what is in force on all workers, and back."""

from __future__ import annotations

import click

from agents.cli.lazy import Commands, LazyGroup

# in the order in which a policy meets them
COMMANDS: Commands = {
    "check": ("agents.cli.policy_check", "check", "Say everything that is wrong with a folder of policies."),
    "explain": ("agents.cli.explain", "explain", "Show for one decision every rule tried, and which one decided."),
    "diff": ("agents.cli.diff", "diff", "Show what differs between policies, or from what is in force."),
    "backtest": (
        "agents.cli.backtest",
        "backtest",
        "Replay recorded decisions: what would change, and how much value.",
    ),
    "apply": ("agents.cli.policy_apply", "apply", "Publish policies; returns when all live workers have them."),
    "history": ("agents.cli.policy_apply", "history", "Who put which version in force, when and why."),
    "show": ("agents.cli.policy_apply", "show", "Print a version as it was published."),
    "rollback": ("agents.cli.policy_apply", "rollback", "Put an earlier version in force again."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def policy() -> None:
    """Policies: what may run without a person, and how fresh it must be.

    A version that was published never changes: what is in force is a pointer to one. A change is tried before
    (`explain`, `diff`, `backtest`), takes effect on running workers within a second or so, and is undone by `rollback`.
    """
