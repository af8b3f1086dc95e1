"""What a halt or a recall stops, and that the kit reads them as the contract's own Structs do."""

from __future__ import annotations

import json
import logging
import random
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from sluicegate_kit import Command
from sluicegate_kit.halts import Halt, Halts, Recall, Scope
from sluicegate_kit.heartbeats import Heartbeat

from schemas import heartbeat, published
from schemas.decision import Decision
from streams.chains import action_types
from streams.halts import Halts as StreamsHalts
from tests.clients.conftest import Start
from tests.clients.conftest import command as bare

PARTS = [None, "", "*", "%", "a", "b", "a/b", "a b", "ä", "%2F", "~", "\n", "日本"]
ACTIONS = [b"{}", b'{"type":"a"}', b'[{"type":"a"},{"type":"b"}]', b"[1,[{}]]", b'{"type":1}', b"null", b'{"type":""}']


def command(action: bytes = b'{"type":"pay"}', **more: Any) -> Command:
    return msgspec.structs.replace(bare(), action_json=msgspec.Raw(action), **more)


def halt(halted: bool = True, why: str = "the rates are wrong", by: str = "ana") -> bytes:
    return json.dumps({"halted": halted, "why": why, "by": by, "at_ms": 1_764_000_000_000}).encode()


def followed(*records: tuple[str, bytes | None]) -> Halts:
    halts = Halts()
    for key, value in records:
        assert halts.take(key.encode(), value)
    return halts


def test_the_kits_reading_of_scopes_and_the_gates_agree() -> None:
    """Random scopes and commands: the same keys, the same halt, the same sentence."""
    chance = random.Random(6)
    decided = []
    for _ in range(3000):
        scopes = [published.Scope(*chance.choices(PARTS, [9] + [1] * (len(PARTS) - 1), k=4)) for _ in range(3)]
        values = [halt(chance.random() < 0.8, why=str(n)) for n in range(len(scopes))]
        ours = followed(*((scope.key, value) for scope, value in zip(scopes, values, strict=True)))
        theirs = StreamsHalts(
            {
                scope: msgspec.json.decode(value, type=published.Halt)
                for scope, value in zip(scopes, values, strict=True)
            }
        )
        assert ours.troubles == {}
        for scope in scopes:
            assert tuple(Scope.of_key(scope.key)) == tuple(published.Scope.of_key(scope.key)) == tuple(scope)
            assert (Scope(*scope).key, str(Scope(*scope))) == (scope.key, str(scope))
        segment, model = chance.choices(PARTS, k=2)
        action = chance.choice(ACTIONS)
        one = command(action, workflow=chance.choice(PARTS[1:]), segment=segment, model=model)
        kinds = action_types(Decision(id="d", workflow="w", entity="e", action=msgspec.Raw(action), observed_at_ms=1))
        found = (theirs.over(one.workflow, segment, model, kind) for kind in kinds)
        by_key = sorted(filter(None, found), key=lambda halted: halted.scope.key)
        expected = str(by_key[0]) if by_key else None
        assert ours.over(one) == expected
        decided.append(expected is None)
    assert 300 < sum(decided) < 2700, "both kinds must have been tried"


@pytest.mark.parametrize(
    "key", ["halt", "halt/", "halt/a", "halt/*/*/*", "halt/*/*/*/", "halt/*/*/*/*/*", "halt/%ff/*/*/*", "halt//*/*/*"]
)
def test_a_key_that_is_no_scope_is_none_for_both(key: str) -> None:
    for kind in (Scope, published.Scope):
        with pytest.raises(ValueError, match=r"\S"):
            kind.of_key(key)
    if key.startswith("halt/"):
        assert followed((key, halt())).over(command()) == "everything is halted by ana: the rates are wrong"
        assert followed((key, halt()), (key, halt(False))).over(command()) is None
        assert followed((key, halt()), (key, None)).over(command()) is None


def test_the_structs_have_the_contracts_fields_and_bounds() -> None:
    pairs = [(Halt, published.Halt), (Recall, published.Recall), (Heartbeat, heartbeat.Heartbeat)]
    for ours, theirs in pairs:
        assert set(ours.__struct_fields__) <= set(theirs.__struct_fields__)
    for ours, theirs in pairs[:2]:
        assert ours.__struct_fields__ == theirs.__struct_fields__
        for name in ("why", "by"):
            mine, other = (get_args(get_type_hints(one, include_extras=True)[name])[1] for one in (ours, theirs))
            assert (mine.min_length, mine.max_length) == (other.min_length, other.max_length)
    beat = Heartbeat(worker="w", role="executor", at_ms=1, every_ms=5000, policies_offset=3, troubles=["a"], ended=True)
    read = msgspec.json.decode(msgspec.json.encode(beat), type=heartbeat.Heartbeat)
    assert (read.policies_offset, read.troubles, read.ended, read.policies) == (3, ["a"], True, {})


