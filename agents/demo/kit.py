"""Where the demo's executor finds the kit, which is a distribution of its own: in this checkout, else where installed.

The checkout comes first: its kit belongs to its gate. Nothing is installed for it: the kit needs aiokafka and msgspec,
which are here, and its folder on the path of that one child.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import agents

PROGRAM = Path(__file__).with_name("executor.py")
IN_CHECKOUT = Path(agents.__file__).parents[1] / "deploy" / "clients" / "python"
# -P: the program's own folder is no place to import from, as it would be none in an environment of its own
COMMAND = (sys.executable, "-P", str(PROGRAM))


def kit_path() -> str | None:
    """What to put in front of the executor's PYTHONPATH: "" where the kit is installed, None where there is none."""
    if (IN_CHECKOUT / "sluicegate_kit").is_dir():
        return str(IN_CHECKOUT)
    return "" if importlib.util.find_spec("sluicegate_kit") else None


def environment(path: str, bootstrap: str, prefix: str) -> dict[str, str]:
    """What the executor's process gets: where the kit is, and where Kafka is."""
    python_path = os.pathsep.join(filter(None, (path, os.environ.get("PYTHONPATH"))))
    found = {**os.environ, "SLUICEGATE_BOOTSTRAP": bootstrap, "SLUICEGATE_PREFIX": prefix}
    return found | {"PYTHONPATH": python_path} if python_path else found
