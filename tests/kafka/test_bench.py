"""`make bench` in small: both are measured on a real broker and judged, and what is wrong ends it without figures."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from streams.batch import Fetched
from streams.errors import CheckFailed
from streams.memory import Memory
from streams.path import decide
from streams.runtime import policies
from streams.runtime.broker import Broker
from streams.window import Window
from tests.bench import bare_loop, latency, process, report, throughput
from tests.bench.check import Answers
from tests.bench.job import COMMANDS, EXCEPTIONS, OUTPUTS, REVIEWS, make
from tests.bench.process import HERE, HOME, Meter, Place
from tests.bench.run import Bench, Plan
from tests.bench.throughput import Sample, figures

NOW_MS = 1_764_000_000_000
SMALL = Plan(count=2_000, rounds=1, rate_per_s=200, seconds=1, warm_count=0)


class Lines:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.lines: list[str] = []

    def begin(self, what: str, count: int) -> None:
        self.begun.append(what)

    def done(self, count: int) -> None:
        assert count >= 0

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_a_round_measures_both_and_every_answer_is_there_once(kafka: Broker) -> None:
    told = Lines()
    runs = Bench(SMALL, kafka, told).run()
    assert [one.name for one in runs] == ["ours", "bare"]
    assert len(told.begun) == 4
    assert len(told.lines) == 2
    for one in runs:
        assert one.throughput.events_per_s > 0
        assert one.throughput.peak_rss_mb > 10
        assert 0 < one.latency.p50_ms <= one.latency.p90_ms <= one.latency.p99_ms <= one.latency.max_ms
    found = orjson.loads(orjson.dumps(report.summary(SMALL, runs)))
    assert found["ratios"]["events_per_s"] == pytest.approx(
        runs[0].throughput.events_per_s / runs[1].throughput.events_per_s
    )
    console = Console(file=io.StringIO(), width=160)
    report.show(console, SMALL, found, runs)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "events/s" in shown
    assert "ours/bare" in shown


def test_a_peer_that_answers_twice_is_red(
    kafka: Broker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = (
        "import asyncio\nfrom tests.bench import bare_loop as b\nonce = b.Loop._transact\n"
        "async def transact(self, records):\n    await once(self, [*records, records[-1]])\n"
        "b.Loop._transact = transact\nasyncio.run(b.main())"
    )
    monkeypatch.setitem(process.COMMANDS, "bare", [sys.executable, "-c", twice])
    place, broker = Place(kafka.bootstrap, prefix, 4, tmp_path), Meter(kafka.pid or 0)
    with pytest.raises(CheckFailed, match=r"bare, 1000 decisions.*missing 0, duplicates [1-9]"):
        asyncio.run(throughput.measure("bare", place, 1_000, 7, broker, Lines().done))


def test_a_peer_that_dies_is_named_with_its_last_words(
    kafka: Broker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(process.COMMANDS, "bare", [sys.executable, "-c", "raise SystemExit('no such thing')"])
    place = Place(kafka.bootstrap, prefix, 4, tmp_path)
    with pytest.raises(CheckFailed, match=r"bare ended by itself with code 1(.|\n)*no such thing"):
        asyncio.run(latency.measure("bare", place, 100, 1, 7, Lines().done))


def test_the_decisions_have_the_mix_that_is_claimed_and_the_same_seed_makes_the_same() -> None:
    load = make(10_000, NOW_MS, 7)
    assert Counter(load.outputs) == {COMMANDS: 7_990, REVIEWS: 1_000, EXCEPTIONS: 1_010}
    assert load == make(10_000, NOW_MS, 7)
    assert load.values != make(10_000, NOW_MS, 8).values
    assert 340 <= sum(map(len, load.values)) / 10_000 <= 400
    assert b'"sent_us":1764000000123456,' in load.stamped(5, 1_764_000_000_123_456)


def test_the_bare_loop_decides_as_the_job_says() -> None:
    class Record:
        topic, partition, offset, value = "t", 0, 3, b""

    load, record = make(2_000, NOW_MS, 7), Record()
    for value, output in zip(load.values, load.outputs, strict=True):
        record.value = value
        found, body = bare_loop.decide(record, NOW_MS)
        assert found == output, value
        if found == COMMANDS:
            assert orjson.loads(body)["action"] == orjson.loads(value)["action"]


def test_the_policies_decide_as_the_job_says() -> None:
    load = make(2_000, NOW_MS, 7)
    batch = Fetched(
        topic="t.decisions",
        input="decisions",
        partition=0,
        offsets=list(range(2_000)),
        timestamps_ms=[NOW_MS] * 2_000,
        keys=list(load.keys),
        values=list(load.values),
        broker_time=True,
        read_ms=NOW_MS,
    )
    found = decide([batch], NOW_MS, policies.load(HERE / "policies"), Memory(Window(ids_max=10_000)))
    assert [sent.output for sent in found.records] == [OUTPUTS[output] for output in load.outputs]


def test_an_answer_is_counted_by_its_decision_wherever_it_has_the_id() -> None:
    load = make(1_000, NOW_MS, 7)
    answers = Answers(load.outputs)
    for number, (value, output) in enumerate(zip(load.values, load.outputs, strict=True)):
        raw = orjson.dumps({"decision_id": None, "raw": value.decode()})
        assert answers.add(output, raw if number % 2 else value) == number
    answers.verdict().require("all")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.pop(), "missing 1, duplicates 0"),
        (lambda found: found.append(found[0]), "missing 0, duplicates 1"),
        (lambda found: found.append((0, b"{}")), "of no known decision 1"),
        (lambda found: found.append((0, b'{"decision_id":"b00009999-' + b"0" * 24)), "of no known decision 1"),
        (lambda found: found.append((1 - found.pop()[0], b'"b00000099-' + b"0" * 24)), "in the wrong output 1"),
    ],
)
def test_whatever_is_wrong_is_red(change: object, said: str) -> None:
    load = make(100, NOW_MS, 7)
    found = list(zip(load.outputs, load.values, strict=True))
    assert callable(change)
    change(found)
    answers = Answers(load.outputs)
    for output, value in found:
        answers.add(output, value)
    with pytest.raises(CheckFailed, match=said):
        answers.verdict().require("ours")


def test_the_clock_runs_from_the_first_to_the_last_output() -> None:
    quiet = Sample(at_s=0.0, visible=0, cpu_s=1.0, broker_cpu_s=0.0, rest_cpu_s=0.0)
    first = replace(quiet, at_s=2.0, visible=1_000, cpu_s=2.0, broker_cpu_s=1.0, rest_cpu_s=1.0)
    last = replace(first, at_s=4.0, visible=11_000, cpu_s=2.5, broker_cpu_s=1.2, rest_cpu_s=2.0)
    found = figures([quiet, first, last, replace(last, at_s=9.0, cpu_s=3.0)], 11_000, 50 << 20)
    assert found.events_per_s == 5_000
    assert found.cpu_s_per_million == 50
    assert found.broker_cpu_s_per_million == pytest.approx(20)
    assert (found.peak_rss_mb, found.other_cores, found.started_s) == (50, 0.5, 2)


def test_they_take_turns_after_a_warm_up() -> None:
    assert Plan(count=1_000, rounds=2).steps() == [
        *((0, "ours"), (0, "bare")),
        *((1, "ours"), (1, "bare")),
        *((2, "bare"), (2, "ours")),
    ]


def test_a_share_is_the_value_it_does_not_exceed() -> None:
    values = [float(one) for one in range(1, 101)]
    assert [latency.at_share(values, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert latency.at_share([3.0], 0.5) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "Examples:"),
        (["--json", "no/such/folder/b.json"], 2, "there is no folder no/such/folder"),
        (["--n", "10"], 2, "not in the range"),
    ],
)
def test_its_help_teaches_and_bad_options_are_refused_at_once(arguments: list[str], code: int, said: str) -> None:
    command = [sys.executable, "-m", "tests.bench", *arguments]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
