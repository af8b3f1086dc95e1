"""Signatures of verdicts: HMAC-SHA256 over the value's bytes as sent, in the header `sluicegate-signature`.

`<key-id>:<hex>`; who holds the key-id's secret may speak for whom the key is given to, which is not decided here.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256

_FORM = re.compile(r"([A-Za-z0-9._@-]{1,200}):([0-9a-f]{64})")


def sign(key_id: str, secret: bytes, value: bytes) -> bytes:
    """The header's value. Raises ValueError for a key-id that is not 1 to 200 letters, digits, `.`, `_`, `@`, `-`."""
    signature = f"{key_id}:{hmac.new(secret, value, sha256).hexdigest()}"
    if _FORM.fullmatch(signature) is None:
        raise ValueError(f"the key-id {key_id!r:.100} is not 1 to 200 letters, digits, '.', '_', '@' or '-'")
    return signature.encode()


def signer(signature: bytes | None) -> str | None:
    """The key-id that a header claims, unverified; None where it has not the form of a signature."""
    found = None if signature is None else _FORM.fullmatch(signature.decode("ascii", "replace"))
    return found[1] if found else None


def verify(secrets: Mapping[str, bytes], signature: bytes | None, value: bytes) -> str | None:
    """The key-id whose secret signed exactly these bytes; None for anything else. Compares in constant time."""
    key_id = signer(signature)
    if signature is None or key_id is None or (secret := secrets.get(key_id)) is None:
        return None
    return key_id if hmac.compare_digest(sign(key_id, secret, value), signature) else None
