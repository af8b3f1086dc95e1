"""Writes `kafka.lock` anew: `python -m streams.runtime.broker.relock`. Needed only to move to another Kafka.

jgo resolves what Kafka needs and hashes what it fetched; the diff of the lock is what a reviewer reads.
"""

from __future__ import annotations

import tomllib

from streams.runtime.broker.jars import LOCK_FILE

# slf4j-simple is not a dependency of Kafka's: without any binding, Kafka logs nothing at all, not even why it stops
ENDPOINT = "org.apache.kafka:kafka_2.13:4.0.2+org.slf4j:slf4j-simple:1.7.36@kafka.Kafka"


def main() -> None:
    import jgo

    lock_path = jgo.build(ENDPOINT, update=True).lock_path
    resolved = tomllib.loads(lock_path.read_text(encoding="utf-8"))["dependencies"]
    lines = [f"{jar['sha256']}  {jar['groupId']}:{jar['artifactId']}:{jar['version']}\n" for jar in resolved]
    LOCK_FILE.write_text("".join(sorted(lines, key=lambda line: line.split()[1])), encoding="utf-8")


if __name__ == "__main__":
    main()
