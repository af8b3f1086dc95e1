"""A command in a world that lacks something: a name, a home, a stream, a character set, room on the disk."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agents.cli.main import UNEXPECTED
from agents.cli.options import who
from tests.agents.cli.fuzzing import DECISION, POLICY

CALL = "from agents.cli.main import main; main()"
NOBODY = "127.0.0.1:1"  # no Kafka answers there
HALT = "halt --workflow payout --why drill"


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it with nothing in the environment but what is given; `$S` is the program."""
    base = {"PATH": os.environ["PATH"], "SLUICEGATE_BOOTSTRAP": NOBODY, "PYTHONPATH": str(Path.cwd())}
    base["S"] = shlex.join([sys.executable, "-c", CALL])
    command = ["bash", "-c", f's() {{ eval "$S" \'"$@"\'; }}; cd {shlex.quote(str(folder))}; {script}']
    done = subprocess.run(command, env={**base, **environment}, capture_output=True, text=True, timeout=60, check=False)
    told = done.stdout + done.stderr
    assert "Traceback" not in told, told
    assert UNEXPECTED not in told, told
    assert "Exception ignored" not in told, told
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("environment")
    (made / "policies").mkdir()
    (made / "policies" / "billing.yaml").write_text(POLICY)
    (made / "decisions.ndjson").write_bytes(DECISION * 20_000)
    (made / "one.json").write_bytes(DECISION)
    return made


def without_a_name() -> list[str]:
    """How a process is started whose user id has no name; empty where this machine does not let us."""
    for command in (
        ["unshare", "--user", "--map-user=54321", "--map-group=54321"],
        ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"],
    ):
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except OSError:
            continue
    return []


def test_a_user_without_a_name_can_halt(folder: Path) -> None:
    start = without_a_name()
    if not start:
        pytest.skip("this machine lets nobody be a user without a name")
    done = shell(f'S="{shlex.join(start)} $S"; s {HALT}; echo "code $?"; s reviews list; echo "code $?"', folder)
    assert done.stdout.splitlines() == ["code 3", "code 3"], done
    assert done.stderr.count("no Kafka answers") == 2, done


def test_who_does_it_is_the_number_where_there_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyError("getpwuid(): uid not found: 54321"), OSError("no username")):

        def unknown(error: Exception = error) -> str:
            raise error

        monkeypatch.setattr("getpass.getuser", unknown)
        assert who() == f"uid {os.getuid()}"


def test_closed_streams_and_readers_that_go_end_quietly(folder: Path) -> None:
    tried = "try --policies policies decisions.ndjson"
    script = f"""
        s {tried} | head -n 1 >&2; echo "head ${{PIPESTATUS[0]}}"
        s {tried} --output json >&- ; echo "no stdout $?"
        s policy check policies 2>&- >&- ; echo "neither $?"
        s try --policies policies - <&- ; echo "no stdin $?"
        s send - <&- ; echo "no stdin $?"
        s {HALT} <&- ; echo "no stdin $?"
        s policy check policies >/dev/full; echo "full $?"
        s {tried} >/dev/full; echo "full $?"
    """
    done = shell(script, folder)
    assert done.stdout.splitlines() == [
        *("head 0", "no stdout 0", "neither 0", "no stdin 2", "no stdin 2", "no stdin 3", "full 1", "full 1")
    ], done
    assert done.stderr.count("stdin is closed: give a file, such as decisions.ndjson") == 2
    assert done.stderr.count("No space left on device") == 2


def test_without_a_home_what_is_kept_there_says_so(folder: Path) -> None:
    start = without_a_name()
    if not start:
        pytest.skip("this machine lets nobody be a user without a name")
    script = f"""
        S="{shlex.join(start)} $S"
        s broker --port 1 ; echo "code $?"
        s broker --port 19999 ; echo "code $?"
        XDG_CACHE_HOME=/srv/a:b s broker --port 19999 ; echo "code $?"
    """
    done = shell(script, folder)
    assert done.stdout.splitlines() == ["code 2", "code 2", "code 2"], done
    assert "has no home folder" in done.stderr or "cannot be written" in done.stderr or "cannot write" in done.stderr
    assert "XDG_CACHE_HOME=/var/tmp/sluicegate" in done.stderr


def test_what_a_terminal_cannot_show_is_shown_with_backslashes(folder: Path) -> None:
    (folder / "caf.json").write_bytes(DECISION.replace(b'"d-1"', '"café-1"'.encode()))
    script = """
        s try --policies policies caf.json; echo "code $?"
        s policy check $'caf\\xe9'; echo "code $?"
        s halt --workflow $'caf\\xe9' --why x; echo "code $?"
    """
    for language in (
        {"LANG": "C"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"PYTHONUTF8": "0", "LC_ALL": "POSIX"},
    ):
        done = shell(script, folder, **language)
        assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 0", "code 2", "code 2"]
        assert "is not UTF-8 text, such as billing" in done.stderr


def test_a_full_disk_and_a_store_that_is_none_are_told(folder: Path) -> None:
    script = """
        SLUICEGATE_STORE=/dev/full s reviews list; echo "code $?"
        s broker --data one.json --port 19998; echo "code $?"
        ulimit -f 1  # KiB: every file is full at once, as on a full disk
        yes "$(head -c 60000 one.json)" | head -c 70000000 | s send -; echo "code $?"
        s broker --data data --port 19998; echo "code $?"
    """
    jars = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    done = shell(script, folder, HOME=str(folder), XDG_CACHE_HOME=jars)
    assert done.stdout.splitlines() == ["code 2", "code 2", "code 2", "code 2"], done
    assert "--store" in done.stderr
    assert "Invalid value for '--data'" in done.stderr
    assert done.stderr.count("File too large") >= 2, "by the copy of stdin, and by the broker or its Kafka"
    assert "TMPDIR" in done.stderr


def test_the_last_guard_tells_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agents.cli import main

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(main.cli, "main", broken)
    assert main.run([]) == 1
    told = capsys.readouterr().err
    assert told.startswith(
        f"sluicegate: {UNEXPECTED} (ZeroDivisionError: a defect); SLUICEGATE_TRACEBACK=1 shows where"
    )
    monkeypatch.setenv("SLUICEGATE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main.run([])
