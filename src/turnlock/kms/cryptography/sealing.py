"""Envelope encryption: a value under a data key, that under a KMS key's material, that under the root keyring.

What binds each blob to its place:

    1. A material is bound to its account, Region, key id and number: in another row it does not open.
    2. A data key is bound to all of these and to the encryption context: owner (an ARN) and part (a version id).
    3. A value is bound to the bytes before it in its blob, format version included, and to the same context.

Whoever can write the store can therefore delete a blob, or put back an older one of the same owner and part, and
nothing else.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Final, NoReturn

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turnlock.core.arn import AccountId, Arn, Region
from turnlock.errors import ConfigurationError, DecryptionFailure, EncryptionFailure, SealBroken, StoreError
from turnlock.kms import store
from turnlock.kms.cryptography.ciphertexts import ciphertext_aad, encrypt_under
from turnlock.kms.cryptography.materials import cipher_of, wrap_material
from turnlock.kms.model import (
    MANAGED_ALIAS,
    SERVICE_ALIAS,
    SERVICE_REGION,
    SYMMETRIC,
    Alias,
    KeyOwner,
    KeyState,
    KmsKey,
    encryption_context,
    key_not_found,
    kms_arn,
    parse_kms_key_id,
)
from turnlock.root_keys import (
    KEY_BYTES,
    Ciphertext,
    Envelope,
    associated_data,
    decrypt,
    encrypt,
    envelope_header,
)
from turnlock.storage import LARGEST_BLOB, Unit
from turnlock.storage.alarms import alarm, broken

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
    owner = reference.account_id
    if reference.alias_name == MANAGED_ALIAS and owner == account_id:
        return managed_key(unit, account_id, region)
    if reference.alias_name is not None:
        found = store.key_of_alias(unit, owner, region, reference.alias_name)
        resource = reference.alias_name
    else:
        found = store.find_key(unit, owner, region, str(reference.key_id))
        resource = f"key/{reference.key_id}"
    if found is None or (found.owner is KeyOwner.AWS and owner != account_id):
        raise key_not_found(kms_arn(owner, region, resource))
    return found


def seal(unit: Unit, key: KmsKey, plaintext: bytes, *, owner: str, part: str) -> bytes:
    """Seal a value under a fresh data key, bound to its owner (an ARN) and part (a version id).

    Raises EncryptionFailure when the key is not enabled.
    """
    material = store.current_material(unit, key)
    if material is None or material.key.state is not KeyState.ENABLED or material.key.spec != SYMMETRIC:
        raise EncryptionFailure
    data_key = unit.entropy.bytes(KEY_BYTES)
    wrapped = encrypt_under(unit, material, data_key, encryption_context(owner, part))
    return _sealed_under(unit, data_key, wrapped, plaintext, owner=owner, part=part)


def seal_under(
    unit: Unit, data_key: bytes, ciphertext: bytes, plaintext: bytes, *, owner: str, part: str
) -> bytes:
    """Seal a value under a data key that KMS's GenerateDataKey gave for the context of this owner and part."""
    return _sealed_under(unit, data_key, Ciphertext.parse(ciphertext), plaintext, owner=owner, part=part)


def unseal(unit: Unit, account_id: AccountId, region: Region, blob: bytes, *, owner: str, part: str) -> bytes:
    """Open what `seal` sealed in this account and Region for the same owner and part.

    Raises DecryptionFailure when its key is not enabled, or gone, and SealBroken, with a line in the log, when the bytes
    are not what was sealed there.
    """
    return taken_apart(unit, account_id, region, blob, owner=owner, part=part).open()


def taken_apart(
    unit: Unit, account_id: AccountId, region: Region, blob: bytes, *, owner: str, part: str
) -> Sealed:
    """Parse what `seal` returned, without opening it: whoever has the right on its key opens it. Raises as `unseal` does."""

    def parts() -> Sealed:
        return _parts(unit, account_id, region, blob, owner=owner, part=part)

    if len(blob) <= LARGEST_BLOB:
        return unit.derived(("envelope", account_id, region, owner, part, blob), parts)
    return parts()


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


