"""What the client libraries say: one line each, and not many times a second while a broker is away."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from streams.runtime import logs

SAYING = """
import logging
from streams.runtime import logs
logs.configure("gate")
library = logging.getLogger("aiokafka.conn")
for node in range(1000):
    library.warning("Unable connect to node with id %s", node)
library.info("not said at all")
try:
    raise ValueError("two\\nlines")
except ValueError:
    library.exception("it failed")
logs.REPEAT_S = 0.0
library.warning("Unable connect to node with id %s", 1000)
for number in range(3 * logs.TEMPLATES_MAX):
    library.warning(f"built by hand {number}")
held = logging.root.handlers[0]._said
assert len(held) <= logs.TEMPLATES_MAX
"""


def test_a_library_is_heard_once_in_a_while_in_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", SAYING], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len([line for line in lines if "Unable connect" in line]) == 2
    assert len([line for line in lines if "it failed (ValueError: two lines)" in line]) == 1
    assert not any("not said" in line or "Traceback" in line for line in lines)
    assert all("library=aiokafka" in line for line in lines)


AS_JSON = """
import threading
import structlog
from streams.runtime import logs
logs.last_words("before it is set up")
logs.configure("gate", "json", prefix="t.")
said = threading.Thread(target=lambda: structlog.get_logger().info("partition ready", partition=3, offsets=[1]))
said.start()
said.join()
logs.last_words("it is over")
"""


def test_as_json_every_line_is_an_object_with_role_level_and_time() -> None:
    done = subprocess.run([sys.executable, "-c", AS_JSON], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    plain, *lines = done.stderr.splitlines()
    assert plain == "sluicegate: before it is set up"
    ready, over = map(json.loads, lines)
    assert ready.keys() == {"event", "level", "timestamp", "role", "pid", "prefix", "partition", "offsets"}
    assert (ready["event"], ready["level"], ready["role"], ready["prefix"]) == ("partition ready", "info", "gate", "t.")
    assert (over["event"], over["level"]) == ("it is over", "error")


RETRIED = """
import logging
from aiokafka.errors import GroupCoordinatorNotAvailableError, NotEnoughReplicasError, TopicAuthorizationFailedError
from streams.runtime import logs
logs.configure("exposure")
library = logging.getLogger("aiokafka.producer.sender")
library.warning("Got error produce response on %s, retrying. Error: %s", "state/0", NotEnoughReplicasError)
library.error("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError())
try:
    raise NotEnoughReplicasError
except NotEnoughReplicasError:
    library.exception("it failed")
library.error("Topic %s: %s", "state", TopicAuthorizationFailedError())
"""


def test_what_a_client_mends_by_trying_again_is_not_told() -> None:
    """A transaction of an old client meets NotEnoughReplicas at rest, whenever its partition is verified."""
    done = subprocess.run([sys.executable, "-c", RETRIED], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert "Topic state: [Error 29] TopicAuthorizationFailedError" in line


MANY = """
import sys
import structlog
from streams.runtime import logs
form, number = sys.argv[1:]
logs.configure("gate", form)
for line in range(300):
    structlog.get_logger().info("a line", a=int(number), b=line, z="x" * (line * 7919 % 9000))
    if line % 50 == 0:
        logs.last_words("it is over\\nand more", ValueError("y" * 5000))
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_lines_of_several_processes_over_one_pipe_stay_whole(form: str) -> None:
    """Unbuffered, as in containers: text and newline went out in two writes, and lines of children glued together."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    reading, writing = os.pipe()
    running = [
        subprocess.Popen([sys.executable, "-c", MANY, form, str(number)], stderr=writing, env=environment)
        for number in range(4)
    ]
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        lines = pipe.read().splitlines()
    assert [one.wait() for one in running] == [0] * 4
    assert max(len(line.encode()) for line in lines) < logs.LINE_BYTES_MAX
    if form == "json":
        found = [json.loads(line) for line in lines]
        said = [(one["a"], one["b"]) for one in found if one["event"] == "a line"]
        assert sum("ValueError: yyy" in one.get("traceback", "") for one in found) == 24
    else:
        kinds = Counter(line[:10] for line in lines if not line.startswith("20"))
        assert kinds == {"sluicegate": 24, "and more": 24, "ValueError": 24}
        said = [(int(a), int(b)) for a, b in re.findall("a line a=([0-9]+) b=([0-9]+)", "\n".join(lines))]
    assert sorted(said) == [(number, line) for number in range(4) for line in range(300)]


def test_a_line_never_stops_anybody(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever read it may be gone, or there never was one."""
    logs.write("to somebody")
    assert capsys.readouterr().err == "to somebody\n"
    monkeypatch.setattr(sys, "stderr", None)
    logs.write("to nobody")
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        logs.write("to one that has gone")


def test_what_is_cut_is_cut_between_characters() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "w") as stream:
        for before in range(4):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "stderr", stream)
                logs.write("x" * before + "\U0001f600" * 2000)
            line = pipe.readline()
            assert logs.LINE_BYTES_MAX - 4 <= len(line) <= logs.LINE_BYTES_MAX
            assert line.decode().rstrip("\n") == "x" * before + "\U0001f600" * (len(line) // 4 - 1) + "..."


def test_an_object_with_values_without_end_keeps_what_names_it() -> None:
    event = {f"value {number}": "z" * 90 for number in range(500)} | {"event": "much", "level": "info", "role": "gate"}
    found = json.loads(logs.as_object(None, "info", event))
    assert (found["event"], found["level"], found["role"], found["cut"]) == ("much", "info", "gate", True)
