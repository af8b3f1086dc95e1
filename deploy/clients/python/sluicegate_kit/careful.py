"""The kit's consumers read with `reading`: whatever the broker holds, its memory stays bounded and it reads on.

It stands in two names of aiokafka, and takes only what the kit's consumers fetch: all others in the process, which is
yours, get what aiokafka would have made.
"""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher

from sluicegate_kit.reading import Kept, Lenient, telling

FETCH_RECORDS_MAX = 2_000  # of one fetch: small records can be very many


def consumer(**options: Any) -> AIOKafkaConsumer:
    """A consumer that gets what cannot be read as `Unreadable` among its records, and must look for it."""
    if getattr(fetcher.PartitionRecords, "of_the_kit", None) is None:
        _stand_in()
    return AIOKafkaConsumer(key_deserializer=telling, **{"max_poll_records": FETCH_RECORDS_MAX, **options})


def _stand_in() -> None:
    memory, records = fetcher.MemoryRecords, fetcher.PartitionRecords

    def chosen(tp: Any, kept: Kept, aborted: Any, offset: int, key: Any, *rest: Any) -> Any:
        if key is telling:
            return Lenient(tp, kept, aborted, offset, key, *rest)
        return records(tp, memory(kept.data), aborted, offset, key, *rest)

    chosen.of_the_kit = True  # type: ignore[attr-defined]  # looked for above
    chosen.stands_for = records  # type: ignore[attr-defined]  # for whoever makes a reader of his own after this
    fetcher.MemoryRecords, fetcher.PartitionRecords = Kept, chosen
