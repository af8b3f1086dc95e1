"""`sluicegate reviews approve | reject | modify`: a signed verdict, and what was made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import IO, Annotated, Any

import click
import msgspec
from msgspec import Meta

from agents.cli.desk import Desk, caught_up, desk_options, run
from agents.cli.files import InputFile, file_name, whole
from agents.cli.options import KEY_FILE, LONG_NAME, SHORT_WAIT
from agents.cli.values import CONTEXT_VERSION, CURRENCY, DIGEST, MONEY, Text, Whole
from agents.desk.answer import Answered, action_of, answerable, heard, named, say
from agents.desk.keys import Key, key_of
from agents.desk.view import value
from agents.why.telling import clock
from schemas.common import TIME_MS_MAX, VALUE_BYTES_MAX, Id
from schemas.identifiers import action_digest
from schemas.verdict import NO_ACTION, Verdict
from streams.encoding import Unwritable, readable
from streams.errors import CheckFailed, ConfigurationError
from streams.runtime.clock import clock_ms

WAIT_S = 10.0
REVIEWER = Text(Id, "ana")
NOTE = Text(Annotated[str, Meta(max_length=4_000)], "called the customer")  # a page; the record has room for more
REVIEW_ID = Text(Annotated[str, Meta(max_length=100)], "r-2-3fa9c1d0")  # or its beginning
KEYS = (
    "The key is a line <key-id>:<secret> in a file (--key-file, SLUICEGATE_KEY_FILE) or in SLUICEGATE_VERDICT_KEY. "
    "The exit code is 0 when the verdict is accepted; 1 when it is refused, leads to nothing that may be done, or is "
    "not answered in time."
)


@dataclass(frozen=True)
class Saying:
    """Who says it, with which key, of which action (the beginning of its digest), how long an answer is waited for."""

    by: str
    key: Key
    note: str | None
    digest: str | None
    wait_s: float


@dataclass(frozen=True)
class Proposal:
    """What `modify` puts in the action's place; what is None stays as the decision has it."""

    action: msgspec.Raw
    value_minor: int | None = None
    currency: str | None = None
    observed_at_ms: int | None = None
    context_version: int | None = None


def saying_options(command: Callable[..., None]) -> Callable[..., None]:
    """The review and all that says who answers it how; the command gets `desk`, `review_id` and `saying`."""

    @wraps(command)
    def saying(
        by: str,
        note: str | None,
        key_file: Path | None,
        key_id: str | None,
        digest: str | None,
        wait_s: float,
        **others: Any,
    ) -> None:
        command(saying=Saying(by, key_of(key_file, key_id), note, digest, wait_s), **others)

    options = [
        click.argument("review_id", metavar="ID", type=REVIEW_ID),
        click.option(
            "--by", type=REVIEWER, required=True, envvar="SLUICEGATE_REVIEWER", show_envvar=True, help="Who says it."
        ),
        click.option("--note", type=NOTE, help="Why, for whoever asks later."),
        click.option(
            "--key-file",
            type=KEY_FILE,
            envvar="SLUICEGATE_KEY_FILE",
            show_envvar=True,
            help="A file of lines <key-id>:<secret>.",
        ),
        click.option("--key-id", type=LONG_NAME, metavar="ID", help="Which of several keys signs."),
        click.option(
            "--digest",
            type=DIGEST,
            metavar="sha256:...",
            help="The action that you looked at; refused if it was modified since.",
        ),
        click.option(
            "--wait",
            "wait_s",
            type=SHORT_WAIT,
            default=WAIT_S,
            show_default=True,
            metavar="SECONDS",
            help="How long an answer is waited for; 0: not at all.",
        ),
    ]
    told: Callable[..., None] = saying
    for option in reversed(options):
        told = option(told)
    return desk_options(told)


@click.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate reviews approve r-2-3fa9c1d0 --by ana --key-file ~/.sluicegate-key\n"
    "  sluicegate reviews approve r-2-3fa9c1d0 --by ana --digest sha256:77ab01cd --note 'called the customer'\n\n"
    + KEYS
)
@saying_options
def approve(desk: Desk, review_id: str, saying: Saying) -> None:
    """Approve the action under review, as it stands now; checked again before it becomes a command."""
    run(lambda: answered(desk, review_id, "approve", saying, None))


