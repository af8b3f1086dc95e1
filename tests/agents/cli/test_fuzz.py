"""Whatever is given to a command: it works, or one sentence says what is wrong; nobody ever reads a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agents.cli.files import FilePath, InputFile
from agents.cli.values import Bounded, Number, Whole
from tests.agents.cli.fuzzing import ALL, VALUES, Call, called, desk, example_of, given, parameters, unexpected

REACH_MAX = 14  # of the values that an option takes, spread: what lies behind it is the same for most of them
NAMED = [(path, one) for path, one in parameters()]
OURS = [(path, one) for path, one in NAMED if path in ALL]


def label(path: tuple[str, ...], one: click.Parameter) -> str:
    return " ".join([*path, one.opts[0]])


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICEGATE_VERDICT_KEY", "desk-1:a secret of the desk's own")
    monkeypatch.setenv("SLUICEGATE_METRICS_PORT", "0")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    with desk(tmp_path):
        yield


def taken(one: click.Parameter, value: str) -> bool:
    """Whether the parameter's type takes the value; what refuses it must be its own sentence."""
    try:
        with click.Context(click.Command("c")) as context:  # which closes what was opened
            one.type.convert(value, one, context)
    except click.BadParameter as refused:
        sentence = refused.message
    else:
        return True
    if not isinstance(one.type, click.Choice):
        assert re.search(r"such as \S|write \S+Z for UTC", sentence), sentence
        assert len(sentence) < 600, sentence
    return False


def test_there_is_something_to_try() -> None:
    assert len(ALL) > 25
    assert len(OURS) > 120


@pytest.mark.parametrize(("path", "one"), NAMED, ids=[label(*each) for each in NAMED])
def test_every_value_has_bounds_and_an_example_within_them(path: tuple[str, ...], one: click.Parameter) -> None:
    assert isinstance(one.type, (Bounded, Whole, Number, FilePath, InputFile, click.Choice)), (
        f"{one.type!r} is not ours"
    )
    assert taken(one, example_of(one))
    assert isinstance(one.type, click.Choice) or not taken(one, "\0" * 100_001)


@pytest.mark.parametrize(("path", "one"), OURS, ids=[label(*each) for each in OURS])
def test_what_an_option_does_not_take_is_refused_before_anything_is_tried(
    path: tuple[str, ...], one: click.Parameter, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = [value for value in VALUES if not taken(one, value)]
    assert refused
    for value in (refused[0], refused[len(refused) // 2], refused[-1]):
        call = called(capsys, *given(path, one, value))
        assert call.code == 2, (value[:80], call)
        assert not unexpected(call), (value[:80], call)
        named = one.opts[0] if isinstance(one, click.Option) else one.make_metavar(click.Context(ALL[path])).strip("[]")
        assert named in call.err, (value[:80], call)
        assert call.tried == []


@pytest.mark.parametrize(("path", "one"), OURS, ids=[label(*each) for each in OURS])
def test_what_an_option_takes_leads_to_no_traceback(
    path: tuple[str, ...], one: click.Parameter, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [value for value in [example_of(one), *VALUES] if taken(one, value)]
    step = max(1, len(good) // REACH_MAX)
    for value in good[::step]:
        call = called(capsys, *given(path, one, value))
        assert not unexpected(call), (value[:80], call)


@pytest.mark.parametrize(
    "arguments",
    [
        *([], [""], ["\udcff"], ["--\udcff"], ["-"], ["--"], ["x" * 100_000], ["--" + "x" * 100_000], ["halt", "x"]),
        *(["policy"], ["policy", "\x00"], ["reviews", "--store"], ["topics", "apply", "--partitions"], ["tail", "x"]),
        *(["halt", "--workflow", "a", "--everything"], ["halt", "--why", "x"], ["halt", "--workflow", "a"]),
        *(["resume", "--why", "x"], ["worker", "--group", "g"], ["policy", "explain"], ["try", "decisions.ndjson"]),
    ],
    ids=lambda one: " ".join(one)[:40],
)
def test_words_that_make_no_call_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    call = called(capsys, *arguments)
    assert (call.code, call.tried) == (2, []), call
    assert not unexpected(call), call


CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\n",
    "no-utf8": b"\xff\xfe\x00id: \xe9",
    "nul": b"workflow: a\x00b",
    "brackets": b"[" * 20_000,
    "objects": b'{"a":' * 20_000,
    "a-number": b"9" * 5_000,
    "text": b"'",
    "list": b"- 1\n" * 100,
    "set": b"rules: !!set {a, b}",
    "tag": b"!!python/object/apply:os.system [true]",
    "keys": b"{[1]: 2, {a: b}: c, null: d}",
    "merge": b"<<: *a\n",
    "self": b"a: &a [*a]",
    "date": b"workflow: 2026-11-23\nversion: .inf\n",
    "object": b'{"id": "d", "workflow": "billing", "entity": "e", "action": {}, "observed_at_ms": 1e400}',
    "surrogate": b'{"id": "\\ud800", "workflow": "\\udfff"}',
    "version": b"workflow: billing\nversion: 20261127213000123456\nfreshness: {budget: 10m}\nboundary: {}\n",
    "null": b"null",
    "long-line": b"x" * 3_000_000,
}
FILES = [(path, one) for path, one in OURS if isinstance(one.type, FilePath | InputFile)]


def strange_files(folder: Path, all_of_them: bool) -> Iterator[Path]:
    """`all_of_them`: else some, where the reader is one that has been given all."""
    (folder / "a-link").symlink_to("a-link")
    yield folder / "a-link"
    yield folder / "missing" / "file.yaml"
    yield Path("/proc/self/mem")  # may be opened, and not be read
    for name, content in CONTENTS.items() if all_of_them else [("no-utf8", CONTENTS["no-utf8"])]:
        (folder / name).write_bytes(content)
        yield folder / name
    if not all_of_them:
        return
    (folder / "in-a-folder").mkdir()
    for name, content in CONTENTS.items():
        (folder / "in-a-folder" / f"{name}.yaml").write_bytes(content)
    yield folder / "in-a-folder"


@pytest.mark.parametrize(("path", "one"), FILES, ids=[label(*each) for each in FILES])
def test_whatever_a_file_holds_leads_to_no_traceback(
    path: tuple[str, ...], one: click.Parameter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = next(each for each, other in FILES if other.type is one.type)
    for file in strange_files(tmp_path, all_of_them=path == first):
        call = called(capsys, *given(path, one, str(file)))
        assert not unexpected(call), (file.name, call)
        if call.code == 2:
            assert_told(call, file, one)


def assert_told(call: Call, file: Path, one: click.Parameter) -> None:
    """The sentence names the file, or the option that it was given to."""
    assert file.name in call.err or one.opts[0] in call.err or "decision" in call.err, (file.name, call)
