"""The jars of Apache Kafka, exactly those of `kafka.lock` in this folder: coordinates and sha256, no addresses.

Each is fetched by its coordinates, not resolved anew: what runs is what was locked, and the first start saves the
20 s that resolving takes. They are kept in a folder of our own, so that a torn download can be thrown away and
fetched again. All are hashed at every start: 45 MB cost 0.04 s.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streams.errors import ConfigurationError
from streams.runtime.folders import user_folder

LOCK_FILE = Path(__file__).with_name("kafka.lock")
OWN_KAFKA = "to use a Kafka of your own instead, set SLUICEGATE_BOOTSTRAP or --bootstrap to its address"

# the server is polite to a few connections at a time, and more gain nothing on 42 small files
FETCHES_AT_ONCE = 6
# to connect, and between two pieces of a file
FETCH_TIMEOUT_S = 20


@dataclass(frozen=True)
class Jar:
    group: str
    artifact: str
    version: str
    sha256: str

    def path(self, cache: Path) -> Path:
        folder = cache.joinpath(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}.jar"

    def intact(self, cache: Path) -> bool:
        try:
            with self.path(cache).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


def cache_folder() -> Path:
    """Where the jars are kept: the user's cache folder, as the XDG rules name it."""
    folder = user_folder("XDG_CACHE_HOME", ".cache", OWN_KAFKA) / "sluicegate" / "jars"
    if os.pathsep in str(folder):
        raise ConfigurationError(
            f"the cache folder {folder} has a {os.pathsep!r} in it, which parts the paths that Java is given: set "
            "XDG_CACHE_HOME to a folder without one, such as XDG_CACHE_HOME=/var/tmp/sluicegate"
        )
    return folder


def locked_jars() -> list[Jar]:
    lines = LOCK_FILE.read_text(encoding="utf-8").splitlines()
    jars = []
    for line in lines:
        sha256, coordinates = line.split()
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, sha256))
    return jars


def ready_jars(say: Callable[[str], None]) -> list[Path]:
    """The paths of all locked jars, each compared with its sha256; what is missing or differs is fetched first."""
    jars, cache = locked_jars(), cache_folder()
    if any(not jar.intact(cache) for jar in jars):
        with _one_at_a_time(cache):
            _fetch([jar for jar in jars if not jar.intact(cache)], len(jars), cache, say)
    return [jar.path(cache) for jar in jars]


def _fetch(missing: list[Jar], total: int, cache: Path, say: Callable[[str], None]) -> None:
    if not missing:
        return  # another process fetched them while we waited for it
    say(f"fetching Apache Kafka {kafka_version()}: {len(missing)} of {total} jars, once, into {cache}")
    pool = ThreadPoolExecutor(FETCHES_AT_ONCE, thread_name_prefix="fetch-jar")
    try:
        for count, _ in enumerate(pool.map(lambda jar: _fetch_one(jar, cache), missing), start=1):
            if count % 15 == 0:
                say(f"  {count} of {len(missing)} jars")
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(
            f"cannot fetch Apache Kafka {kafka_version()} ({len(missing)} of its {total} jars are not in {cache}): "
            f"{type(error).__name__} while asking the Maven repository; the network is needed this once, so mend it "
            f"and start again, or {OWN_KAFKA}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    wrong = [jar for jar in missing if not jar.intact(cache)]
    if wrong:
        names = ", ".join(f"{jar.group}:{jar.artifact}:{jar.version}" for jar in wrong)
        raise ConfigurationError(
            f"what was fetched is not what {LOCK_FILE.name} names (sha256 differs: {names}); nothing of it was run. "
            f"Look at the Maven repository in use, or {OWN_KAFKA}"
        )


def _fetch_one(jar: Jar, cache: Path) -> None:
    # imported where it is needed: it costs 0.6 s, and most starts find every jar in the cache
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    jar.path(cache).unlink(missing_ok=True)
    context = MavenContext(
        repo_cache=cache,
        local_repos=[],
        remote_repos=GlobalSettings.load().repositories or None,  # a mirror the user has set in jgo's own settings
        timeout=FETCH_TIMEOUT_S,
    )
    context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()


def kafka_version() -> str:
    """The version of Apache Kafka that is locked."""
    return next(jar.version for jar in locked_jars() if jar.artifact == "kafka_2.13")


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Two first starts at once must not write the same files: the second waits, and then finds them."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("w")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the cache folder {cache}: {error.strerror}; point XDG_CACHE_HOME at "
            "one that can be written"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
