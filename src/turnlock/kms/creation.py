"""CreateKey, DescribeKey and ListKeys."""

from __future__ import annotations

import uuid
from typing import Any, Final

from turnlock.core.action import Answer, Request, Subject
from turnlock.core.call import Call
from turnlock.errors import UnsupportedOperationException, ValidationException
from turnlock.kms import store
from turnlock.kms.conditions import TAGS, conditions_of
from turnlock.kms.cryptography.materials import (
    draw_material,
    draw_pair,
    material_name,
    private_bytes,
    wrap_material,
)
from turnlock.kms.cryptography.specs import SPECS, KeySpec, spec_of, usage_of
from turnlock.kms.key_policies.api import Principals, put_checked_policy
from turnlock.kms.lookup import PAGES, USED
from turnlock.kms.model import SYMMETRIC, KeyOwner, KeyState, KeyUsage, KmsKey
from turnlock.storage import Unit

_ELSEWHERE: Final = {
    "CustomKeyStoreId": "custom key stores",
    "XksKeyId": "external key stores",
}
"""Member of CreateKey → what it asks for and this server does not have."""

_ALGORITHMS: Final = {
    KeyUsage.ENCRYPT_DECRYPT: "EncryptionAlgorithms",
    KeyUsage.SIGN_VERIFY: "SigningAlgorithms",
    KeyUsage.GENERATE_VERIFY_MAC: "MacAlgorithms",
}


def create_key(principals: Principals, call: Call, request: Request, unit: Unit) -> Answer:
    """CreateKey: a key of the caller's account, under the default policy where none is given.

    Raises MalformedPolicyDocumentException for a policy that would not let the caller change it again, and
    UnsupportedOperationException for a key that this server cannot make or keep.
    """
    _refuse_elsewhere(request)
    spec = _spec(request)
    key = KmsKey(
        account_id=call.account_id,
        region=call.region,
        key_id=str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4)),
        state=KeyState.ENABLED,
        owner=KeyOwner.CUSTOMER,
        created_at=unit.now,
        description=request.get("Description", ""),
        usage=usage_of(spec, request.get("KeyUsage")),
        spec=spec.name,
        tags=TAGS.read(request),
    )
    _refuse_null(key.description)
    material: bytes = call.gate.prepared() if spec.asymmetric else draw_material(spec, unit.entropy)
    store.insert_key(unit, key, sealed_material=wrap_material(unit, key, material))
    put_checked_policy(principals, call, unit, key, request)
    return {"KeyMetadata": metadata_of(key)}


def prepare_key(request: Request) -> bytes | None:
    """Draw the material of a key pair: RSA's of 4,096 bits takes seconds. None for other keys."""
    spec = _spec(request)
    return private_bytes(draw_pair(spec)) if spec.asymmetric else None


def describe_key(call: Call, request: Request, unit: Unit) -> Answer:
    """DescribeKey, also for keys that are disabled, scheduled for deletion or AWS managed."""
    return {"KeyMetadata": metadata_of(USED.require(call, request, unit))}


def list_keys(call: Call, request: Request, unit: Unit) -> Answer:
    """ListKeys: the account's keys in the Region, including AWS managed ones."""
    limit = PAGES.size_of(request)
    found = store.keys_after(unit, call.account_id, call.region, PAGES.after(request), limit + 1)
    return PAGES.cut(
        found, limit, lambda key: key.key_id, "Keys", lambda key: {"KeyId": key.key_id, "KeyArn": key.arn}
    )


def new_key_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return CreateKey's subject: no existing resource."""
    return Subject(arn=None, named="*", conditions=lambda: conditions_of(call, request, unit, None))


def metadata_of(key: KmsKey) -> dict[str, Any]:
    """Return a key's KeyMetadata."""
    pending = key.state is KeyState.PENDING_DELETION
    return {
        "AWSAccountId": key.account_id,
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": key.created_at,
        "Enabled": key.state is KeyState.ENABLED,
        "Description": key.description,
        "KeyUsage": key.usage.value,
        "KeyState": key.state.value,
        "DeletionDate": key.deletion_at if pending else None,
        "Origin": "AWS_KMS",
        "KeyManager": key.owner.value,
        "CustomerMasterKeySpec": key.spec,
        "KeySpec": key.spec,
        _ALGORITHMS[key.usage]: list(SPECS[key.spec].algorithms[key.usage]),
        "MultiRegion": False,
        "CurrentKeyMaterialId": material_name(key, key.current_material) if key.spec == SYMMETRIC else None,
    }


def _spec(request: Request) -> KeySpec:
    return spec_of(request.get("KeySpec", request.get("CustomerMasterKeySpec", SYMMETRIC)))


def _refuse_elsewhere(request: Request) -> None:
    for member, thing in _ELSEWHERE.items():
        if member in request:
            raise UnsupportedOperationException(f"{member}: {thing} are not supported by this server.")
    if request.get("Origin", "AWS_KMS") != "AWS_KMS":
        raise UnsupportedOperationException("This server makes every key material itself: Origin is AWS_KMS.")
    if request.get("MultiRegion", False):
        raise UnsupportedOperationException("Multi-Region keys are not supported by this server.")


def _refuse_null(text: str) -> None:
    if "\0" in text:
        raise ValidationException("Description must not contain the null character.")
