"""The pack's sample as trips: amounts in cents and distances in hundredths of a mile, integers from the text on.

The source writes 9.8 and 65.0: read as decimal text, never as a float, so that a cent stays a cent.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from importlib import resources

MONTHS = ("2018-12", "2019-01", "2019-02")


@dataclass(frozen=True, slots=True)
class Trip:
    """One row of the sample: `month` and `row` name it, everything else is as the meter recorded it."""

    month: str
    row: int
    vendor: str
    rate_code: str
    payment_type: str
    pickup_zone: str
    dropoff_zone: str
    stored_offline: bool
    started_at: datetime
    stopped_at: datetime
    duration_s: int
    distance_centimiles: int
    fare_minor: int
    extra_minor: int
    tax_minor: int
    tip_minor: int
    tolls_minor: int
    improvement_minor: int
    congestion_minor: int
    total_minor: int


def hundredths(text: str) -> int:
    """`9.8` -> 980, `` -> 0; raises ValueError when a fraction of a hundredth would be lost."""
    scaled = Decimal(text or "0") * 100
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{text!r} has more than two decimals")
    return int(scaled)


def _trip(month: str, row: int, cells: dict[str, str]) -> Trip:
    stopped_at = datetime.fromisoformat(cells["dropoff_datetime"])
    started_at = datetime.fromisoformat(cells["pickup_datetime"])
    return Trip(
        month=month,
        row=row,
        vendor=cells["vendor_id"],
        rate_code=cells["rate_code_id"],
        payment_type=cells["payment_type"],
        pickup_zone=cells["pickup_location_id"],
        dropoff_zone=cells["dropoff_location_id"],
        stored_offline=cells["store_and_fwd_flag"] == "Y",
        started_at=started_at,
        stopped_at=stopped_at,
        duration_s=int((stopped_at - started_at).total_seconds()),
        distance_centimiles=hundredths(cells["trip_distance"]),
        fare_minor=hundredths(cells["fare_amount"]),
        extra_minor=hundredths(cells["extra"]),
        tax_minor=hundredths(cells["mta_tax"]),
        tip_minor=hundredths(cells["tip_amount"]),
        tolls_minor=hundredths(cells["tolls_amount"]),
        improvement_minor=hundredths(cells["improvement_surcharge"]),
        congestion_minor=hundredths(cells["congestion_surcharge"]),
        total_minor=hundredths(cells["total_amount"]),
    )


@lru_cache(maxsize=len(MONTHS))
def month_of_trips(month: str) -> tuple[Trip, ...]:
    """The sample of one month of `MONTHS`, in the file's order."""
    packed = (resources.files(__package__) / "samples" / f"yellow_{month}.csv.gz").read_bytes()
    rows = csv.DictReader(io.StringIO(gzip.decompress(packed).decode("ascii")))
    return tuple(_trip(month, number, cells) for number, cells in enumerate(rows))


def trips_through_the_months(count: int) -> Iterator[tuple[int, Trip]]:
    """`count` trips spread evenly over the months, in order, each with how often its month's sample was used up."""
    for index, month in enumerate(MONTHS):
        sample = month_of_trips(month)
        wanted = count * (index + 1) // len(MONTHS) - count * index // len(MONTHS)
        for number in range(wanted):
            lap, row = divmod(number, len(sample))
            yield lap, sample[row]
