"""Envelope encryption: a value under a data key, that under a KMS key's material, that under the root keyring.

What holds every blob in its place:

    1. A material is bound to its account, Region, key id and number: in another row it does not open.
    2. A data key is bound to all of these, and to the encryption context: owner (an ARN) and part (a version id).
    3. A value is bound to the bytes before it in its blob, format version included, and to the same context.

So whoever can write the store can delete a blob or put back an older one of the same owner and part, and nothing else.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Final

import structlog
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turnlock.core.arn import AccountId, Region
from turnlock.errors import ConfigurationError, DecryptionFailure, EncryptionFailure, SealBroken, StoreError
from turnlock.keys import store
from turnlock.keys.aead import KEY_BYTES, decrypt, encrypt
from turnlock.keys.envelope import Envelope, envelope_header
from turnlock.keys.model import (
    MANAGED_ALIAS,
    SERVICE_ALIAS,
    SERVICE_REGION,
    SYMMETRIC,
    Alias,
    KeyOwner,
    KeyState,
    KmsKey,
    associated_data,
    encryption_context,
    key_not_found,
    kms_arn,
    material_context,
    parse_kms_key_id,
)
from turnlock.keys.recent import Recent
from turnlock.storage import LARGEST_BLOB, Unit

log = structlog.get_logger(__name__)

_CIPHERS: Final = Recent[AESGCM](1024)
"""Opened materials: without it each value costs a second decryption, and a KMS key is used for many."""

_DESCRIPTIONS: Final = {
    MANAGED_ALIAS: "Default key that protects my Secrets Manager data when no other key is defined",
    SERVICE_ALIAS: "Key that protects Turnlock's own fields",
}


def managed_key(unit: Unit, account_id: AccountId, region: Region, alias_name: str = MANAGED_ALIAS) -> KmsKey:
    """Return an account's AWS managed key in a Region, making it on first use.

    Only a unit that writes can make it; in another, StoreError says that there is none yet.
    """
    memo = ("managed key", account_id, region, alias_name)
    found: KmsKey | None = unit.memo.get(memo)
    if found is None:
        found = store.key_of_alias(unit, account_id, region, alias_name)
        unit.memo[memo] = found = found or _make_managed_key(unit, account_id, region, alias_name)
    return found


def resolve_key(unit: Unit, account_id: AccountId, region: Region, kms_key_id: str | None) -> KmsKey:
    """Return the key that a KmsKeyId names; None, the empty text or the managed alias is the managed key.

    Raises ResourceNotFoundException for a key that is not there, InvalidParameterException for a malformed ARN.
    """
    reference = parse_kms_key_id(kms_key_id, account_id, region)
    if reference.alias_name == MANAGED_ALIAS:
        return managed_key(unit, account_id, region)
    if reference.alias_name is not None:
        found = store.key_of_alias(unit, account_id, region, reference.alias_name)
        resource = reference.alias_name
    else:
        found = store.find_key(unit, account_id, region, str(reference.key_id))
        resource = f"key/{reference.key_id}"
    if found is None:
        raise key_not_found(kms_arn(account_id, region, resource))
    return found


def seal(unit: Unit, key: KmsKey, plaintext: bytes, *, owner: str, part: str) -> bytes:
    """Seal a value under a fresh data key, bound to its owner (an ARN) and part (a version id).

    Raises EncryptionFailure when the key is not enabled.
    """
    material = store.current_material(unit, key)
    if material is None or material.key.state is not KeyState.ENABLED or material.key.spec != SYMMETRIC:
        raise EncryptionFailure
    place = material_context(key.account_id, key.region, key.key_id, material.material_id)
    kek = cipher_of(unit, material.sealed, place)
    context = encryption_context(owner, part)
    header = envelope_header(key.key_id, material.material_id)
    data_key = unit.entropy.bytes(KEY_BYTES)
    wrapped = encrypt(kek, unit.entropy, data_key, _data_key_aad(header, place, context))
    body = encrypt(AESGCM(data_key), unit.entropy, plaintext, _body_aad(header + wrapped, context))
    return Envelope(
        key_id=key.key_id, material_id=material.material_id, wrapped_key=wrapped, body=body
    ).pack()


def unseal(unit: Unit, account_id: AccountId, region: Region, blob: bytes, *, owner: str, part: str) -> bytes:
    """Open what `seal` sealed in this account and Region for the same owner and part.

    Raises DecryptionFailure when its key is not enabled, and SealBroken, with a line in the log, when the bytes are not
    what was sealed there.
    """
    try:
        return _open(unit, account_id, region, blob, owner=owner, part=part)
    except SealBroken:
        log.error(  # noqa: TRY400 (a traceback could show more than names)
            "stored bytes are not what was sealed",
            action="seal_broken",
            account_id=account_id,
            region=region,
            owner=owner,
            part=part,
        )
        raise


def seal_field(unit: Unit, account_id: AccountId, plaintext: bytes, *, owner: str, part: str) -> bytes:
    """Seal one of Turnlock's own fields, such as an access-key secret, under the account's service key."""
    key = managed_key(unit, account_id, SERVICE_REGION, SERVICE_ALIAS)
    return seal(unit, key, plaintext, owner=owner, part=part)


def unseal_field(unit: Unit, account_id: AccountId, blob: bytes, *, owner: str, part: str) -> bytes:
    """Open what `seal_field` sealed; raises as `unseal` does."""
    return unseal(unit, account_id, SERVICE_REGION, blob, owner=owner, part=part)


def holds_keys(unit: Unit) -> bool:
    """Tell whether the store holds a key, which only a root key can open."""
    return store.any_material(unit) is not None


def check_root_key(unit: Unit) -> None:
    """Raise ConfigurationError unless the keyring opens the store's newest key; a store without keys passes."""
    found = store.any_material(unit)
    if found is None:
        return
    place, sealed = found
    try:
        unit.keyring.unwrap(sealed, context=place)
    except SealBroken as error:
        raise ConfigurationError(
            "The root key does not open this store; start with the root key that the store was made with."
        ) from error