@click.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate reviews reject r-2-3fa9c1d0 --by ana --key-file ~/.sluicegate-key --note 'not our customer'\n\n"
    + KEYS
)
@saying_options
def reject(desk: Desk, review_id: str, saying: Saying) -> None:
    """Reject it: it ends as the exception review.rejected, and nothing is done."""
    run(lambda: answered(desk, review_id, "reject", saying, None))


@click.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate reviews modify r-2-3fa9c1d0 --by ana --action smaller.json --value-minor 9900 --currency USD\n"
    "  sluicegate reviews modify r-2-3fa9c1d0 --by ana --action anew.json --observed-at-ms 1764000700000\n\n"
    "FILE (- is stdin) holds the new action, JSON, byte for byte. A decision that is stale already needs a new "
    "observation with it. A modification is the approval of what it proposes: where two must approve, another person "
    "approves the new action. " + KEYS
)
@saying_options
@click.option(
    "--action", "action_file", type=InputFile("action.json"), required=True, metavar="FILE", help="The new action."
)
@click.option("--value-minor", type=MONEY, metavar="N", help="Its value in the currency's minor unit.")
@click.option("--currency", type=CURRENCY, metavar="ISO", help="The currency of the value.")
@click.option(
    "--observed-at-ms",
    type=Whole(0, TIME_MS_MAX, 1764000700000),
    metavar="MS",
    help="When what it rests on was observed, epoch milliseconds.",
)
@click.option(
    "--context-version", type=CONTEXT_VERSION, metavar="N", help="The version of the context that it rests on."
)
def modify(
    desk: Desk,
    review_id: str,
    saying: Saying,
    action_file: IO[bytes],
    value_minor: int | None,
    currency: str | None,
    observed_at_ms: int | None,
    context_version: int | None,
) -> None:
    """Put another action in its place and approve that; it is checked against the boundary again."""
    if value_minor is not None and currency is None:
        raise click.UsageError("--value-minor needs its --currency")
    action = action_of(whole(action_file, VALUE_BYTES_MAX, "an action"), file_name(action_file))
    proposal = Proposal(action, value_minor, currency, observed_at_ms, context_version)
    run(lambda: answered(desk, review_id, "modify", saying, proposal))


async def answered(desk: Desk, review_id: str, word: str, saying: Saying, proposal: Proposal | None) -> None:
    """Says the verdict and tells in one line what was made of it. Raises CheckFailed unless it is accepted."""
    async with caught_up(desk) as follower:
        row = named(follower.store, review_id)
        review = answerable(row, saying.digest)
        verdict = _verdict(review.review_id, review.action_digest, word, saying, proposal)
        new = f" -> {action_digest(bytes(proposal.action))[:23]}…" if proposal else ""
        shown = f", {value(row)}" if value(row) else ""
        click.echo(
            f"{word} {review.review_id} as {saying.by}: {row['workflow']} for {row['entity']}{shown}, "
            f"{review.action_digest[:23]}…{new}, until {clock(review.deadline_ms)}",
            err=True,
        )
        place = await say(desk.bootstrap, desk.prefix, review, verdict, saying.key)
        if saying.wait_s == 0:
            result = Answered(True, f"written to verdicts/{place[0]} at offset {place[1]}; nobody was waited for")
        else:
            result = await heard(follower, place, verdict, saying.wait_s)
    if not result.accepted:
        raise CheckFailed(result.line)
    click.echo(result.line)


def _verdict(review_id: str, digest: str, word: str, saying: Saying, proposal: Proposal | None) -> Verdict:
    proposed = proposal or Proposal(msgspec.Raw(NO_ACTION))
    fields = {"review_id": review_id, "verdict": word, "action_digest": digest, "by": saying.by, "at_ms": clock_ms()}
    more = {name: getattr(proposed, name) for name in ("value_minor", "currency", "observed_at_ms", "context_version")}
    given = {name: told for name, told in {**fields, **more, "note": saying.note}.items() if told is not None}
    try:
        verdict = msgspec.convert({**given, "action": proposed.action}, Verdict)
        readable(verdict)  # before anything is opened
    except (msgspec.ValidationError, Unwritable) as error:
        raise ConfigurationError(f"this is no verdict: {error}") from error
    return verdict
