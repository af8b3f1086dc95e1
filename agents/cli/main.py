"""The `sluicegate` command: one group, its commands imported only when they are called.

Exit codes are stable: 0 well, 1 the check failed, 2 usage or configuration, 3 the broker cannot be reached,
4 a promise could not be kept.
"""

from __future__ import annotations

import sys

import click

from agents.cli.lazy import Commands, LazyGroup
from streams.errors import SluicegateError

COMMANDS: Commands = {
    "demo": ("agents.cli.demo", "demo", "Real billing decisions through the gate, on a broker of its own."),
    "broker": ("agents.cli.broker", "broker", "Run an Apache Kafka, one node or three: no Docker, no Java to install."),
    "topics": ("agents.cli.topics", "topics", "Create the topics, or say what differs."),
    "policy": ("agents.cli.policy", "policy", "The life of a policy: check, try, publish, undo."),
    "try": ("agents.cli.try_", "try_", "Try decisions against policies, without a Kafka."),
    "worker": ("agents.cli.worker", "worker", "Run the gate."),
    "halt": ("agents.cli.halt", "halt", "Stop all of a workflow, segment, model or action type, at once."),
    "resume": ("agents.cli.halt", "resume", "End a halt, with the reason."),
    "recall": ("agents.cli.halt", "recall", "Take back one command that was not started."),
    "send": ("agents.cli.send", "send", "Send decisions by hand, from a file or stdin."),
    "reviews": (
        "agents.cli.reviews",
        "reviews",
        "What waits for a person: list, show, approve, reject, modify, watch.",
    ),
    "why": ("agents.cli.why", "why", "The whole story of one decision, in the order in which it happened."),
    "tail": ("agents.cli.tail", "tail", "Look at a topic, record by record."),
    "latency": ("agents.cli.latency", "latency", "How old decisions are, stage by stage, against their budgets."),
    "budget": ("agents.cli.budget", "budget", "Replay recorded traffic under other budgets, and choose one."),
    "offsets": ("agents.cli.offsets", "offsets", "How far the workers have read, by all who claim to know it."),
    "audit": (
        "agents.cli.audit",
        "audit",
        "Check the promises over whole topics, independently of the gate.",
    ),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: sluicegate demo. Exit codes: 0 well, 1 the check failed, 2 usage or configuration, "
    "3 the broker cannot be reached, 4 a promise could not be kept.",
)
@click.version_option(package_name="sluicegate", message="sluicegate %(version)s")
def cli() -> None:
    """The gate between AI decisions and actions, on Kafka.

    Every decision leaves it exactly one way: as a command for an executor, as a review for a person, or as an
    exception that can be worked; with its reason, its age, and the rule of the policy that decided.
    """


def main() -> None:
    try:
        cli.main(standalone_mode=False)
    except SluicegateError as error:
        print(f"sluicegate: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # the reader of our output has gone (`| head`): nobody is left to tell
        sys.stderr.close()
        sys.exit(0)
