"""Bad input, kept as data, and near misses that must pass: for the tests of the core and for a real broker.

Each case is one record as a producer could have sent it, and the reason it must get; None where it is accepted.
What is accepted here runs on `workflow` billing, whatever its policy then says of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from schemas.common import TIME_MS_MAX, VALUE_BYTES_MAX
from streams.batch import Input

# late enough for a test that uses the real clock, early enough not to be the future: set by the caller's clock
OBSERVED = b"@OBSERVED@"


@dataclass(frozen=True)
class Case:
    """`value` may hold the mark OBSERVED, which stands for a time just before now: see `at`."""

    name: str
    value: bytes | None
    key: bytes | None
    reason: str | None
    input: Input = "decisions"

    def at(self, now_ms: int) -> bytes | None:
        """The value as sent at `now_ms`; ids differ by case, so one window may see them all."""
        return None if self.value is None else self.value.replace(OBSERVED, b"%d" % (now_ms - 1_000))


KEY = b"acct-1"
_LINEAGE = (
    b'"root_id":"r-1","attempt":2,"first_observed_at_ms":1,"final_deadline_ms":253402300799999,"cause":"stale.age"'
)


def _decision(name: str, *, without: bytes = b"", extra: bytes = b"", **fields: bytes) -> bytes:
    """A decision spelt out as text, so that a case can put any bytes anywhere."""
    members: dict[str, bytes] = {
        "id": json.dumps(name[:150]).encode(),
        "workflow": b'"billing"',
        "entity": b'"acct-1"',
        "action": b'{"type":"invoice.post","amount":1.10}',
        "observed_at_ms": OBSERVED,
        **fields,
    }
    members.pop(without.decode(), None)
    body = b",".join(b'"%s":%s' % (field.encode(), text) for field, text in members.items())
    return b"{" + body + (b"," + extra if extra else b"") + b"}"


def _empty() -> Iterator[Case]:
    yield Case("tombstone", None, KEY, "invalid.empty")
    yield Case("tombstone without a key", None, None, "invalid.empty")
    yield Case("empty value", b"", KEY, "invalid.empty")


def _oversized() -> Iterator[Case]:
    def padded(name: str, size: int) -> bytes:
        # room for the mark, which becomes 13 digits
        room = size + len(OBSERVED) - 13 - len(_decision(name, note=b'""'))
        return _decision(name, note=b'"%s"' % (b"x" * room))

    yield Case("exactly at the limit", padded("at-limit", VALUE_BYTES_MAX), KEY, None)
    yield Case("one byte over the limit", padded("over-limit", VALUE_BYTES_MAX + 1), KEY, "invalid.oversized")
    yield Case("an id of 1 MB", _decision("long", id=b'"%s"' % (b"i" * 1_000_000)), KEY, "invalid.oversized")
    yield Case("oversized before encoding", b"\xff" * (VALUE_BYTES_MAX + 1), KEY, "invalid.oversized")
    yield Case("oversized without a key", b" " * (VALUE_BYTES_MAX + 1), None, "invalid.oversized")


def _encoding() -> Iterator[Case]:
    def bad(name: str, value: bytes) -> Case:
        return Case(name, value, KEY, "invalid.encoding")

    yield bad("not UTF-8 at all", b"\xff\xfe\x00\x01")
    yield bad("latin-1 in a field", _decision("latin", note=b'"caf\xe9"'))
    yield bad("latin-1 inside action", _decision("latin-action", action=b'{"type":"a","text":"caf\xe9"}'))
    yield bad("UTF-16", '{"id": "d-1"}'.encode("utf-16"))
    yield bad("UTF-8 that ends inside a character", b'{"id":"\xe2\x82')
    yield bad("an overlong encoding", _decision("overlong", note=b'"\xc0\xaf"'))
    yield bad("a surrogate encoded as UTF-8", _decision("cesu", note=b'"\xed\xa0\x80"'))
    yield bad("not UTF-8 before not JSON", b"{\xff")
    yield bad("BOM in front", b"\xef\xbb\xbf" + _decision("bom-front"))
    yield bad("BOM inside a string", _decision("bom-inside", note=b'"a\xef\xbb\xbfb"'))
    yield bad("BOM inside action", _decision("bom-action", action=b'{"type":"a\xef\xbb\xbf"}'))
    yield bad("BOM at the end", _decision("bom-end") + b"\xef\xbb\xbf")
    yield bad("only a BOM", b"\xef\xbb\xbf")
    yield bad("lone high surrogate", _decision("high", note=rb'"\ud83d"'))
    yield bad("lone low surrogate", _decision("low", note=rb'"\ude00"'))
    yield bad("surrogates the wrong way round", _decision("swapped", note=rb'"\ude00\ud83d"'))
    yield bad("two high surrogates", _decision("high-high", note=rb'"\ud83d\ud83d\ude00"'))
    yield bad("a pair with a letter between", _decision("parted", note=rb'"\ud83dx\ude00"'))
    yield bad("lone surrogate inside action", _decision("action-high", action=rb'{"type":"a","t":"\uD83D"}'))
    yield bad("lone surrogate in a key of action", _decision("key-high", action=rb'{"\uDC00":1}'))
    yield bad("lone surrogate in the id", _decision("id-high", id=rb'"\ud83d"'))


def _json() -> Iterator[Case]:
    def bad(name: str, value: bytes) -> Case:
        return Case(name, value, KEY, "invalid.json")

    deep = 10_000
    yield bad("text", b"not json")
    yield bad("a cut-off decision", _decision("cut")[:-1])
    yield bad("two decisions in one value", _decision("one") + _decision("two"))
    yield bad("only white space", b" \t\r\n")
    yield bad("single quotes", b"{'id':'d-1'}")
    yield bad("a trailing comma", _decision("comma")[:-1] + b",}")
    yield bad("a comment", b"/* decision */" + _decision("comment"))
    yield bad("NUL bytes", b"\x00\x00")
    yield bad("a raw line break in a string", _decision("break", note=b'"a\nb"'))
    yield bad("an unknown escape", _decision("escape", note=rb'"\q"'))
    for number in (b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e400", b"-1e400", b"+1", b"01", b".5", b"1.", b"0x1"):
        name = number.decode()
        yield bad(f"{name} in a field", _decision(f"field {name}", note=number))
        yield bad(f"{name} inside action", _decision(f"action {name}", action=b'{"type":"a","n":[%s]}' % number))
        yield bad(f"{name} as the confidence", _decision(f"confidence {name}", confidence=number))
    for digits in (301, 5_000, 200_000):
        for name, text in (("1", b"1"), ("0.1", b"0.1"), ("-7.7", b"-7.7")):
            number = text + b"1" * (digits - sum(map(str.isdigit, name)))
            yield bad(f"{name}... of {digits} digits", _decision(f"{name} {digits}", note=number))
            yield bad(f"{name}... of {digits} digits inside action", _decision(f"a {name} {digits}", action=number))
    yield bad("5,000 digits of exponent", _decision("exponent", action=b"1e-" + b"0" * 4_999 + b"1"))
    yield bad("5,000 digits as a time", _decision("time digits", observed_at_ms=b"9" * 5_000))
    yield bad("arrays nested 10,000 deep", b"[" * deep + b"]" * deep)
    yield bad("objects nested 10,000 deep", b'{"a":' * deep + b"1" + b"}" * deep)
    yield bad("10,000 deep inside action", _decision("deep", action=b"[" * deep + b"]" * deep))
    yield bad("10,000 deep in an unknown field", _decision("deep-note", note=b"[" * deep + b"]" * deep))
    yield bad("brackets that never close", b"[" * 100_000)
    yield bad("65 deep", _decision("65", action=b"[" * 64 + b"]" * 64))
    yield bad("NaN before a repeated key", _decision("nan-first", note=b"NaN", extra=b'"note":1'))


def _schema() -> Iterator[Case]:
    def bad(name: str, value: bytes, source: Input = "decisions") -> Case:
        return Case(name, value, KEY, "invalid.schema", source)

    for text in (b"[]", b'"text"', b"1", b"null", b"true", b"[{}]", b"{}", b"1.5", b"-0", b"[1,2]"):
        yield bad(f"JSON that is no decision: {text.decode()}", text)
    for field in ("id", "workflow", "entity", "action", "observed_at_ms"):
        yield bad(f"without {field}", _decision(f"without {field}", without=field.encode()))
    for field in ("id", "workflow", "entity", "observed_at_ms"):
        yield bad(f"{field} is null", _decision(f"null {field}", **{field: b"null"}))
    for field in ("observed_at_ms", "decided_at_ms", "sent_at_ms", "expires_at_ms", "value_minor", "context_version"):
        for number in (b"1.5", b"1e3", b"1.0", b"true", b"false", b'"1"', b"[1]", b"{}"):
            yield bad(f"{field} is {number.decode()}", _decision(f"{field} {number.decode()}", **{field: number}))
    yield bad("an amount beyond 2**53", _decision("amount", value_minor=b"9007199254740993", currency=b'"USD"'))
    yield bad("an amount beyond 64 bits", _decision("amount 64", value_minor=b"18446744073709551616"))
    yield bad("an amount below -2**53", _decision("amount -", value_minor=b"-9007199254740993"))
    yield bad("a context version beyond 64 bits", _decision("context", context_version=b"99999999999999999999"))
    yield bad("a negative context version", _decision("context -", context_version=b"-1"))
    for text in (b"true", b'"0.9"', b"1.1", b"-0.1", b"2"):
        yield bad(f"confidence {text.decode()}", _decision(f"confidence {text.decode()}", confidence=text))
    for text in (b"1", b"0", b'"true"'):
        yield bad(f"reversible {text.decode()}", _decision(f"reversible {text.decode()}", reversible=text))
    for text in (b'"US"', b'"USDT"', b'""', b"840"):
        yield bad(f"currency {text.decode()}", _decision(f"currency {text.decode()}", currency=text))
    for field in ("id", "workflow", "entity"):
        yield bad(f"{field} is empty", _decision(f"empty {field}", **{field: b'""'}))
        yield bad(f"{field} of 201 characters", _decision(f"long {field}", **{field: b'"%s"' % (b"x" * 201)}))
        yield bad(f"{field} of 200,000 characters", _decision(f"v {field}", **{field: b'"%s"' % (b"x" * 200_000)}))
        yield bad(f"{field} is a number", _decision(f"number {field}", **{field: b"17"}))
    yield bad("a ~ in the id", _decision("tilde", id=b'"d~2"'))
    yield bad("an escaped ~ in the id", _decision("tilde-escaped", id=rb'"d\u007e2"'))
    for text in (b"[]", b'"a"', b"1", b"true"):
        yield bad(f"attributes is {text.decode()}", _decision(f"attributes {text.decode()}", attributes=text))
    yield from _repeats(bad)
    for lineage in _LINEAGE.split(b","):
        name = lineage.split(b'"')[1].decode()
        yield bad(f"{name} from outside", _decision(f"outside {name}", extra=lineage))
        yield bad(f"{name} from outside, null", _decision(f"null {name}", **{name: b"null"}))
    yield bad("root_id spelt with an escape", _decision("escaped root", extra=rb'"root\u005fid":"r"'))
    yield bad("schema before time", _decision("schema-time", observed_at_ms=b"-1", confidence=b"7"))
    yield bad("a successor without lineage", _decision("bare"), "successors")
    yield bad("a successor of another id", _decision("x~2", extra=_LINEAGE), "successors")
    yield bad("a first attempt as successor", _successor(b"r-2", b"1"), "successors")
    yield bad("a successor of a successor", _successor(b"r-3~2", b"3"), "successors")


def _repeats(one: Callable[[str, bytes], Case]) -> Iterator[Case]:
    twice = {
        "id": b'"id":"other"',
        "observed_at_ms": b'"observed_at_ms":%s' % OBSERVED,
        "action": b'"action":{}',
        "confidence": b'"confidence":0.5,"confidence":0.9',
        "an unknown field": b'"note":1,"note":1',
        "an escaped id": rb'"\u0069d":"other"',
        "the empty name": b'"":1,"":2',
        "an unknown field with others between": b'"note":1,"more":2,"note":3',
        "attributes": b'"attributes":{"a":1},"attributes":{"a":1}',
    }
    for name, extra in twice.items():
        yield one(f"{name} twice", _decision(f"twice {name}", extra=extra))
    for name, text in {
        "plain": b'{"vendor":"1","vendor":"2"}',
        "the same": b'{"vendor":"1","vendor":"1"}',
        "escaped": rb'{"vendor":"1","v\u0065ndor":"2"}',
        "without a name": b'{"":1,"":2}',
        "with others between": b'{"a":{"x":1},"b":[{"y":2}],"a":3}',
    }.items():
        yield one(f"an attribute twice, {name}", _decision(f"attribute {name}", attributes=text))
    for name, text in {
        "plain": b'{"type":"refund","type":"invoice.post"}',
        "escaped": rb'{"type":"refund","t\u0079pe":"invoice.post"}',
        "all escaped": rb'{"\u0074ype":"a","\u0074\u0079pe":"b"}',
        "far apart": b'{"type":"a","lines":[%s],"type":"b"}' % b",".join([b'{"type":"x"}'] * 50),
        "with space": b'{ "type" : "a" , "type"\n:\t"b" }',
    }.items():
        yield one(f"type of action twice, {name}", _decision(f"type {name}", action=text))
    for name, text in {
        "in an object": b'{"type":"a","x":{"a":1,"a":2}}',
        "at its top": b'{"type":"a","b":1,"b":2}',
        "of a step": b'[{"type":"a"},{"type":"wire","type":"read"}]',
        "the value of a step": b'[{"value_minor":99999999,"value_minor":1}]',
        "escaped in a step": rb'[{"type":"wire","t\u0079pe":"read"}]',
        "with a colon in a text": b'{"type":"a:b","x":{"a":":","a":2}}',
        "below an array": b'{"lines":[{"q":1},{"q":[{"r":1,"r":1}]}]}',
    }.items():
        yield one(f"a key of action twice, {name}", _decision(f"key {name}", action=text))
    yield one("a key twice deep in an attribute", _decision("deep attr", attributes=b'{"x":{"a":1,"a":2}}'))


def _successor(root: bytes, attempt: bytes = b"2", **fields: bytes) -> bytes:
    lineage = {
        "id": b'"%s~%s"' % (root, attempt),
        "root_id": b'"%s"' % root,
        "attempt": attempt,
        "first_observed_at_ms": OBSERVED,
        "final_deadline_ms": b"%d" % TIME_MS_MAX,
        "cause": b'"stale.age"',
        **fields,
    }
    return _decision("successor", **lineage)


def _key_and_after() -> Iterator[Case]:
    for name, key in {"absent": None, "empty": b"", "of another": b"acct-2", "with a space": b"acct-1 "}.items():
        yield Case(f"key {name}", _decision(f"key {name}"), key, "invalid.key")
    yield Case("key not UTF-8", _decision("key bytes"), b"\xff", "invalid.key")
    yield Case("key in another case", _decision("key case"), b"ACCT-1", "invalid.key")
    yield Case("key in quotes", _decision("key quotes"), b'"acct-1"', "invalid.key")
    yield Case("key before time", _decision("key-time", observed_at_ms=b"-1"), b"acct-2", "invalid.key")
    for field in ("observed_at_ms", "decided_at_ms", "sent_at_ms", "expires_at_ms"):
        for text in (b"-1", b"253402300800000", b"9223372036854775808", b"18446744073709551616", b"9" * 300):
            name = f"{field} {text.decode()[:25]}"
            yield Case(name, _decision(name, **{field: text}), KEY, "invalid.time")
    for field in ("first_observed_at_ms", "final_deadline_ms"):
        for text in (b"-1", b"253402300800000"):
            name = f"{field} {text.decode()}"
            yield Case(
                name, _successor(b"s-" + text + field.encode(), **{field: text}), KEY, "invalid.time", "successors"
            )
    absurd = _decision("time-workflow", observed_at_ms=b"-1", workflow=b'"nobody"')
    yield Case("time before unknown workflow", absurd, KEY, "invalid.time")
    yield Case("no such workflow", _decision("w", workflow=b'"nobody"'), KEY, "invalid.unknown_workflow")
    yield Case("workflow in another case", _decision("W", workflow=b'"Billing"'), KEY, "invalid.unknown_workflow")
    later = b"%d" % TIME_MS_MAX
    both = _decision("w-f", workflow=b'"nobody"', observed_at_ms=later)
    yield Case("unknown workflow before future", both, KEY, "invalid.unknown_workflow")
    yield Case("observed in the year 9999", _decision("future", observed_at_ms=later), KEY, "invalid.future")


def _accepted() -> Iterator[Case]:
    def good(name: str, value: bytes, key: bytes = KEY, source: Input = "decisions") -> Case:
        return Case(name, value, key, None, source)

    optional = [
        "decided_at_ms",
        "sent_at_ms",
        "confidence",
        "value_minor",
        "currency",
        "model",
        "proposer",
        "context_version",
        "expires_at_ms",
        "reversible",
        "segment",
        "attributes",
    ]
    yield good("plain", _decision("plain"))
    yield good("64 deep", _decision("64-deep", action=b"[" * 63 + b"]" * 63))
    yield good("64 deep in objects", _decision("64-obj", action=b'{"a":' * 63 + b"1" + b"}" * 63))
    yield good("many brackets, none deep", _decision("wide", action=b"[" + b",".join([b"[]"] * 5_000) + b"]"))
    yield good("brackets in a string", _decision("bracket text", note=b'"%s"' % (b"[{" * 5_000)))
    yield good("a number of 300 digits", _decision("300", action=b"1" * 300))
    yield good("a fraction of 300 digits", _decision("300f", action=b"0." + b"1" * 299))
    yield good("300 digits and an attribute", _decision("300a", attributes=b'{"a":%s}' % (b"9" * 300)))
    yield good("5,000 digits in a string", _decision("digits text", note=b'"%s"' % (b"7" * 5_000)))
    yield good("the smallest number", _decision("tiny", action=b"[5e-324,1e-400,-0.0,-0]"))
    yield good("the largest number", _decision("huge", action=b"1.7976931348623157e308"))
    yield good("integers beyond 64 bits in action", _decision("big", action=b'{"n":18446744073709551616}'))
    yield good("keys twice deep in an unknown field", _decision("deep note", note=b'{"a":1,"a":2}'))
    yield good("a surrogate pair", _decision("pair", note=rb'"\ud83d\ude00"'))
    yield good("many surrogate pairs", _decision("pairs", note=b'"%s"' % (rb"\uD83D\uDE00" * 1_000)))
    yield good("an escaped backslash before ud83d", _decision("not a surrogate", note=rb'"\\ud83d"'))
    yield good("characters beyond the first plane", _decision("emoji", note='"\U0001f600"'.encode()))
    yield good("unknown fields", _decision("unknown", extra=b'"note":"x","more":{"a":[1,2,{"b":null}]},"":0'))
    yield good("all optional fields null", _decision("nulls", **dict.fromkeys(optional, b"null")))
    yield good("action null", _decision("action null", action=b"null"))
    yield good("action a string with type", _decision("action text", action=b'"\\"type\\" \\"type\\""'))
    yield good("an action whose type is no text", _decision("action type", action=b'{"type":7}'))
    yield good("white space everywhere", b" \r\n\t" + _decision("space").replace(b",", b" ,\n") + b" \n")
    yield good("colons and quotes in text", _decision("colons", note=rb'"a:b \"type\":\"type\": {}"'))
    yield good("an id of 200 characters", _decision("i", id=b'"%s"' % (b"i" * 200)))
    yield good("an id of 200 wide characters", _decision("i", id=b'"%s"' % ("\U0001f600" * 200).encode()))
    yield good("escaped field names", _decision("esc", without=b"id", extra=rb'"\u0069d":"escaped names"'))
    yield good("an entity that is not ASCII", _decision("é", entity='"é"'.encode()), "é".encode())
    yield good("an entity spelt with escapes", _decision("e esc", entity=rb'"\u00e9"'), "é".encode())
    yield good("an escaped NUL", _decision("nul", note=rb'"\u0000"'))
    yield good("the largest amount", _decision("2**53", value_minor=b"9007199254740992"))
    yield good("an integer confidence", _decision("sure", confidence=b"1"))
    yield good("observed at 0", _decision("epoch", observed_at_ms=b"0"))
    yield good("expiry in the year 9999", _decision("y9999", expires_at_ms=b"%d" % TIME_MS_MAX))
    yield good("an attribute of every type", _decision("attr", attributes=b'{"a":1,"b":"2","c":null,"d":[3],"e":{}}'))
    yield good("a successor", _successor(b"root-1"), source="successors")
    source = b'{"topic":"t","partition":0,"offset":9}'
    yield good(
        "a successor with its source", _successor(b"root-2", source=source, caused_by=source), source="successors"
    )


CASES: list[Case] = [
    *_empty(),
    *_oversized(),
    *_encoding(),
    *_json(),
    *_schema(),
    *_key_and_after(),
    *_accepted(),
]
