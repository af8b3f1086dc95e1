"""The one way in which the kit decodes what others wrote: whatever the decoder raises, it is a ValueError."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decoded(decoder: msgspec.json.Decoder[T], value: bytes) -> T:
    """What the value holds. Raises ValueError for anything that it does not, whatever the decoder raised."""
    try:
        return decoder.decode(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except Exception as error:
        raise ValueError(f"{error}"[:300] or type(error).__name__) from error
