"""Sealing and opening the values of versions, with this server's own rights.

`customer_keys` does it with the caller's rights. Plaintext is not kept.
"""

from __future__ import annotations

from typing import Any

from turnlock import kms
from turnlock.core.action import Request
from turnlock.errors import InvalidParameterException, InvalidRequestException, LimitExceededException
from turnlock.secrets.model import MOST_BYTES, Secret, Version
from turnlock.storage import Unit

_KINDS = {"SecretString": "string", "SecretBinary": "binary"}
_MEMBERS = {kind: member for member, kind in _KINDS.items()}


def value_in(request: Request) -> tuple[str, bytes] | None:
    """Return (kind, bytes) of the value in a request, None when it has none.

    Raises InvalidParameterException when it has both, LimitExceededException beyond MOST_BYTES.
    """
    given = [member for member in _KINDS if member in request]
    if len(given) > 1:
        raise InvalidParameterException(
            "You can't specify both a binary secret value and a string secret value."
        )
    if not given:
        return None
    value: Any = request[given[0]]
    content = value if isinstance(value, bytes) else value.encode()
    if len(content) > MOST_BYTES:
        raise LimitExceededException(f"A secret value can have at most {MOST_BYTES} bytes.")
    return _KINDS[given[0]], content


def require_value(request: Request) -> tuple[str, bytes]:
    """Return (kind, bytes) of the value in a request; InvalidRequestException when it has none."""
    value = value_in(request)
    if value is None:
        raise InvalidRequestException("You must provide either SecretString or SecretBinary.")
    return value


def seal_version(unit: Unit, secret: Secret, version_id: str, value: tuple[str, bytes]) -> Version:
    """Return a version made now, its value sealed under the secret's KMS key and bound to (ARN, version id)."""
    kind, plaintext = value
    key = kms.resolve_key(unit, secret.account_id, secret.region, secret.kms_key_id)
    sealed = kms.seal(unit, key, plaintext, owner=secret.arn, part=version_id)
    return Version(version_id=version_id, created_at=unit.now, kind=kind, sealed=sealed)


def open_value(unit: Unit, secret: Secret, version: Version) -> bytes | None:
    """Return a version's plaintext, None for a placeholder. Raises SealBroken, DecryptionFailure."""
    if version.sealed is None:
        return None
    return kms.unseal(
        unit, secret.account_id, secret.region, version.sealed, owner=secret.arn, part=version.version_id
    )


def answer_member(version: Version, plaintext: bytes) -> dict[str, object]:
    """Return the one member, SecretString or SecretBinary, that carries a value in an answer."""
    kind = str(version.kind)
    return {_MEMBERS[kind]: plaintext.decode() if kind == "string" else plaintext}


def copy_value(unit: Unit, secret: Secret, version: Version, version_id: str) -> Version:
    """Return another version's value as a new version, sealed for its own id."""
    plaintext = open_value(unit, secret, version)
    if plaintext is None or version.kind is None:
        return Version(version_id=version_id, created_at=unit.now, kind=None, sealed=None)
    return seal_version(unit, secret, version_id, (version.kind, plaintext))
