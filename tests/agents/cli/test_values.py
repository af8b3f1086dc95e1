"""What options take and refuse, and the sentences."""

from __future__ import annotations

import click
import pytest

from agents.cli.budget import Share
from agents.cli.desk import STORE_URL
from agents.cli.options import BY, NAME, WHY
from agents.cli.times import Budgets, Moment, Span, When
from agents.cli.values import COMMAND_ID, CURRENCY, POLICY_NAME, VERSION, Bootstrap, Number
from agents.cli.worker import Roles

WINDOW = Span("1ms", "7d", "5m", "topics keep so long")


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (WHY, "x" * 1_001, "1001 characters: expected 1 to 1000 characters, such as 'double charges since 14:10'"),
        (WHY, "", "empty: expected 1 to 1000 characters, such as 'double charges since 14:10'"),
        (BY, " ", "empty: expected 1 to 200 characters, such as 'ana'"),
        (NAME, "caf\udce9", "'caf\\udce9' is not UTF-8 text, such as billing"),
        (CURRENCY, "euro", "'euro' is not an ISO 4217 code (three capital letters), such as USD"),
        (VERSION, "9" * 20, f"'{'9' * 20}' is not a whole number from 1 to 9223372036854775807, such as 4"),
        (Number(1, 10, "5"), "nan", "'nan' is not a number from 1 to 10, such as 5"),
        (Moment(), "2026-11-23", "'2026-11-23' names no zone: write 2026-11-23T00:00:00Z for UTC"),
        (Moment(), "1969-12-31T23:59:59Z", "'1969-12-31T23:59:59Z' is not epoch milliseconds, or a time with its zone, "
         "1970 to 9999, such as 2026-11-23T09:30:00Z"),
        (WINDOW, "8d", "'8d' is not a length of time with its unit (1ms to 7d: topics keep so long), such as 5m"),
        (Budgets(WINDOW), "30s,x", "'x' is not a length of time with its unit (1ms to 7d: topics keep so long), such "
         "as 5m"),
        (Share(), "1e-999999999", "'1e-999999999' is not a share over 0 and at most 1, such as 0.99"),
        (Roles(), "gate,all", "'gate,all' is not all, or some of gate, reevaluation, reviews, exposure with commas "
         "between them, each once, such as gate,reviews"),
        (Bootstrap(), "127.0.0.1:99999", "'127.0.0.1:99999' has the port 99999: a port is 1 to 65535, such as "
         "127.0.0.1:9092"),
        (STORE_URL, "mysql://h/x", "'mysql://h/x' is not the URL of a database, sqlite:///FILE or "
         "postgresql://USER@HOST/DATABASE, such as sqlite:///reviews.db"),
        (Bootstrap(), "h:x", "'h:x' is not HOST:PORT, such as 127.0.0.1:9092, broker.example:9092 or [::1]:9092"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_with_the_limit_and_an_example(
    kind: click.ParamType, value: str, sentence: str
) -> None:
    with pytest.raises(click.BadParameter) as error:
        kind.convert(value, None, None)
    assert error.value.message == sentence


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (WHY, "x" * 1_000, "x" * 1_000),
        (NAME, "é" * 200, "é" * 200),
        (POLICY_NAME, "a@b", ("a@b", None)),
        (POLICY_NAME, "a@b@2", ("a@b", 2)),
        (POLICY_NAME, "w@²", ("w@²", None)),
        (VERSION, "20261127213000123", 20261127213000123),
        (COMMAND_ID, "c-" + "0f" * 16, "c-" + "0f" * 16),
        (Moment(), "2026-11-23T00:00:00Z", 1795392000000),
        (Moment(), "0", 0),
        (Span(), "36500d", 36_500 * 86_400_000),
        (When(), "36500d", 0),
        (Roles(), "all", ["gate", "reevaluation", "reviews", "exposure"]),
        (Roles(), "reviews, gate", ["reviews", "gate"]),
        (Bootstrap(), "a:1, [::0001]:9092,", "a:1,[::1]:9092"),
        (Bootstrap(), "bücher.example:9092", "xn--bcher-kva.example:9092"),
    ],
)
def test_what_is_within_the_bounds_is_taken(kind: click.ParamType, value: str, found: object) -> None:
    assert kind.convert(value, None, None) == found
