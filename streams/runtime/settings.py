"""What a worker process is told, in small frozen pieces, and the bounds that it keeps to.

Every wait on the broker is bounded. The times fit together: a heartbeat is missed several times before the session
ends, a transaction that its owner forgot ends with the session, and the drain is over before the supervisor kills.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from streams.batch import Input
from streams.runtime.stage import Stage

HEARTBEAT_S = 1.0
SESSION_S = 10.0  # from a SIGKILL until the group gives the partitions to somebody else
REBALANCE_S = 30.0
TRANSACTION_S = 10.0  # how long an open transaction of a dead owner may hold back readers
REQUEST_S = 15.0  # one request to the broker; aiokafka's default is 40, Faust's 1200
COMMIT_S = 20.0  # a whole transaction; after that its result is unknown and the hand-over finds out
HAND_OVER_S = 50.0  # all of a hand-over: its parts are bounded too, a client that hangs in one of them is not
RELEASE_S = 5.0  # what a lane may still finish when its partition is taken away
DRAIN_S = 10.0  # the whole of a stop
PREPARE_S = 900.0  # all that a stage may wait for others before it decides a batch; each wait has a bound of its own
PROGRESS_S = 5.0  # so often that such waiting is told from being stuck
LOOK_AGAIN_S = 10.0  # after a lane has stopped for good reason: whether somebody has said what holds; below STUCK_S
SETTLE_S = 60.0  # without a batch: then what was only passed over (markers, aborted records) is committed as read
RETRY_S = 2.0  # after a failed transaction: two heartbeats, in which a lost partition makes itself known
FAILURES_MAX = 5  # transactions that failed in a row while the broker answers: one may be chance, five are not
STUCK_S = 30  # no progress for so long, and no named dependency to wait for: the process ends
JOIN_S = 90  # the same for getting partitions at all

CLOCK_LOOK_S = 0.1  # between two looks whether the clock can be believed again
LOOK_S = 0.25  # between two looks whether something is due that no record asks for
BATCH_RECORDS_MAX = 2_000  # of one transaction; more costs latency and gains nothing
DECIDE_S = 0.5  # of a batch, while nothing else runs, heartbeats included: beyond it the next one is smaller
BATCH_BYTES_MAX = 16 * 1024 * 1024  # of its inputs, plus one fetch: what a slow broker takes within COMMIT_S
PENDING_RECORDS_MAX = 8_000  # waiting in one lane; beyond it the partition is not fetched
PENDING_BYTES_MAX = 64 * 1024 * 1024  # likewise: a backlog of large decisions does not fill the memory
FETCH_RECORDS_MAX = 2_000
FETCH_BYTES_MAX = 4 * 1024 * 1024  # of one partition; more than the largest record, or it could never be read
PRODUCER_BATCH_BYTES = 1024 * 1024  # of one record batch; output topics take twice that
# a batch makes some thousand objects that all end with it; looking for cycles among them every 700 finds none
GC_THRESHOLDS = (20_000, 20, 20)
RETRY_BACKOFF_MS = 2  # of the producer, see `transactions`


Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)


@dataclass(frozen=True, slots=True)
class Kafka:
    """Where the topics are."""

    bootstrap: str
    prefix: str

    def topic(self, kind: str) -> str:
        return self.prefix + kind


def transactional_id(kafka: Kafka, role: str, number: int) -> str:
    """The id that fences: whoever initialises it last owns partition `number` of this role, whatever his group.

    The slashes keep apart what no topic name or number can hold, so no two deployments share an id by accident.
    """
    return f"{kafka.prefix}/{role}/{number}"


@dataclass(frozen=True, slots=True)
class Role:
    """One job of a worker: a consumer group that reads its inputs together and keeps a stage per partition number."""

    name: str
    group: str
    inputs: tuple[Input, ...]
    new_stage: Callable[[int], Stage]  # for a partition number, at each hand-over
    batch_records_max: int = BATCH_RECORDS_MAX  # of one fetch and of one transaction
    released: Callable[[int], None] = lambda number: None  # hears when a partition number is not ours any more

    loses_quietly: bool = False  # what retention took from its inputs before it was read is not missed

    def transactional_id(self, kafka: Kafka, number: int) -> str:
        return transactional_id(kafka, self.name, number)

    def former_transactional_id(self, kafka: Kafka, number: int) -> str:
        """The one that fenced before: by group. Where its last owner left no identity, it has to be fenced too."""
        return f"{kafka.prefix}/{self.group}/{number}"


@dataclass(frozen=True, slots=True)
class Worker:
    """One process: one role on one Kafka, whose data topics have so many partitions."""

    kafka: Kafka
    role: Role
    partitions: int
    compression: Compression = "none"  # of what it writes in transactions
