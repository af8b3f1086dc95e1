"""`sluicegate try`: what the gate would send, by the gate's own path, at a time that is told, without a socket."""

from __future__ import annotations

import io
import json
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from agents.cli.main import main
from agents.trial import Clock, tried
from schemas.command import Command
from streams.path import Snapshot
from tests.corpus.cases import CASES
from tests.streams.making import BILLING, NOW_MS, TOPIC, decided, decision, encoded, fetched
from tests.streams.runtime.test_policies import HEAD

POLICY = """\
workflow: billing
version: 3
freshness: {budget: 10m}
boundary:
  rules:
    - {name: barred, when: {entity: {equals: acct-0}}, then: block}
    - name: small-and-sure
      then: autonomous
      limits: {value_minor_at_most: 5000, currency: USD, confidence_at_least: 0.8, reversible: true}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "billing.yaml").write_text(POLICY)
    return tmp_path


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> NoReturn:
        raise AssertionError("sluicegate try opened a socket")

    monkeypatch.setattr(socket, "socket", refused)


def run(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    lines: list[dict[str, Any] | bytes],
    *options: str,
    stdin: bool = False,
) -> int:
    content = b"\n".join(one if isinstance(one, bytes) else encoded(one) for one in lines) + b"\n"
    file = folder / "decisions.ndjson"
    file.write_bytes(content)
    arguments = ["try", "--policies", str(folder / "policies"), *options, "-" if stdin else str(file)]
    monkeypatch.setattr(sys, "argv", ["sluicegate", *arguments])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


MIXED: list[dict[str, Any] | bytes] = [
    decision(1),
    decision(2, value_minor=900_000),
    decision(3, entity="acct-0"),
    decision(1),
    b"",
    b"?",
    decision(4, workflow="refunds"),
]


def test_a_line_for_each_decision_and_a_summary(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, folder, MIXED) == 0
    out, err = capsys.readouterr()
    said = out.splitlines()
    assert [" ".join(line.split()) for line in said[:6]] == [
        "line 1 command within_bounds by small-and-sure age 0 ms of 10 min 12.50 USD acct-17 d-1",
        "line 2 review value_over_limit by small-and-sure age 0 ms of 10 min 9,000.00 USD acct-17 d-2",
        "line 3 exception boundary.blocked by barred age 0 ms of 10 min 12.50 USD acct-0 d-3",
        "line 4 exception duplicate.repeat age 0 ms of 10 min 12.50 USD acct-17 d-1",
        "line 6 exception invalid.json the value is not JSON: unexpected character, expected a JSON value: "
        "line 1 column 1 (char 0)",
        "line 7 exception invalid.unknown_workflow 12.50 USD acct-17 d-4",
    ]
    table = "\n".join(said[6:])
    assert "What would become of 6 decisions" in table
    assert "9,000.00 USD" in table and "refunds" in table
    assert err == ""


ASKING = POLICY.replace("{budget: 10m}", "{budget: 10m, total: 30m, on_stale: reevaluate}") + (
    "evaluator: {function: 'rater:evaluate'}\n"
)


def test_a_stale_decision_that_would_be_asked_about_again_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "policies" / "billing.yaml").write_text(ASKING)
    assert run(monkeypatch, folder, [decision(1)], "--age", "11m") == 0
    first, *table = capsys.readouterr().out.splitlines()
    assert " ".join(first.split()) == (
        "line 1 ask again stale.age age 11 min of 10 min 19 min left 12.50 USD acct-17 d-1"
    )
    assert any("reevaluations" in line and "stale.age" in line for line in table)
    assert run(monkeypatch, folder, [decision(1)], "--age", "31m") == 0
    assert "exception  stale.age" in capsys.readouterr().out, "past its final deadline nothing can be saved"
    assert run(monkeypatch, folder, [decision(1)], "--age", "11m", "--output", "json") == 0
    sent = json.loads(capsys.readouterr().out)
    assert (sent["topic"], sent["value"]["attempt"]) == ("sluicegate.reevaluations", 1)


def test_json_is_the_records_as_they_would_be_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    action = {"type": "invoice.post", "amount": 12.50}
    assert run(monkeypatch, folder, [decision(1, action=action), b"x"], "--output", "json", "--prefix", "t.") == 0
    sent = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["topic"], one["key"]) for one in sent] == [("t.commands", "acct-17"), ("t.exceptions", None)]
    observed_ms = NOW_MS - 1_000
    batch = fetched([decision(1, action=action)], broker_ms=observed_ms, read_ms=observed_ms)
    (by_the_gate,) = decided(batch, now_ms=observed_ms).records
    expected = json.loads(by_the_gate.value)
    assert sent[0]["value"] == {**expected, "source": {"topic": "t.decisions", "partition": 0, "offset": 0}}
    assert set(sent[0]["value"]) == set(Command.__struct_fields__) - {"clock_adjusted", "time_source", "exposure_seen"}
    assert sent[1]["value"]["raw"] == "x"


@pytest.mark.parametrize(
    ("options", "age_ms", "reason"),
    [
        ((), 30, "within_bounds"),
        (("--age", "9m59s999ms"), 599_999, "within_bounds"),
        (("--age", "10m"), 600_000, "stale.age"),
        (("--at", str(NOW_MS)), 1_000, "within_bounds"),
        (("--at", "2025-11-24T16:00:00Z"), 1_000, "within_bounds"),
        (("--at", "2025-11-24T17:30:00+01:00"), 1_801_000, "stale.age"),
        (("--at", str(NOW_MS - 10_000)), None, "invalid.future"),
    ],
)
def test_the_clock_is_told(
    options: tuple[str, ...],
    age_ms: int | None,
    reason: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without options: the newest time of the line itself, so yesterday's file comes out as it did yesterday."""
    line = decision(1, sent_at_ms=NOW_MS - 970, decided_at_ms=NOW_MS - 990)
    assert run(monkeypatch, folder, [line], "--output", "json", *options, stdin=True) == 0
    record = json.loads(capsys.readouterr().out)["value"]
    assert (record["reason"], record["age_ms"]) == (reason, age_ms)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--at", "2025-11-24T16:00:00"), "names no zone"),
        (("--at", "soon"), "not epoch milliseconds, or a time with its zone"),
        (("--at", "9" * 20), "1970 to 9999"),
        (("--age", "10"), "not a length of time with its unit"),
        (("--age", "1s", "--at", "1"), "give one of them"),
    ],
)
def test_a_clock_that_cannot_be_is_a_usage_error(
    options: tuple[str, ...],
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, folder, [decision(1)], *options) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_policy_that_is_wrong_is_refused_with_its_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "policies" / "b.yaml").write_text(HEAD + "    - {name: a, then: maybe}")
    assert run(monkeypatch, folder, [decision(1)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{folder}/policies/b.yaml: boundary.rules[0].then: found 'maybe'" in err


def test_nothing_in_gives_nothing_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, folder, []) == 0
    assert capsys.readouterr().out == "no decisions: the input is empty\n"
    assert run(monkeypatch, folder, [], "--output", "json") == 0
    assert capsys.readouterr().out == ""


def test_what_comes_from_outside_does_not_reach_the_terminal_as_control_characters(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;mine\x07[red]"
    lines: list[dict[str, Any] | bytes] = [
        decision(1, entity=hostile, currency="\x1b[0"),
        decision(2, workflow=hostile),
        b"\x1b[31m",
    ]
    assert run(monkeypatch, folder, lines) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    assert "[red]" in out, "shown as it is, not as a colour"


def test_json_has_the_headers_that_a_worker_would_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, folder, [decision(1), b"x"], "--output", "json", "--prefix", "t.") == 0
    command, refused = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert command["headers"] == {
        "ce_specversion": "1.0",
        "ce_type": "sluicegate.command.v1",
        "ce_source": "sluicegate/gate",
        "content-type": "application/json",
        "ce_id": command["value"]["command_id"],
        "ce_subject": "acct-17",
        "ce_expirytime": "2025-11-24T16:09:59.000Z",
    }
    assert refused["headers"]["__dlq.errors.group"] == "t.gate"
    assert refused["headers"]["__sluicegate.errors.reason"] == "invalid.json"


def test_the_corpus_gets_the_reasons_that_a_gate_gives() -> None:
    cases = [
        (case, value)
        for case in CASES
        if case.input == "decisions" and case.reason != "invalid.key" and (value := case.at(NOW_MS)) is not None
    ]
    found = tried(
        ((number, value) for number, (_, value) in enumerate(cases)),
        Snapshot([BILLING]),
        Clock(at_ms=NOW_MS),
        TOPIC["decisions"],
    )
    checked = 0
    for (case, _), one in zip(cases, found, strict=True):
        reason = json.loads(one.value).get("reason", "a review")
        checked += case.reason is not None
        assert reason == case.reason if case.reason else not reason.startswith("invalid."), case.name
    assert checked > 30


def test_repeats_are_told_over_more_lines_than_one_batch() -> None:
    lines = [encoded(decision(number % 700)) for number in range(1_400)]
    found = list(tried(enumerate(lines), Snapshot([BILLING]), Clock(at_ms=NOW_MS), TOPIC["decisions"]))
    assert [one.number for one in found] == list(range(1_400))
    assert [one.output for one in found] == ["commands"] * 700 + ["exceptions"] * 700
    assert json.loads(found[-1].value)["source"]["offset"] == 1_399
