"""Foreign bytes: whatever anybody may have written, read into what we expect, or into the reason why it is none.

Everything that is read from a topic, an endpoint or a store passes here: no decoder is called elsewhere, but for the
measured ones of ingest (a house test has the list). What the decoders raise is more than their documentation says:
errors of their own, UnicodeDecodeError in a text, RecursionError at a depth, OverflowError and MemoryError on numbers
and sizes that nobody meant. All of it is data, and nobody's end.

What goes out again, in part or whole, is such that its readers can read it: numbers in our fields fit in 64 bits, and
times into the contract's range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
import orjson

from schemas.common import TIME_MS_MAX

T = TypeVar("T")

# What decoders raise for bytes that they were not made for. Nothing in here can be the fault of anything else: they
# are called with bytes alone, and touch nothing.
REFUSALS = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, MemoryError)
WHY_CHARS_MAX = 500  # a decoder may quote what it found, of any length
INT_MAX = 2**63 - 1  # of our own fields: readers have no more, and databases neither


class Unreadable(NamedTuple):
    """Why bytes are not what was expected: not JSON at all, or JSON of another shape."""

    part: Literal["json", "schema"]
    why: str


class Reader(Generic[T]):
    """Reads values of one type.

    `again`: what is read goes out again, in part or whole. So all of it is held against the grammar, also what msgspec
    skips or keeps as it stands, and its numbers must be such as can be written.
    """

    def __init__(self, kind: type[T], again: bool = True) -> None:
        self._decode = msgspec.json.Decoder(kind).decode
        self._again = again

    def __call__(self, value: bytes | memoryview | msgspec.Raw | str | None) -> T | Unreadable:
        """What the value holds, or why it cannot be read. Raises nothing; None is read as no bytes."""
        text = b"" if value is None else value
        try:
            if self._again:
                orjson.loads(bytes(text) if isinstance(text, msgspec.Raw) else text)
            found = self._decode(text)
            wrong = _unwritable(found, "") if self._again else None
        except msgspec.ValidationError as error:
            return Unreadable("schema", told(error))
        except REFUSALS as error:
            return Unreadable("json", told(error))
        return found if wrong is None else Unreadable("schema", f"{wrong[:WHY_CHARS_MAX]}: out of range")


def own(kind: type[T]) -> Callable[[bytes | str], T]:
    """A reader of what this program wrote itself and nobody else can have touched: it raises, for then we are wrong."""
    decode: Callable[[bytes | str], T] = msgspec.json.Decoder(kind).decode
    return decode


own_json = orjson.loads  # the same without a type


def json_of(value: bytes | memoryview | str | None) -> Any:
    """What the JSON says, read as strictly as its readers will; or Unreadable. Raises nothing."""
    try:
        return orjson.loads(b"" if value is None else value)
    except REFUSALS as error:
        return Unreadable("json", told(error))


def object_of(value: bytes | memoryview | str | None) -> dict[str, Any] | None:
    """The JSON object in a value; None where it is anything else. Raises nothing."""
    found = json_of(value)
    return found if isinstance(found, dict) else None


def text_of(value: bytes | None) -> str | None:
    """The text in a key or a header; None where there is none, or it is not UTF-8."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def told(error: BaseException) -> str:
    """What a decoder says, in one line of a bounded length."""
    return " ".join(str(error).split())[:WHY_CHARS_MAX] or type(error).__name__


def _unwritable(found: Any, name: str) -> str | None:
    """The field of ours whose number nobody could write again, or whose time no clock shows; what others carry in
    maps of their own is their affair.
    """
    if isinstance(found, int):
        fits = 0 <= found <= TIME_MS_MAX if name.endswith("_ms") else -INT_MAX <= found <= INT_MAX
        return None if fits else name
    if isinstance(found, msgspec.Struct):
        inner = [(one, getattr(found, one)) for one in found.__struct_fields__]
    else:
        inner = [(name, one) for one in found] if isinstance(found, (list, tuple)) else []
    return next((wrong for key, one in inner if (wrong := _unwritable(one, key)) is not None), None)