def _make_managed_key(unit: Unit, account_id: AccountId, region: Region, alias_name: str) -> KmsKey:
    if not unit.writes:
        raise StoreError(f"{alias_name} was not made yet, and this unit of work cannot write.")
    key = KmsKey(
        account_id=account_id,
        region=region,
        key_id=str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4)),
        state=KeyState.ENABLED,
        owner=KeyOwner.AWS,
        created_at=unit.now,
        description=_DESCRIPTIONS[alias_name],
    )
    store.insert_key(unit, key, sealed_material=wrap_material(unit, key, unit.entropy.bytes(KEY_BYTES)))
    store.insert_alias(
        unit,
        Alias(
            account_id=account_id,
            region=region,
            name=alias_name,
            key_id=key.key_id,
            created_at=unit.now,
            updated_at=unit.now,
        ),
    )
    return key


def wrap_material(unit: Unit, key: KmsKey, material: bytes) -> bytes:
    """Seal what is to be a key's current material under the root keyring, for the one row that it may stand in."""
    context = material_context(key.account_id, key.region, key.key_id, key.current_material)
    return unit.keyring.wrap(material, context=context)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closed:
    """A blob taken apart, with everything that opening it needs but the data key."""

    kek: AESGCM
    wrapped_key: bytes = field(repr=False)
    data_key_aad: bytes
    body: bytes = field(repr=False)
    body_aad: bytes


def _open(unit: Unit, account_id: AccountId, region: Region, blob: bytes, *, owner: str, part: str) -> bytes:
    def taken_apart() -> _Closed:
        return _take_apart(unit, account_id, region, blob, encryption_context(owner, part))

    if len(blob) <= LARGEST_BLOB:
        closed = unit.derived(("envelope", account_id, region, owner, part, blob), taken_apart)
    else:
        closed = taken_apart()
    data_key = decrypt(closed.kek, closed.wrapped_key, closed.data_key_aad)
    return decrypt(AESGCM(data_key), closed.body, closed.body_aad)


def _take_apart(unit: Unit, account_id: AccountId, region: Region, blob: bytes, context: bytes) -> _Closed:
    """Return a blob's parts and the material that opens it. Raises SealBroken, DecryptionFailure."""
    envelope = Envelope.parse(blob)
    material = store.find_material(unit, account_id, region, envelope.key_id, envelope.material_id)
    if material is None or material.key.spec != SYMMETRIC:
        raise SealBroken
    if material.key.state is not KeyState.ENABLED:
        raise DecryptionFailure
    place = material_context(account_id, region, envelope.key_id, envelope.material_id)
    kek = cipher_of(unit, material.sealed, place)
    header = envelope_header(envelope.key_id, envelope.material_id)
    return _Closed(
        kek=kek,
        wrapped_key=envelope.wrapped_key,
        data_key_aad=_data_key_aad(header, place, context),
        body=envelope.body,
        body_aad=_body_aad(header + envelope.wrapped_key, context),
    )


def cipher_of(unit: Unit, sealed: bytes, place: bytes) -> AESGCM:
    """Open a material, or find it open: its row was read in this very unit, and any other row is another entry."""
    keyring = unit.keyring
    return _CIPHERS.get((keyring, sealed, place), lambda: AESGCM(keyring.unwrap(sealed, context=place)))


def _data_key_aad(header: bytes, place: bytes, context: bytes) -> bytes:
    return associated_data("data-key", header, place, context)


def _body_aad(header: bytes, context: bytes) -> bytes:
    return associated_data("body", header, context)
