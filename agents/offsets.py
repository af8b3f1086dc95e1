"""How far each role has read each partition, by all who claim to know it; and an operator's word where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aiokafka import TopicPartition

from streams.batch import Input
from streams.errors import BrokerUnreachable, CheckFailed, ConfigurationError, PromiseBroken
from streams.runtime.lookup import Lookup
from streams.runtime.outgoing import claim
from streams.runtime.settings import Kafka, transactional_id
from streams.runtime.transactions import Denied, Failed, Fenced, Transactions
from streams.truths import Apart, Identity, Place, Told, identity_in, kept_in, must_be_same, position

Truth = Literal["changelog", "group"]
INPUTS: Mapping[str, tuple[Input, ...]] = {
    "gate": ("decisions", "successors"),
    "reevaluation": ("reevaluations",),
    "reviews": ("reviews", "verdicts"),
    "exposure": ("workers",),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """One partition of an input. `written_by`: the group that wrote the changelog. `wrong`: why no worker reads it."""

    role: str
    input: str
    partition: int
    group: str
    committed: int | None
    changelog: int | None
    written_by: str | None
    log_start: int
    log_end: int
    wrong: str | None

    def as_dict(self) -> dict[str, Any]:
        """For programs; the names are stable."""
        return asdict(self)

    def __str__(self) -> str:
        def at(offset: int | None) -> str:
            return "-" if offset is None else str(offset)

        text = f"{self.role} {self.input}/{self.partition}: group {at(self.committed)}, changelog {at(self.changelog)}"
        return f"{text}, log {self.log_start} to {self.log_end}" + (f"\n  differ: {self.wrong}" if self.wrong else "")


class Offsets:
    """Of one role. `group`: None means the one that a worker has by default."""

    def __init__(self, kafka: Kafka, role: str, group: str | None) -> None:
        self._kafka = kafka
        self._role = role
        self._group = group or kafka.topic(role)
        self._lookup = Lookup(kafka)

    async def __aenter__(self) -> Offsets:
        return self

    async def __aexit__(self, *ignored: object) -> None:
        await self._lookup.stop()

    async def standing(self) -> list[Standing]:
        """All of its partitions. Raises BrokerUnreachable."""
        try:
            identity = await self._identity()
            count = min(topic.partitions for topic in identity.topics.values())
            return [one for number in range(count) for one in await self._of(identity, number)]
        except Failed as error:
            raise BrokerUnreachable(f"the Kafka at {self._kafka.bootstrap} does not say it ({error})") from error

    async def accept(self, truth: Truth) -> list[str]:
        """Makes the other say what this one says, wherever the two differ; a sentence for each.

        Raises CheckFailed for a difference that is of another kind, ConfigurationError where that truth is silent.
        """
        before = await self.standing()
        numbers = sorted({one.partition for one in before if one.wrong})
        told: list[str] = []
        for number in numbers:
            told += await self._accept(truth, number)
        return told

    async def _identity(self) -> Identity:
        names = {self._kafka.topic(name): name for name in INPUTS[self._role]}
        cluster, found = await self._lookup.identities(names)
        return Identity(cluster, self._group, {name: found[topic] for topic, name in names.items()})

    async def _of(self, identity: Identity, number: int) -> list[Standing]:
        at = {name: TopicPartition(self._kafka.topic(name), number) for name in INPUTS[self._role]}
        committed = await self._lookup.committed(self._group, at.values())
        changelog = await self._lookup.changelog(self._role, number)
        starts, ends = await self._lookup.beginnings(at.values()), await self._lookup.ends(at.values())
        then = identity_in(changelog)
        found = []
        for name, partition in at.items():
            told = Told(committed.get(partition), kept_in(changelog, name), starts[partition], ends[partition])
            place, wrong = Place(self._role, self._group, self._kafka.prefix, name, number), None
            try:
                must_be_same(identity, then, place)
                position(place, told, then is None or then.group == self._group)
            except Apart as error:
                wrong = str(error)
            says = (told.committed, told.kept, None if then is None else then.group, told.start, told.end)
            found.append(Standing(self._role, name, number, self._group, *says, wrong))
        return found

    async def _accept(self, truth: Truth, number: int) -> list[str]:
        kafka = self._kafka
        transactions = Transactions(
            kafka.bootstrap, transactional_id(kafka, self._role, number), number, self._group
        )  # whoever owns the partition waits, or is fenced and looks again
        try:
            await transactions.start()
            identity = await self._identity()
            found = await self._of(identity, number)
            told = [_moved(truth, one) for one in found if one.wrong]
            positions = {one.input: _said(truth, one) for one in found}
            records = claim(kafka, self._role, number, identity, positions)
            offsets = {TopicPartition(kafka.topic(name), number): at for name, at in positions.items()}
            await transactions.claim(records, offsets)
        except Failed as error:
            raise BrokerUnreachable(f"the Kafka at {kafka.bootstrap} did not commit it ({error})") from error
        except (Fenced, Denied) as error:
            raise PromiseBroken(f"partition {number} of {self._role}: {error}; try again") from error
        finally:
            await transactions.stop()
        return told


def _said(truth: Truth, one: Standing) -> int:
    """What it says; where the two do not differ, what both do."""
    said = one.committed if truth == "group" and one.wrong else one.changelog
    other = one.log_start if one.changelog is None and one.committed is None else None
    if (at := other if said is None else said) is None:
        raise ConfigurationError(
            f"the {truth} says nothing of {one.role} {one.input}/{one.partition}: accept the other of `changelog` and "
            "`group`"
        )
    return at


def _moved(truth: Truth, one: Standing) -> str:
    if one.committed == one.changelog or one.committed is None:
        raise CheckFailed(f"no offset can be accepted here: {one.wrong}")
    at = _said(truth, one)
    text = f"{one.role} {one.input}/{one.partition}: reads on at {at}"
    if one.changelog is not None and at > one.changelog:
        return f"{text}; {one.changelog} to {at - 1} are passed over, and the audit calls them missing"
    if one.changelog is not None and at < one.changelog:
        return f"{text}; {at} to {one.changelog - 1} are read again, and the audit calls their answers duplicates"
    return text
