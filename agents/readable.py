"""Money, moments and durations for people's eyes: integers until this last moment."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.common import TIME_MS_MAX

# ISO 4217 currencies whose minor unit is not a hundredth
_DIGITS = dict.fromkeys(
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"], 0
) | dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3)


def money(value_minor: int, currency: str) -> str:
    """`money(125050, "USD")` -> `1,250.50 USD`; no float on the way."""
    digits = _DIGITS.get(currency, 2)
    major, minor = divmod(abs(value_minor), 10**digits)
    sign = "-" if value_minor < 0 else ""
    fraction = f".{minor:0{digits}d}" if digits else ""
    return f"{sign}{major:,}{fraction} {currency}"


def duration(span_ms: int) -> str:
    """`163 ms`, `21.4 s`, `12 min`, `3.5 h`: three digits are enough to judge an age by."""
    if span_ms < 1000:
        return f"{span_ms} ms"
    if span_ms < 120_000:
        return f"{span_ms / 1000:.1f} s"
    if span_ms < 2 * 3_600_000:
        return f"{span_ms / 60_000:.0f} min"
    return f"{span_ms / 3_600_000:.1f} h"


def moment(at_ms: int) -> str:
    """`2026-11-23 20:09:39 UTC`: a time, to the second; the nearest that can be told, where others wrote nonsense."""
    return datetime.fromtimestamp(min(max(at_ms, 0), TIME_MS_MAX) // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