@pytest.mark.parametrize(
    ("scope", "stopped"),
    [
        (Scope(), True),
        (Scope("w"), True),
        (Scope("v"), False),
        (Scope(segment="fleet-2"), True),
        (Scope(segment="fleet-3"), False),
        (Scope(model="m@1"), True),
        (Scope(model="m@2"), False),
        (Scope(action_type="pay"), True),
        (Scope(action_type="refund"), True),
        (Scope(action_type="book"), False),
        (Scope("w", "fleet-2", "m@1", "refund"), True),
        (Scope("w", "fleet-2", "m@1", "book"), False),
    ],
)
def test_what_a_scope_stops(scope: Scope, stopped: bool) -> None:
    chain = command(b'[{"type":"pay"},{"type":"refund"},7]', segment="fleet-2", model="m@1")
    halts = followed((scope.key, halt()))
    assert (halts.over(chain) is not None) is stopped
    assert halts.take(scope.key.encode(), halt(False, why="mended"))
    assert halts.over(chain) is None


def test_one_halt_is_enough_whatever_else_is_resumed() -> None:
    halts = followed((Scope("w").key, halt(why="a")), (Scope().key, halt(why="b")), (Scope().key, halt(False)))
    assert halts.over(command()) == "workflow 'w' is halted by ana: a"


UNREADABLE = [b"", b"{", b"null", b"\xff", b"[" * 100_000, b'{"halted":false}']
UNREADABLE += [halt().replace(b"true", b'"no"'), halt(False, why=""), halt(False, by="b" * 201)]


@pytest.mark.parametrize("value", UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_halt_that_cannot_be_read_is_one_and_is_told_once(value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    halts = Halts()
    with caplog.at_level(logging.ERROR, "sluicegate_kit"):
        for _ in range(2):
            assert halts.take(Scope("w").key.encode(), value)
    assert len(caplog.records) == len(halts.troubles) == 1
    assert (halts.over(command()) or "").startswith("workflow 'w' is halted by nobody known: the halt cannot be read")
    assert halts.over(command(workflow="v")) is None
    assert halts.take(Scope("w").key.encode(), halt(False))
    assert (halts.over(command()), halts.troubles) == (None, {})


def test_a_halt_is_never_removed_and_what_is_not_ours_is_passed_by() -> None:
    halts = followed((Scope("w").key, halt()), (Scope("w").key, None))
    assert halts.over(command()) is not None
    for key in (b"policy/w@1", b"current/w", b"preapproval/1", b"authority/w", b"", None, b"\xff"):
        assert not halts.take(key, b"{}")
    assert list(halts.troubles) == [Scope("w").key]


def test_a_recalled_command_is_stopped_and_no_other() -> None:
    recall = json.dumps({"why": "wrong account", "by": "ben", "at_ms": 1}).encode()
    halts = followed((published.recall_key("c-1"), recall))
    assert halts.over(command()) == "recalled by ben: wrong account"
    assert halts.over(command(command_id="c-2")) is None
    assert followed((published.recall_key("c/1 ä"), b"garbage")).over(command(command_id="c/1 ä")) is not None
    assert halts.take(b"recall/c-1", None)
    assert halts.over(command()) is None


async def test_a_halted_command_is_refused_with_the_sentence_and_may_act_is_not_asked(start: Start) -> None:
    halts = followed((Scope("w").key, halt()))
    one = await start(pytest.fail, may_act=pytest.fail, halted=halts.over)
    receipt = await one.settle(bare())
    assert [receipt.status, receipt.detail] == ["refused", "workflow 'w' is halted by ana: the rates are wrong"]
    assert receipt.started_at_ms is None
    assert halts.take(Scope("w").key.encode(), halt(False))
    assert await one.settle(bare()) == receipt, "what was refused stays refused"


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_halt_that_comes_while_may_act_thinks_stops_it_too(start: Start, is_async: bool) -> None:
    halts = Halts()

    def may_act(_: Command) -> None:
        halts.take(Scope().key.encode(), halt())

    async def act(_: Command) -> None:
        pytest.fail("acted")

    one = await start(act if is_async else pytest.fail, may_act=may_act, halted=halts.over)
    receipt = await one.settle(bare())
    assert [receipt.status, receipt.detail] == ["refused", "everything is halted by ana: the rates are wrong"]
