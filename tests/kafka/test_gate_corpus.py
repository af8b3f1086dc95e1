"""The corpus of bad input on a real broker, between good decisions: the exact reason each, and the flow goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.corpus.cases import CASES
from tests.kafka.harness import Record, audited, decision, dispositions, now_ms, record, send, worker

pytestmark = pytest.mark.kafka

# every case of the corpus is a billing decision; one that is accepted may go anywhere from there
POLICY_REFUSES = ("stale.", "boundary.", "duplicate.")


async def test_every_case_gets_its_reason_between_good_decisions(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await apply(kafka.bootstrap, prefix, partitions=1)
    sent_ms = now_ms()
    records = []
    for number, case in enumerate(CASES):
        records.append(record(prefix + "decisions", decision(f"before-{number}"), 0))
        records.append(Record(prefix + case.input, case.key, case.at(sent_ms), 0))
    records.append(record(prefix + "decisions", decision("after"), 0))
    with worker(kafka.bootstrap, prefix, tmp_path) as child:
        places = await send(kafka.bootstrap, records)
        answers = await dispositions(kafka.bootstrap, prefix, len(places))
        found = await audited(kafka.bootstrap, prefix, prefix + "gate")
        assert child.log.count("started") == 1
        assert await child.stop() == 0, child.log
    assert {answers[place][0] for place in places[::2]} == {"commands"}, "the good ones around them"
    wrong = []
    for case, place in zip(CASES, places[1::2], strict=True):
        output, body = answers[place]
        reason = body["reason"] if output == "exceptions" else None
        accepted = reason is None or reason.startswith(POLICY_REFUSES)
        if not accepted if case.reason is None else reason != case.reason:
            wrong.append((case.name, case.reason, output, reason, body.get("detail")))
    assert wrong == []
    assert found["ok"], found
    assert (found["inputs"], found["pending"]) == (len(places), 0)
