"""The `sluicegate` command: one group, its commands imported only when they are called.

Exit codes are stable: 0 well, 1 the check failed, 2 usage or configuration, 3 the broker cannot be reached,
4 a promise could not be kept.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

import click

from agents.cli.lazy import Commands, LazyGroup
from streams.errors import SluicegateError

TRACEBACK = "SLUICEGATE_TRACEBACK"
UNEXPECTED = "something unexpected went wrong"
MESSAGE_CHARS_MAX = 1_000  # of a usage error: it repeats what was given, which may be a page

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
    """The program: ends the process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """One call of the program: its exit code. What goes wrong is told in one sentence on stderr, never in a traceback.

    What is told as unexpected is a defect of ours: no input should get there.
    """
    _open_standard_streams()
    try:
        code = _called(list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of our output has gone (`| head`): nobody is left to tell
        _let_go_of_stdout()
        return 0
    except OSError as error:
        _let_go_of_stdout()
        return _told(f"the machine refuses: {error}", 1)
    except MemoryError:
        return _told("there is not enough memory for it", 1)
    except Exception as error:
        if os.environ.get(TRACEBACK) == "1":
            raise
        what = f"{type(error).__name__}: {error}"[:MESSAGE_CHARS_MAX]
        return _told(f"{UNEXPECTED} ({what}); {TRACEBACK}=1 shows where, which is what a report of it needs", 1)
    return code


def _called(arguments: list[str]) -> int:
    try:
        found = cli.main(arguments, prog_name="sluicegate", standalone_mode=False)
        return found if isinstance(found, int) else 0
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # click has an exit of its own for it
            raise ended.__context__ from None
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except SluicegateError as error:
        return _told(str(error), error.exit_code)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        if len(error.message) > MESSAGE_CHARS_MAX:
            error.message = error.message[:MESSAGE_CHARS_MAX] + "…"
        error.show()
        if isinstance(error, click.UsageError) and error.ctx is not None:
            error.ctx.close()  # click leaves open what was opened for an argument before the one that it refuses
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130


def _told(message: str, code: int) -> int:
    print(f"sluicegate: {message}", file=sys.stderr)
    return code


def _open_standard_streams() -> None:
    """Nothing that is opened later may become stdin, stdout or stderr where the caller has closed one; and what a
    terminal cannot show is shown with backslashes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _let_go_of_stdout() -> None:
    """What is still buffered must not fail when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
