"""Options that are times: moments, how long ago, lengths of time; each with its bounds and a hint that works."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agents.cli.values import Bounded, Context, Parameter, shown
from schemas.common import TIME_MS_MAX
from streams.runtime.clock import clock_ms
from streams.terms import duration_ms

BUDGETS_MAX = 50  # each is a replay of everything
TEXT_CHARS_MAX = 100  # a longer one is no time; and nobody wants to read its digits again
SPAN = "a length of time with its unit"
FOR_EVER = "1000000d"  # further back than any clock of today


def span_ms(text: str) -> int | None:
    """The milliseconds of `90s`; None where it is no length of time."""
    return duration_ms(text) if len(text) <= TEXT_CHARS_MAX else None


class Moment(Bounded):
    """Epoch milliseconds, or an ISO 8601 time with its zone."""

    name = "time"

    def __init__(self, example: str = "2026-11-23T09:30:00Z") -> None:
        super().__init__("epoch milliseconds, or a time with its zone, 1970 to 9999", example)

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int:
        """Epoch milliseconds."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        try:
            at_ms = self._at_ms(text, param, ctx) if len(text) <= TEXT_CHARS_MAX else -1
        except (ValueError, OverflowError):
            at_ms = -1
        if not 0 <= at_ms <= TIME_MS_MAX:
            self.refuse(value, param, ctx)
        return at_ms

    def _at_ms(self, text: str, param: Parameter, ctx: Context) -> int:
        if text.isascii() and text.isdigit():
            return int(text)
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            self.fail(f"{shown(text)} names no zone: write {at.isoformat()}Z for UTC", param, ctx)
        return round(at.timestamp() * 1000)


class When(Moment):
    """A moment, or how long ago it was."""

    name = "when"

    def __init__(self) -> None:
        super().__init__("2h")
        self.wanted = "how long ago it was (2h), now, or a time with its zone, 1970 to 9999 (2026-11-23T09:30:00Z)"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int:
        """Epoch milliseconds."""
        now_ms = clock_ms()
        if value == "now":
            return now_ms
        ago_ms = None if isinstance(value, int) else span_ms(str(value))
        return super().convert(value, param, ctx) if ago_ms is None else max(0, now_ms - ago_ms)


class Span(Bounded):
    """A length of time as policies spell it, from `least` to `most`; `why` says what the longest is bound by."""

    name = "span"

    def __init__(self, least: str = "0ms", most: str = FOR_EVER, example: str = "90s", why: str = "") -> None:
        at_least_ms, at_most_ms = duration_ms(least), duration_ms(most)
        assert at_least_ms is not None
        assert at_most_ms is not None
        self._at_least_ms, self._at_most_ms = at_least_ms, at_most_ms
        bounds = f"{least} to {most}" if most != FOR_EVER else f"{least} or more"
        super().__init__(f"{SPAN} ({bounds}{f': {why}' if why else ''})", example)

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int:
        """Milliseconds."""
        if isinstance(value, int):
            return value
        found_ms = span_ms(str(value))
        if found_ms is None or not self._at_least_ms <= found_ms <= self._at_most_ms:
            self.refuse(value, param, ctx)
        return found_ms


class Budgets(Bounded):
    """Lengths of time with commas between them."""

    name = "budgets"

    def __init__(self, each: Span) -> None:
        super().__init__(f"1 to {BUDGETS_MAX} lengths of time with commas between them", "30s,1m,5m")
        self._each = each

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[int, ...]:
        """Milliseconds, rising."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if len(parts) > 10 * BUDGETS_MAX:
            self.refuse(value, param, ctx)
        found = {self._each.convert(text.strip(), param, ctx) for text in parts}
        if len(found) > BUDGETS_MAX:
            self.fail(
                f"{len(found)} budgets are more than {BUDGETS_MAX}, each a replay of everything: write some, such as "
                f"{self.example}",
                param,
                ctx,
            )
        return tuple(sorted(found))
