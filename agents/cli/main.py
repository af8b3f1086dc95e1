"""The `sluicegate` command: one group, its commands imported only when they are called.

Exit codes are stable: 0 well, 1 the check failed, 2 usage or configuration, 3 the broker cannot be reached,
4 a promise could not be kept.
"""

from __future__ import annotations

import importlib
import sys

import click

from streams.errors import SluicegateError

# name -> (module, its click command, one line for `--help`)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("agents.cli.demo", "demo", "Real billing decisions through the gate, on a broker of its own."),
    "broker": ("agents.cli.broker", "broker", "Run an Apache Kafka, one node or three: no Docker, no Java to install."),
    "topics": ("agents.cli.topics", "topics", "Create the topics, or say what differs."),
    "policy": ("agents.cli.policy", "policy", "Check policy documents."),
    "try": ("agents.cli.try_", "try_", "Try decisions against policies, without a Kafka."),
    "worker": ("agents.cli.worker", "worker", "Run the gate."),
    "send": ("agents.cli.send", "send", "Send decisions by hand, from a file or stdin."),
    "tail": ("agents.cli.tail", "tail", "Look at a topic, record by record."),
    "latency": ("agents.cli.latency", "latency", "How old decisions are, stage by stage, against their budgets."),
    "budget": ("agents.cli.budget", "budget", "Replay recorded traffic under other budgets, and choose one."),
    "audit": (
        "agents.cli.audit",
        "audit",
        "Check the promises over whole topics, independently of the gate.",
    ),
}


class LazyGroup(click.Group):
    """Imports a command's module when it is first needed, so that `--help` and small commands start at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, _, about) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
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
