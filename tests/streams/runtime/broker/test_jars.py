from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from streams.runtime.broker.jars import LOCK_FILE, Jar, locked_jars, ready_jars


def test_the_lock_holds_coordinates_and_hashes_and_no_addresses() -> None:
    assert all(
        re.fullmatch(r"[0-9a-f]{64}  [\w.-]+:[\w.-]+:[\w.-]+", line) for line in LOCK_FILE.read_text().splitlines()
    )
    jars = locked_jars()
    assert len(jars) == len({(jar.group, jar.artifact) for jar in jars}) == 42
    assert (
        Jar("org.apache.kafka", "kafka_2.13", "4.0.2", next(j.sha256 for j in jars if j.artifact == "kafka_2.13"))
        in jars
    )


def test_a_jar_is_intact_only_with_the_locked_hash(tmp_path: Path) -> None:
    jar = Jar("org.example", "thing", "1.0", hashlib.sha256(b"as locked").hexdigest())
    assert not jar.intact(tmp_path)
    path = jar.path(tmp_path)
    assert path == tmp_path / "org" / "example" / "thing" / "1.0" / "thing-1.0.jar"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"as locke")
    assert not jar.intact(tmp_path)
    path.write_bytes(b"as locked")
    assert jar.intact(tmp_path)


def test_jars_in_the_cache_are_used_without_a_word() -> None:
    ready_jars(lambda text: None)  # the first start on this machine fetches them
    said: list[str] = []
    assert len(ready_jars(said.append)) == 42
    assert said == []


def child_without_network(cache: Path) -> dict[str, str]:
    """An empty cache, and every way out through a proxy that nothing listens at."""
    unusable = "http://127.0.0.1:9"
    return {
        **{name: value for name, value in os.environ.items() if name.lower() != "no_proxy"},
        "XDG_CACHE_HOME": str(cache),
        "HTTPS_PROXY": unusable,
        "HTTP_PROXY": unusable,
        "https_proxy": unusable,
        "http_proxy": unusable,
    }


def test_without_network_the_first_start_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from agents.cli.main import main; main()", "broker", "--port", "19093"],
        env=child_without_network(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "cannot fetch Apache Kafka 4.0.2 (42 of its 42 jars" in done.stderr
    assert f"{tmp_path}/sluicegate/jars" in done.stderr
    assert "network is needed this once" in done.stderr
    assert "SLUICEGATE_BOOTSTRAP or --bootstrap" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_torn_jar_is_fetched_again_and_never_run(tmp_path: Path) -> None:
    """Without a network the start is refused although the file is there; what was torn is thrown away."""
    torn = locked_jars()[0].path(tmp_path / "sluicegate" / "jars")
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"PK torn")
    code = "from streams.runtime.broker.jars import ready_jars; ready_jars(print)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_without_network(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ConfigurationError: cannot fetch" in done.stderr
    assert not torn.exists()
