"""The policies of a backtest or a comparison: read from a file or a folder, and those that the topic recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from schemas.policy import PolicyDocument
from schemas.published import PublishedPolicy
from streams.errors import ConfigurationError
from streams.foreign import own
from streams.policy import Policy, compile_policy
from streams.runtime.policies import Fault, read_folder

_document = own(PolicyDocument)
_encode = msgspec.json.Encoder().encode


def policies_of(path: Path) -> list[Policy]:
    """The policies in a YAML file, or in a folder of them. Raises ConfigurationError that lists all faults."""
    policies, faults = read_folder(path) if path.is_dir() else _read_file(path)
    if faults:
        raise ConfigurationError("the policies cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults))
    return policies


def _read_file(file: Path) -> tuple[list[Policy], list[Fault]]:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be read ({error.strerror}); policies are YAML files, or a folder of them"
        ) from error
    with TemporaryDirectory() as folder:  # the reader of folders is the only one, so that all faults read the same
        (Path(folder) / "policy.yaml").write_bytes(text)
        policies, faults = read_folder(Path(folder))
    return policies, [Fault(file, fault.problem) for fault in faults]


def packed(policies: Sequence[Policy]) -> list[bytes]:
    """The documents, to be compiled again in another process."""
    return [_encode(one.document) for one in policies]


def unpacked(documents: Sequence[bytes]) -> list[Policy]:
    """The policies of documents that were right when they were packed."""
    found = list[Policy]()
    for index, text in enumerate(documents):
        policy, problems = compile_policy(_document(text), index)
        assert policy is not None, problems
        found.append(policy)
    return found


def published(versions: Mapping[tuple[str, int], PublishedPolicy]) -> dict[str, PolicyDocument]:
    """The documents of an edition's versions that can be read, by the name that outputs carry."""
    found = dict[str, PolicyDocument]()
    for (workflow, version), one in versions.items():
        try:
            found[f"{workflow}@{version}"] = _document(bytes(one.document))
        except (ValueError, RecursionError):
            continue
    return found
