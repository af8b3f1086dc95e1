"""The window of `latency`: what counts, what it is held against, what is forgotten; and the table in 80 columns."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Console

from agents.latency.lag import Lag
from agents.latency.recent import Recent, Told
from agents.latency.view import as_document, frame
from agents.latency.watch import Snapshot

NOW_MS = 1_764_000_000_000
STAGES_MS = {"inference": 100, "producer": 20, "transport": 5, "queue": 30, "gate": 2}


def output(**fields: Any) -> bytes:
    whole = {
        "workflow": "billing",
        "policy": "billing@3",
        "kind": "disposition",
        "gated_at_ms": NOW_MS,
        "age_ms": 157,
        "stages_ms": STAGES_MS,
    }
    return json.dumps({**whole, **fields}).encode()


def command(age_ms: int = 157, **fields: Any) -> bytes:
    return output(age_ms=age_ms, deadline_ms=NOW_MS - age_ms + 1_000, reason="within_bounds", **fields)


def receipt(status: str = "executed", started_after_ms: int | None = 40) -> bytes:
    started = {} if started_after_ms is None else {"started_at_ms": NOW_MS + started_after_ms}
    return json.dumps({"workflow": "billing", "status": status, "gated_at_ms": NOW_MS, **started}).encode()


def seen(*records: tuple[str, bytes], at_ms: int = NOW_MS, window_ms: int = 300_000) -> Recent:
    recent = Recent(window_ms)
    for kind, value in records:
        recent.add(kind, value, at_ms)
    return recent


def only(recent: Recent, now_ms: int = NOW_MS) -> Told:
    (one,) = recent.told(now_ms)
    return one


def test_ages_are_held_against_what_was_left_of_the_budget_when_they_were_observed() -> None:
    one = only(
        seen(
            ("commands", command(50)),
            ("commands", command(500)),
            ("exceptions", output(reason="stale.age", age_ms=2_000, budget_ms=1_000)),
        )
    )
    assert one.quantiles["share"][0] >= 500
    assert one.quantiles["share"][2] >= 2_000
    assert one.quantiles["queue"] == [30, 30, 30]
    assert one.counts["commands"] == 2
    assert one.stale_share == 1 / 3


def test_repeats_bad_input_and_later_steps_are_no_decisions_of_this_window() -> None:
    one = only(
        seen(
            ("commands", command()),
            ("exceptions", output(reason="duplicate.repeat", age_ms=9_000, budget_ms=1_000)),
            ("exceptions", output(reason="review.expired", kind="followup")),
            ("exceptions", output(reason="invalid.json", workflow=None)),
            ("exceptions", output(reason="invalid.unknown_workflow", workflow="biling", policy=None)),
            ("commands", b"\xff"),
            ("commands", b""),
        )
    )
    assert one.quantiles["age"] == [159, 159, 159]  # 157, told as the edge of its bin
    assert (one.counts["commands"], one.counts["exceptions"]) == (1, 1)


def test_expired_receipts_are_held_against_the_commands() -> None:
    one = only(
        seen(
            *[("commands", command())] * 4,
            *[("receipts", receipt())] * 3,
            ("receipts", receipt("expired", None)),
        )
    )
    assert one.expired_share == 0.25
    assert one.quantiles["actuation"] == [40, 40, 40]
    assert only(seen(("receipts", receipt("expired", None)))).expired_share is None


def test_commands_past_their_deadline_that_nobody_answered_are_not_said_to_be_in_time() -> None:
    """Where nobody executes there are no receipts either, so none of them says `expired`."""
    commands = [("commands", command())] * 20
    answered = [("receipts", receipt())] * 15
    later_ms = NOW_MS + 60_000
    assert only(seen(*commands), NOW_MS).unanswered == 0, "they may still be acted on"
    silent = Snapshot(later_ms, 300_000, "t.gate", seen(*commands).told(later_ms), Lag(0, 0), True)
    assert "no receipt for 20 of 20 commands past their deadline" in printed(silent)
    assert "expired before execution" not in printed(silent), "nobody knows"
    assert as_document(silent)["workflows"]["billing"]["unanswered"] == 20
    partly = Snapshot(later_ms, 300_000, "t.gate", seen(*commands, *answered).told(later_ms), Lag(0, 0), True)
    assert "no receipt for at least 5 of 20 commands past their deadline" in printed(partly).replace("\n", " ")
    assert max(map(len, printed(partly).splitlines())) <= 80
    assert only(seen(*commands[:15], *answered), later_ms).unanswered == 0


def test_what_is_older_than_the_window_is_forgotten() -> None:
    recent = seen(("commands", command()), at_ms=NOW_MS)
    assert only(recent, NOW_MS + 299_000).counts["commands"] == 1
    assert recent.told(NOW_MS + 340_000) == []


def test_the_table_fits_80_columns_whatever_the_names() -> None:
    recent = seen(("commands", command(workflow="w" * 200)), ("commands", command(999_999_999)))
    recent.add("commands", command(workflow="\x1b[31mred"), NOW_MS)
    behind = Lag(61_500, 12_345, ("t.decisions", 3))
    shown = printed(Snapshot(NOW_MS, 300_000, "t.gate", recent.told(NOW_MS), behind, True))
    assert max(map(len, shown.splitlines())) <= 80
    assert "lag 61.5 s (12,345 behind, partition 3)" in shown
    assert "\x1b" not in shown
    assert "age at the gate" in shown


def test_a_group_that_never_read_is_told_from_one_that_has_nothing_to_read() -> None:
    assert "no gate has read as the group t.gate yet" in printed(
        Snapshot(NOW_MS, 1, "t.gate", [], Lag(None, None), True)
    )
    assert "lag 0 s" in printed(Snapshot(NOW_MS, 1, "t.gate", [], Lag(0, 0), True))


def test_the_document_has_milliseconds_and_shares_of_one() -> None:
    told = seen(("commands", command(500)), ("receipts", receipt())).told(NOW_MS)
    document = as_document(Snapshot(NOW_MS, 300_000, "t.gate", told, Lag(1_500, 2, ("t.decisions", 0)), True))
    assert json.loads(json.dumps(document)) == document
    assert document["lag"]["waiting_s"] == 1.5
    billing = document["workflows"]["billing"]
    assert billing["latency_ms"]["transport"] == {"p50": 5, "p95": 5, "p99": 5}
    assert 0.5 <= billing["budget_used"]["p99"] <= 0.516
    assert (billing["expired_share"], billing["stale_share"]) == (0.0, 0.0)


def printed(snapshot: Snapshot) -> str:
    text = io.StringIO()
    Console(file=text, width=80, highlight=False).print(frame(snapshot))
    return text.getvalue()
