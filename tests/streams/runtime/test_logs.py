"""What the client libraries say: one line each, and not many times a second while a broker is away."""

from __future__ import annotations

import json
import subprocess
import sys

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
logs.configure("gate", "json")
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
    assert ready.keys() == {"event", "level", "timestamp", "role", "partition", "offsets"}
    assert (ready["event"], ready["level"], ready["role"]) == ("partition ready", "info", "gate")
    assert (over["event"], over["level"]) == ("it is over", "error")
