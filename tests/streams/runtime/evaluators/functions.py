"""The user's side of a child process: functions that do right and wrong. Runs under any Python from 3.9 on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

TOLD = Path(os.environ.get("EVALUATOR_TEST_FOLDER", "."))


def right(question: dict[str, Any]) -> dict[str, Any]:
    print("what the user prints is no frame")
    sys.stdout.flush()
    decision = question["decision"]
    return {"action": decision["action"], "observed_at_ms": question["deadline_ms"], "id": question["id"]}


async def awaited(question: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0)
    return right(question)


def slow(question: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.1)
    return right(question)


def hanging(question: dict[str, Any]) -> dict[str, Any]:
    _tell("hanging")
    threading.Event().wait()
    return right(question)


def hangs_first(question: dict[str, Any]) -> dict[str, Any]:
    return right(question) if _count("hangs_first") > 1 else hanging(question)


async def hangs_awaited(question: dict[str, Any]) -> dict[str, Any]:
    if _count("hangs_awaited") == 1:
        await asyncio.sleep(3600)
    return right(question)


def wrong(question: dict[str, Any]) -> Any:
    return [question["id"]]


def not_json(question: dict[str, Any]) -> dict[str, Any]:
    return {"action": {1, 2}, "observed_at_ms": float("nan")}


def huge(question: dict[str, Any]) -> dict[str, Any]:
    return {"action": "x" * 3_000_000}


def failing(question: dict[str, Any]) -> dict[str, Any]:
    raise LookupError("no rate card " + "x" * 1_000)


def leaving(question: dict[str, Any]) -> dict[str, Any]:
    sys.exit("the function has no say over the process")


def crashing(question: dict[str, Any]) -> dict[str, Any]:
    _count("crashing")
    os._exit(7)


def crashes_first(question: dict[str, Any]) -> dict[str, Any]:
    if _count("crashes_first") == 1:
        os._exit(7)
    return right(question)


def declining(question: dict[str, Any]) -> None:
    return None


def curious(question: dict[str, Any]) -> dict[str, Any]:
    import http.client  # a name that a file beside the child's program has too

    about = {"python": sys.version_info[:2], "cwd": os.getcwd(), "http": http.client.__name__, "path": sys.path}
    return {"action": about}


def parent(question: dict[str, Any]) -> dict[str, Any]:
    """Starts a process of its own, which must not outlive it, and hangs."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (TOLD / "pids").write_text(f"{os.getpid()} {started.pid}")
    return hanging(question)


def holding_the_lock(question: dict[str, Any]) -> dict[str, Any]:
    """No other thread of the process runs from now on."""
    (TOLD / "pids").write_text(str(os.getpid()))
    sys.setswitchinterval(1e6)
    _tell("hanging")
    while True:
        pass


def counted(question: dict[str, Any]) -> dict[str, Any]:
    """Tells how many run at once, as seen when it began."""
    with _lock:
        _busy.append(1)
        seen = len(_busy)
    time.sleep(0.05)
    with _lock:
        _busy.pop()
    return {"action": seen}


_lock = threading.Lock()
_busy: list[int] = []


def _tell(name: str) -> None:
    (TOLD / name).touch()


def _count(name: str) -> int:
    """How often this was called, over all lives of the process."""
    with _lock, (TOLD / name).open("a") as file:
        file.write("x")
    return (TOLD / name).stat().st_size
