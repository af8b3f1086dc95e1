"""On a real broker: what a reader would refuse never gets there, and what gets there can be read and undone."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from agents.cli.main import run
from streams.rulebook import Edition
from streams.runtime.broker import Broker
from streams.runtime.policies_topic import read_edition
from streams.runtime.settings import Kafka
from streams.runtime.topics import apply
from tests.kafka.harness import POLICY, SLUICEGATE, Record, new_prefix, send, write_policies

pytestmark = pytest.mark.kafka
LONG = "x" * 1_001


class Tool:
    """The program, in this process, against topics of its own."""

    def __init__(self, kafka: Kafka, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.kafka, self.folder, self._capsys = kafka, folder, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "--bootstrap", self.kafka.bootstrap, "--prefix", self.kafka.prefix])
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    def edition(self) -> Edition:
        return asyncio.run(read_edition(self.kafka))

    def apply(self, version: int, *more: str) -> tuple[int, str, str]:
        text = POLICY.replace("version: 3", f"version: {version}")
        return self("policy", "apply", str(write_policies(self.folder / "p", text)), "--why", "a test", *more)


@pytest.fixture
def tool(kafka: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    prefix = new_prefix()
    asyncio.run(apply(kafka.bootstrap, prefix, partitions=1))
    monkeypatch.setenv("SLUICEGATE_VERDICT_KEY", "desk-1:a secret of the desk's own")
    return Tool(Kafka(kafka.bootstrap, prefix), tmp_path, capsys)


def test_what_no_reader_takes_is_refused_before_a_byte_is_written(tool: Tool) -> None:
    assert tool.apply(1)[0] == 0
    assert tool("halt", "--workflow", "billing", "--why", "w")[0] == 0
    before = tool.edition()
    preapprove = ("reviews", "preapprove", "--by", "ana", "--workflow", "billing", "--for", "1h")
    value = ("--value-minor-at-most", "5", "--currency")
    for call, told in (
        (("resume", "--workflow", "billing", "--why", LONG), "'--why': 1001 characters: expected 1 to 1000 characters"),
        (
            ("resume", "--workflow", "billing", "--why", "w", "--by", ""),
            "'SLUICEGATE_BY'): empty: expected 1 to 200 characters",
        ),
        (("halt", "--workflow", "billing", "--why", LONG), "'--why'"),
        (("halt", "--workflow", "", "--why", "w"), "'--workflow': empty"),
        (("halt", "--workflow", "billing", "--why", "caf\udce9"), "'--why': 'caf\\udce9' is not UTF-8 text"),
        (("recall", "c-zz", "--why", "w"), "'COMMAND_ID': 'c-zz' is not a command's id"),
        (("policy", "rollback", "billing", "--why", ""), "'--why': empty"),
        (
            ("policy", "apply", str(tool.folder / "p"), "--why", "w", "--by", "x" * 201),
            "'SLUICEGATE_BY'): 201 characters",
        ),
        ((*preapprove, "--why", "w", *value, "euro", "n"), "'--currency': 'euro' is not an ISO 4217 code"),
        ((*preapprove, "--why", LONG, "n"), "'--why'"),
        (
            (*preapprove, "--why", "w", "--value-minor-at-most", "9007199254740993", "--currency", "EUR", "n"),
            "'--value",
        ),
        ((*preapprove, "--why", "w", ""), "'NAME': empty"),
    ):
        code, _, err = tool(*call)
        assert (code, told in err, "such as" in err) == (2, True, True), (call, err)
    code, _, err = tool.apply(20261127213000123456)
    assert (code, "version: found 20261127213000123456, expected" in err) == (2, True), err
    assert tool.edition() == before


def test_what_is_at_its_bound_is_written_read_and_undone(tool: Tool) -> None:
    why, by = "é" * 1_000, "\U0001f600" * 200
    assert tool.apply(2**63 - 1, "--by", by)[0] == 0
    for call in (
        ("halt", "--workflow", "billing", "--why", why, "--by", by),
        ("resume", "--workflow", "billing", "--why", why, "--by", by),
        ("recall", "c-" + "0" * 32, "--why", why, "--by", by),
        ("reviews", "preapprove", "n" * 200, "--by", by, "--workflow", "w" * 200, "--for", "365d", "--why", why),
        ("reviews", "revoke", "n" * 200, "--why", why, "--by", by),
    ):
        assert tool(*call)[0] == 0, call
    edition = tool.edition()
    assert edition.troubles == {}
    assert (len(edition.recalls), len(edition.preapprovals)) == (1, 1)
    assert not any(one.halted for one in edition.halts.values())


def test_a_resume_says_what_still_stops_its_scope_and_ends_what_names_none(tool: Tool) -> None:
    assert tool.apply(1)[0] == 0
    code, out, err = tool("halt", "--workflow", "biling", "--why", "misspelt")
    assert (code, out.splitlines()[0]) == (0, "halted: workflow 'biling'")
    assert err == "sluicegate: no policy of the workflow 'biling' is in force; there are: billing\n"
    for scope in (("--everything",), ("--workflow", "billing"), ("--workflow", "billing", "--segment", "s")):
        assert tool("halt", *scope, "--why", "drill", "--by", "root")[0] == 0
    assert tool("halt", "--workflow", "other", "--why", "\x1b]0;pwn\x07\nworkflow", "--by", "root")[0] == 0
    code, out, _ = tool("halt", "--list")
    assert "workflow 'other': \\x1b]0;pwn\\x07\\nworkflow (root, " in out, "nobody writes to another's terminal"
    code, out, err = tool("resume", "--workflow", "billing", "--why", "done")
    assert code == 1
    assert out.splitlines()[:3] == [
        "resumed: workflow 'billing'",
        "still halted: everything, by root: drill",
        "still halted: workflow 'billing', segment 's', by root: drill",
    ]
    assert "workflow 'billing' is resumed, and all of it is still halted" in err
    strange = Record(tool.kafka.topic("policies"), b"halt/a/b", b'{"halted":true,"why":"w","by":"b","at_ms":1}', 0)
    asyncio.run(send(tool.kafka.bootstrap, [strange]))
    code, out, _ = tool("halt", "--list")
    assert (code, "the halt under the key halt/a/b names no scope, so it stops everything" in out) == (0, True), out
    code, out, _ = tool("resume", "--everything", "--why", "done")
    assert (code, "resumed: the halt under the key halt/a/b" in out) == (0, True), out
    code, out, err = tool("halt", "--list")
    assert ("halt/a/b" in out + err, "everything" in out) == (False, False)


def test_going_back_twice_goes_back_two_versions(tool: Tool) -> None:
    for version in (1, 2, 3):
        assert tool.apply(version)[0] == 0
    for wanted in (2, 1):
        code, out, _ = tool("policy", "rollback", "billing", "--why", "it is wrong")
        assert (code, out.splitlines()[0]) == (0, f"billing@{wanted} is published and current")
    code, _, err = tool("policy", "rollback", "billing", "--why", "it is wrong")
    assert (code, "Say which with --to; there are 1, 2, 3" in err) == (2, True), err


def test_whoever_changes_it_at_the_same_time_reads_the_outcome_alone(tool: Tool) -> None:
    call = [*SLUICEGATE, "halt", "--workflow", "billing", "--why", "at once", "--bootstrap", tool.kafka.bootstrap]
    children = [
        subprocess.Popen(
            [*call, "--prefix", tool.kafka.prefix], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    ended = [(*one.communicate(timeout=120), one.returncode) for one in children]
    assert [(code, out.splitlines()[0]) for out, _, code in ended] == [(0, "halted: workflow 'billing'")] * 6, ended
    unknown = "sluicegate: no policy of the workflow 'billing' is in force; there are: none\n"
    assert [err for _, err, _ in ended] == [unknown] * 6