def _sealed_under(
    unit: Unit, data_key: bytes, wrapped: Ciphertext, plaintext: bytes, *, owner: str, part: str
) -> bytes:
    context = encryption_context(owner, part)
    header = envelope_header(wrapped.key_arn, wrapped.material_id) + wrapped.body
    body = encrypt(AESGCM(data_key), unit.entropy, plaintext, _body_aad(header, context))
    return Envelope(
        key_arn=wrapped.key_arn, material_id=wrapped.material_id, wrapped_key=wrapped.body, body=body
    ).pack()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A parsed sealed value, with all that opening it needs except the data key."""

    key: KmsKey
    """The key, from the same read."""
    data_key: Ciphertext
    """Its data key in the form that KMS's Decrypt takes, for the context of owner and part."""
    owner: str
    part: str
    kek: AESGCM
    data_key_aad: bytes
    body: bytes = field(repr=False)
    body_aad: bytes

    def open(self) -> bytes:
        """Return the value, opened with this server's own rights. Raises DecryptionFailure for a key that is not enabled."""
        if self.key.state is not KeyState.ENABLED:
            raise DecryptionFailure
        try:
            data_key = decrypt(self.kek, self.data_key.body, self.data_key_aad)
            return decrypt(AESGCM(data_key), self.body, self.body_aad)
        except SealBroken:
            self.refuse()

    def refuse(self) -> NoReturn:
        """Raise SealBroken, with a line in the log. For callers whose call of KMS found that the data key was changed."""
        _refuse(self.key.account_id, self.key.region, self.owner, self.part)

    def open_with(self, data_key: bytes) -> bytes:
        """Return the value, opened with a data key that KMS decrypted. Raises SealBroken, with a line in the log."""
        try:
            return decrypt(AESGCM(data_key), self.body, self.body_aad)
        except SealBroken:
            self.refuse()


def _parts(
    unit: Unit, account_id: AccountId, region: Region, blob: bytes, *, owner: str, part: str
) -> Sealed:
    """Return a blob's parts and the material that opens it. Raises SealBroken, DecryptionFailure."""
    try:
        return _read(unit, account_id, region, blob, owner=owner, part=part)
    except SealBroken as error:
        if error.row is not None:
            raise  # it is not the blob but what stands for its key
        _refuse(account_id, region, owner, part)
    except DecryptionFailure:
        # The key is gone: it was destroyed, or the blob names none that ever was. Nothing here can tell.
        alarm(_named(owner, part), account_id=account_id, region=region, owner=owner, part=part)
        raise


def _read(unit: Unit, account_id: AccountId, region: Region, blob: bytes, *, owner: str, part: str) -> Sealed:
    envelope = Envelope.parse(blob)
    number = envelope.material_id
    material = _material_named(unit, account_id, region, envelope.key_arn, number)
    context = encryption_context(owner, part)
    return Sealed(
        key=material.key,
        data_key=envelope.data_key,
        owner=owner,
        part=part,
        kek=cipher_of(unit, material),
        data_key_aad=ciphertext_aad(material.key, number, context),
        body=envelope.body,
        body_aad=_body_aad(envelope.header, context),
    )


def _material_named(
    unit: Unit, account_id: AccountId, region: Region, key_arn: str, number: int
) -> store.Material:
    """Return the material that an envelope names: of this Region, and of this account unless the key is a customer's.

    Raises SealBroken for what names no such material, DecryptionFailure for one whose key is gone.
    """
    try:
        arn = Arn.parse(key_arn)
    except ValueError:
        raise SealBroken from None
    owner, key_id = AccountId(arn.account_id), arn.resource.removeprefix("key/")
    if kms_arn(owner, region, f"key/{key_id}") != key_arn:
        raise SealBroken
    material = store.find_material(unit, owner, region, key_id, number)
    if material is None and store.find_key(unit, owner, region, key_id) is None:
        raise DecryptionFailure
    if material is None or material.key.spec != SYMMETRIC:
        raise SealBroken
    if owner != account_id and material.key.owner is KeyOwner.AWS:
        raise SealBroken
    return material


def _refuse(account_id: AccountId, region: Region, owner: str, part: str) -> NoReturn:
    broken(
        _named(owner, part),
        "is not what was sealed",
        account_id=account_id,
        region=region,
        owner=owner,
        part=part,
    )


def _named(owner: str, part: str) -> str:
    return f"What is sealed for {part} of {owner}"


def _body_aad(header: bytes, context: bytes) -> bytes:
    return associated_data("body", header, context)
