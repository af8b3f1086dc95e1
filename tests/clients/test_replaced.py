"""A client that can send no more is replaced, and what is open is sent again, in its order."""

from __future__ import annotations

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import OutOfOrderSequenceNumber, ProducerFenced
from sluicegate_kit import KitError, Producer
from sluicegate_kit.sending import Sending

from streams.runtime import topics
from streams.runtime.broker import Broker
from tests.kafka.harness import decision, read


def first_seen(ids: list[str]) -> list[str]:
    return list(dict.fromkeys(ids))


async def test_one_that_the_broker_refuses_takes_no_other_with_it(kafka: Broker, prefix: str) -> None:
    """Its number is used up: whatever the same client sends to that partition afterwards is out of order."""
    small = NewTopic(prefix + "decisions", 1, 1, topic_configs={"max.message.bytes": "20000"})
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([small])
    await admin.close()
    await topics.apply(kafka.bootstrap, prefix, 1)
    async with Producer(kafka.bootstrap, prefix=prefix) as producer:
        await producer.send(**decision("d-1"))
        with pytest.raises(
            KitError, match=r"the decision 'd-2' is refused by the broker: MessageSizeTooLarge"
        ) as error:
            await producer.send(**decision("d-2", action="x" * 50_000))
        assert error.value.exit_code == 2
        assert (await producer.send(**decision("d-3"))).offset == 1


async def test_whatever_makes_a_client_useless_it_is_replaced_and_what_is_open_is_sent_again_in_order(
    kafka: Broker, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    await topics.apply(kafka.bootstrap, prefix, 1)
    async with Producer(kafka.bootstrap, prefix=prefix, kafka={"linger_ms": 400}) as producer:
        for turn, error in enumerate((OutOfOrderSequenceNumber(), ProducerFenced(), ValueError("whatever"))):
            tasks = [await producer.post(**decision(f"d-{turn}-{n}", f"e-{n % 3}")) for n in range(9)]
            sending = producer._sending
            assert isinstance(sending, Sending)
            former = sending._client
            sending._break(former, error)
            await producer.send(**decision(f"d-{turn}-9", "e-0"))
            assert len({(await one).offset for one in tasks}) == 9
            assert sending._client is not former
    found = [one.json()["id"] for one in await read(kafka.bootstrap, [prefix + "decisions"], 30)]
    assert first_seen(found) == [f"d-{turn}-{n}" for turn in range(3) for n in range(10)]
    replaced = [one.getMessage() for one in caplog.records if "is replaced" in one.getMessage()]
    assert len(replaced) == 3
    assert "(OutOfOrderSequenceNumber): it is replaced, and the 9 records" in replaced[0]
