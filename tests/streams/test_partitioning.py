"""Partitioning: keys are where Java's murmur2 puts them, however they are looked at."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from streams.partitioning import FEW, KNOWN_MAX, Home, murmur2, partition_of

KEYS = st.lists(st.binary(min_size=1, max_size=30), max_size=60)


@given(st.binary(max_size=300))
def test_murmur2_is_that_of_other_clients(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_aiokafka(key) & 0xFFFFFFFF


@given(KEYS, st.integers(2, 12), st.booleans())
def test_columns_and_single_keys_agree_first_and_later(keys: list[bytes], partitions: int, many: bool) -> None:
    seen = keys * (FEW if many else 1)
    home = Home(1, partitions)
    wanted = {place for place, key in enumerate(seen) if partition_of(key, partitions) != 1}
    assert home.astray(seen) == wanted
    assert home.astray(seen) == wanted, "what is remembered is what was found"


def test_what_can_be_no_entity_belongs_nowhere() -> None:
    assert Home(0, 4).astray([None, b"", b"x" * 1_000_000]) == frozenset()


def test_with_one_partition_everything_is_at_home() -> None:
    assert Home().astray([b"a", b"b"]) == frozenset()


def test_what_is_remembered_is_bounded() -> None:
    home = Home(0, 2)
    for first in range(0, 3 * KNOWN_MAX, KNOWN_MAX):
        home.astray([b"%d" % number for number in range(first, first + KNOWN_MAX)])
    assert len(home._known) <= KNOWN_MAX


@pytest.mark.parametrize("number", range(4))
def test_the_sentence_names_both_partitions(number: int) -> None:
    told = Home(number, 4).told(b"acct-17")
    assert f"belongs to partition 0 of 4 (Java's murmur2), and it came to partition {number}" in told
