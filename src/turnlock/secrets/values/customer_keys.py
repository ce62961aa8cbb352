"""Values sealed and opened as the caller: under a customer managed key, KMS is called with the caller's rights.

Each use of such a key is a nested KMS call by the caller through Secrets Manager (`kms:ViaService`), with the
encryption context {SecretARN, SecretVersionId}. The key's policy, its grants and its state decide, and the trail has a
record (user guide, "Secret encryption and decryption"). For aws/secretsmanager KMS is not called: its policy allows
every caller of its account, and no other account.

`values` seals and opens without a caller: a rotation's copies and a replica's copy.
"""

from __future__ import annotations

from typing import Any, Final

from turnlock import kms
from turnlock.core.action import Answer
from turnlock.core.call import Call
from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    DecryptionFailure,
    EncryptionFailure,
    InternalServiceError,
    InvalidCiphertextException,
)
from turnlock.secrets.model import Secret, Version
from turnlock.secrets.ownership import refuse_across_accounts
from turnlock.secrets.store import find_version
from turnlock.secrets.values.content import seal_version
from turnlock.storage import Unit

_TRIAL: Final = "RequestToValidateKeyAccess"
"""The SecretVersionId of the calls that try a key (user guide, as above)."""

_DENIED: Final = "Access to KMS is not allowed"


def seal_for(call: Call, unit: Unit, secret: Secret, version_id: str, value: tuple[str, bytes]) -> Version:
    """Return a version made now, its value sealed under the secret's key as the caller.

    Raises AccessDeniedException where the caller may not use the key, EncryptionFailure where the key cannot be used, and
    InvalidRequestException for the default key across accounts.
    """
    key = kms.resolve_key(unit, secret.account_id, secret.region, secret.kms_key_id)
    if key.owner is kms.KeyOwner.AWS:
        refuse_across_accounts(call, secret)
        return seal_version(unit, secret, version_id, value)
    kind, plaintext = value
    made = _data_key(call, key, secret, version_id)
    sealed = kms.seal_under(
        unit, made["Plaintext"], made["CiphertextBlob"], plaintext, owner=secret.arn, part=version_id
    )
    return Version(version_id=version_id, created_at=unit.now, kind=kind, sealed=sealed)


def open_for(call: Call, unit: Unit, secret: Secret, version: Version) -> bytes | None:
    """Return a version's plaintext as the caller, None for a placeholder.

    Raises AccessDeniedException where the caller may not use the key, DecryptionFailure where the key cannot be used,
    InvalidRequestException for the default key across accounts, and SealBroken.
    """
    if version.sealed is None:
        return None
    sealed = kms.taken_apart(
        unit, secret.account_id, secret.region, version.sealed, owner=secret.arn, part=version.version_id
    )
    if sealed.key.owner is kms.KeyOwner.AWS:
        refuse_across_accounts(call, secret)
        return sealed.open()
    request = {
        "CiphertextBlob": sealed.data_key.pack(),
        "EncryptionContext": _context(secret, version.version_id),
    }
    try:
        data_key = _ask(call, "kms:Decrypt", request, DecryptionFailure)["Plaintext"]
    except InvalidCiphertextException:
        sealed.refuse()
    return sealed.open_with(data_key)


def holds_value(call: Call, unit: Unit, secret: Secret, version: Version, value: tuple[str, bytes]) -> bool:
    """Tell whether a version has exactly this value. If it has, a repeated token changes nothing."""
    return version.kind == value[0] and open_for(call, unit, secret, version) == value[1]


def try_key(call: Call, unit: Unit, secret: Secret) -> None:
    """Encrypt and decrypt under the secret's key as the caller. Raises as `seal_for` and `open_for` do."""
    key = kms.resolve_key(unit, secret.account_id, secret.region, secret.kms_key_id)
    if key.owner is kms.KeyOwner.AWS:
        kms.seal(unit, key, b"", owner=secret.arn, part=_TRIAL)
        return
    made = _data_key(call, key, secret, _TRIAL)
    request = {"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": _context(secret, _TRIAL)}
    _ask(call, "kms:Decrypt", request, DecryptionFailure)


def may_encrypt_again(call: Call, unit: Unit, secret: Secret) -> bool:
    """Tell whether the caller may encrypt stored versions again under the secret's key (API reference, UpdateSecret)."""
    key = kms.resolve_key(unit, secret.account_id, secret.region, secret.kms_key_id)
    if key.owner is kms.KeyOwner.AWS:
        return True
    try:
        call.gate.require(
            "kms:Encrypt", {"KeyId": key.arn, "EncryptionContext": _context(secret, _TRIAL), "Plaintext": b""}
        )
    except AccessDeniedException:
        return False
    return True


def require_readable(call: Call, unit: Unit, secret: Secret) -> None:
    """Raise as `open_for` does unless the caller may open every labelled version: a replica has them under another key."""
    for version_id in sorted(set(secret.labels.values())):
        version = find_version(unit, secret, version_id)
        if version is not None:
            open_for(call, unit, secret, version)


def _data_key(call: Call, key: kms.KmsKey, secret: Secret, version_id: str) -> Answer:
    request = {
        "KeyId": key.arn,
        "KeySpec": "AES_256",
        "EncryptionContext": _context(secret, version_id),
    }
    return _ask(call, "kms:GenerateDataKey", request, EncryptionFailure)


def _ask(call: Call, operation: str, request: dict[str, Any], failure: type[ApiError]) -> Answer:
    """Call KMS as the caller; its errors become Secrets Manager's (docs/aws-behaviour.md#kms-keys-of-secrets).

    Raises InvalidCiphertextException as it is: only stored bytes that were changed can be the cause.
    """
    answer = call.gate.nested(operation, request)
    if isinstance(answer, AccessDeniedException):
        raise AccessDeniedException(_DENIED)
    if isinstance(answer, InternalServiceError | InvalidCiphertextException):
        raise answer
    if isinstance(answer, ApiError):
        raise failure
    return answer


def _context(secret: Secret, version_id: str) -> dict[str, str]:
    return {"SecretARN": secret.arn, "SecretVersionId": version_id}
