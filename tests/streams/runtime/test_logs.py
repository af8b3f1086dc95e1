"""What the client libraries say: one line each, and not many times a second while a broker is away."""

from __future__ import annotations

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
