"""KMS keys as values, the ways to name one, and what a ciphertext is bound to.

Pure: no store, no clock, no randomness, no cipher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from turnlock.core.arn import AccountId, Arn, Region, partition_of
from turnlock.core.arn import account_id as checked_account_id
from turnlock.errors import InvalidParameterException, ResourceNotFoundException
from turnlock.root_keys.envelope import associated_data

MANAGED_ALIAS: Final = "alias/aws/secretsmanager"
"""The AWS managed key of Secrets Manager: one for each account and Region, made on first use."""

SERVICE_ALIAS: Final = "alias/aws/turnlock"
"""The key that Turnlock seals its own fields under, such as access-key secrets. Callers cannot name it."""

SERVICE_REGION: Final = Region("aws-global")
"""The Region of that key. It is not served, so no request can name the key."""


class KeyState(Enum):
    """The KeyState of KMS's DescribeKey."""

    ENABLED = "Enabled"
    """It encrypts and decrypts."""
    DISABLED = "Disabled"
    """It does neither until it is enabled again."""
    PENDING_DELETION = "PendingDeletion"
    """It does neither, and is deleted when its waiting period ends."""
    UNAVAILABLE = "Unavailable"
    """It does neither: this release does not know its state."""

    @classmethod
    def _missing_(cls, value: object) -> KeyState:  # noqa: ARG003 (enum calls it with the value)
        return cls.UNAVAILABLE


class KeyOwner(Enum):
    """The KeyManager of KMS's DescribeKey."""

    AWS = "AWS"
    """This server: an AWS managed key. Nobody can disable or delete it."""
    CUSTOMER = "CUSTOMER"
    """The account that made it."""


class KeyUsage(Enum):
    """The KeyUsage of KMS's DescribeKey: what a key is for; it never changes."""

    ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
    """It encrypts and decrypts."""
    SIGN_VERIFY = "SIGN_VERIFY"
    """It signs, and verifies signatures."""
    GENERATE_VERIFY_MAC = "GENERATE_VERIFY_MAC"
    """It makes MACs, and verifies them."""


SYMMETRIC: Final = "SYMMETRIC_DEFAULT"
"""The KeySpec of a key for AES-256-GCM: the only kind that seals secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKey:
    """One KMS key's metadata; its materials never leave `kms`."""

    account_id: AccountId
    region: Region
    key_id: str
    """A UUID."""
    state: KeyState
    owner: KeyOwner
    created_at: datetime
    description: str = ""
    usage: KeyUsage = KeyUsage.ENCRYPT_DECRYPT
    spec: str = SYMMETRIC
    current_material: int = 1
    """The number of the material that encrypts; those below it only decrypt."""
    deletion_at: datetime | None = None
    """When the waiting period of a scheduled deletion ends."""
    pending_days: int | None = None
    """How long that period was asked to be."""
    rotation_days: int | None = None
    """The period of automatic rotation; None where it is not enabled."""
    next_rotation_at: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """The key ARN, `arn:aws:kms:REGION:ACCOUNT:key/KEY-ID`."""
        return kms_arn(self.account_id, self.region, f"key/{self.key_id}")

    def evolve(self, **changes: Any) -> KmsKey:
        """Return a copy with these fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """One alias: a name for a key, that can be pointed at another."""

    account_id: AccountId
    region: Region
    name: str
    """With its prefix `alias/`."""
    key_id: str
    created_at: datetime
    updated_at: datetime

    @property
    def arn(self) -> str:
        """The alias ARN, `arn:aws:kms:REGION:ACCOUNT:alias/NAME`."""
        return kms_arn(self.account_id, self.region, self.name)


def kms_arn(account_id: AccountId, region: Region, resource: str) -> str:
    """Return the ARN of a key (`key/ID`) or an alias (`alias/NAME`)."""
    return f"arn:{partition_of(region)}:kms:{region}:{account_id}:{resource}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReference:
    """A KmsKeyId as a caller wrote it, read in the secret's account and Region. One of `key_id` and `alias_name` is set."""

    account_id: AccountId
    """The account that an ARN names; else the secret's own."""
    key_id: str | None = None
    alias_name: str | None = None
    """With its prefix `alias/`."""


def parse_kms_key_id(text: str | None, account_id: AccountId, region: Region) -> KeyReference:
    """Read a key id, a key ARN, an alias name or an alias ARN (Secrets Manager API reference, "KmsKeyId").

    None and the empty text mean the managed key. Raises InvalidParameterException for a malformed ARN, and
    ResourceNotFoundException for an ARN of another Region, because no key can be used from outside its Region.
    """
    resource, owner = text or MANAGED_ALIAS, account_id
    if resource.startswith("arn:"):
        owner, resource = _parts_of(resource, region)
        if resource.startswith("key/"):
            return KeyReference(account_id=owner, key_id=resource.removeprefix("key/"))
    if resource.startswith("alias/"):
        return KeyReference(account_id=owner, alias_name=resource)
    return KeyReference(account_id=owner, key_id=resource)


def _parts_of(text: str, region: Region) -> tuple[AccountId, str]:
    try:
        arn = Arn.parse(text)
        owner = checked_account_id(arn.account_id)
    except ValueError:
        raise InvalidParameterException("Invalid ARN.") from None
    if arn.service != "kms" or not arn.resource.startswith(("key/", "alias/")):
        raise InvalidParameterException("Invalid ARN.")
    if text != kms_arn(owner, region, arn.resource):
        raise key_not_found(text)
    return owner, arn.resource


def key_not_found(arn: str) -> ResourceNotFoundException:
    """Return the error for a key or alias that is not there, in the words that KMS has for it."""
    if ":alias/" in arn:
        return ResourceNotFoundException(f"Alias {arn} is not found.")
    return ResourceNotFoundException(f"Key '{arn}' does not exist")


def encryption_context(owner: str, part: str) -> bytes:
    """Return the canonical form of {"SecretARN": owner, "SecretVersionId": part}, the pairs in the order of their keys.

    The names are those that Secrets Manager gives KMS (user guide, "Secret encryption and decryption").
    """
    return associated_data("SecretARN", owner, "SecretVersionId", part)


def canonical_context(pairs: Mapping[str, str]) -> bytes:
    """Return the canonical form of an encryption context: the pairs in the order of their keys (KMS developer guide)."""
    return associated_data(*(text for key in sorted(pairs) for text in (key, pairs[key])))


@lru_cache(maxsize=1024)
def material_context(account_id: AccountId, region: Region, key_id: str, material_id: int) -> bytes:
    """Return the associated data of a key material, which names its row."""
    return associated_data("kms-material", account_id, region, key_id, str(material_id))
