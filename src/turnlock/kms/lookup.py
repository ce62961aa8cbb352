"""From a KeyId to the KMS key: for the gate, where an absent key is no error, and for the actions, where it is.

Operations differ in what their KeyId may be: an alias or not, a key of another account or not (KMS API reference,
"KeyId" of each). It cannot be a key of another Region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from turnlock.core.action import Request, Subject
from turnlock.core.arn import AccountId, Arn
from turnlock.core.call import Call
from turnlock.core.pages import Pages
from turnlock.errors import (
    AccessDeniedException,
    DisabledException,
    InvalidArnException,
    InvalidKeyUsageException,
    InvalidMarkerException,
    KMSInvalidStateException,
    NotFoundException,
    SealBroken,
)
from turnlock.kms import store
from turnlock.kms.conditions import conditions_of
from turnlock.kms.grants.store import grant_lets
from turnlock.kms.key_policies.store import default_policy, policy_of
from turnlock.kms.model import SERVICE_ALIAS, KeyOwner, KeyState, KeyUsage, KmsKey, kms_arn
from turnlock.root_keys import Ciphertext
from turnlock.storage import Unit

PAGES: Final = Pages(
    size="Limit",
    following="NextMarker",
    truncated="Truncated",
    default=100,
    most=1000,
    invalid=InvalidMarkerException,
)
"""The pages of KMS's lists."""
DEFAULT_LIMIT: Final = 50
"""Entries of a page of aliases, grants and tags where the request has no Limit (API reference); of others it is 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyNaming:
    """How one operation's request names its key."""

    member: str = "KeyId"
    aliases: bool = False
    """Whether an alias may stand for the key."""
    foreign: bool = False
    """Whether the key may be another account's."""

    def find(self, call: Call, request: Request, unit: Unit) -> KmsKey | None:
        """Return the key, None when there is none that this operation may name. Raises SealBroken for a forged row."""
        try:
            return self._read(call, str(request[self.member]), unit)
        except (NotFoundException, InvalidArnException):
            return None

    def require(self, call: Call, request: Request, unit: Unit) -> KmsKey:
        """Return the key. Raises NotFoundException, InvalidArnException."""
        return self._read(call, str(request[self.member]), unit)

    def subject(self, call: Call, request: Request, unit: Unit) -> Subject:
        """Return what a call about the key is about."""
        return key_subject(
            call, request, unit, self.find(call, request, unit), named=str(request[self.member])
        )

    def _read(self, call: Call, named: str, unit: Unit) -> KmsKey:
        owner, resource = call.account_id, named
        if named.startswith("arn:"):
            owner, resource = self._parts(call, named)
        if resource.startswith("alias/"):
            return self._by_alias(call, unit, owner, resource)
        key_id = resource.removeprefix("key/") if named.startswith("arn:") else resource
        found = None if "\0" in key_id else store.find_key(unit, owner, call.region, key_id)
        if found is None:
            raise NotFoundException(f"Key '{kms_arn(owner, call.region, f'key/{key_id}')}' does not exist")
        return found

    def _parts(self, call: Call, named: str) -> tuple[AccountId, str]:
        """Return (account, resource) of an ARN; another Region's or, where they may not be named, another account's is absent."""
        try:
            arn = Arn.parse(named)
        except ValueError:
            raise InvalidArnException(f"Invalid arn {named}") from None
        if arn.service != "kms" or not arn.resource.startswith(("key/", "alias/")):
            raise InvalidArnException(f"Invalid arn {named}")
        owner = AccountId(arn.account_id)
        if named != kms_arn(owner, call.region, arn.resource) or not (
            self.foreign or owner == call.account_id
        ):
            raise NotFoundException(f"Invalid arn {named}")
        return owner, arn.resource

    def _by_alias(self, call: Call, unit: Unit, owner: AccountId, alias: str) -> KmsKey:
        if not self.aliases:
            raise NotFoundException(f"Invalid keyId {alias}")
        hidden = alias == SERVICE_ALIAS or "\0" in alias
        found = None if hidden else store.key_of_alias(unit, owner, call.region, alias)
        if found is None:
            raise NotFoundException(f"Alias {kms_arn(owner, call.region, alias)} is not found.")
        return found


ADMINISTERED: Final = KeyNaming()
"""Operations that administer a key of their caller's account."""
GRANTED: Final = KeyNaming(foreign=True)
"""Operations on grants, which can be another account's."""
USED: Final = KeyNaming(aliases=True, foreign=True)
"""Operations that use a key."""


def key_subject(call: Call, request: Request, unit: Unit, key: KmsKey | None, *, named: str) -> Subject:
    """Return the subject of a call on a key; of an absent key it has only the KeyId."""
    if key is None:
        # The identities of the account that is named decide whether the caller learns that it is absent, as over a new key.
        return Subject(
            arn=None,
            named=named,
            policy=default_policy(_account_named(call, named), call.region),
            policy_decides=True,
            conditions=lambda: conditions_of(call, request, unit, None),
        )
    return Subject(
        arn=key.arn,
        named=named,
        policy=policy_of(unit, key),
        policy_decides=True,
        granted=lambda principal: grant_lets(unit, key, principal, call.action, request),
        conditions=lambda: conditions_of(call, request, unit, key),
    )


def _account_named(call: Call, named: str) -> AccountId:
    try:
        return AccountId(Arn.parse(named).account_id)
    except ValueError:
        return call.account_id


def ciphertext_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return the subject of a call with a CiphertextBlob: the key that the blob names, else the one that the request names."""
    blob = request.get("CiphertextBlob")
    if "KeyId" in request or blob is None:
        return USED.subject(call, {"KeyId": "*", **request}, unit)
    try:
        key = USED.find(call, {"KeyId": Ciphertext.parse(blob).key_arn}, unit)
    except SealBroken:
        key = None
    return key_subject(call, request, unit, key, named="*" if key is None else key.arn)


def require_usable(key: KmsKey, usage: KeyUsage, action: str) -> None:
    """Raise unless a key is there to be used: DisabledException, KMSInvalidStateException, InvalidKeyUsageException."""
    if key.state is KeyState.DISABLED:
        raise DisabledException(f"{key.arn} is disabled.")
    require_lasting(key)
    if key.usage is not usage:
        raise InvalidKeyUsageException(
            f"{key.arn} key usage is {key.usage.value} which is not valid for {action}."
        )


def require_lasting(key: KmsKey) -> None:
    """Raise KMSInvalidStateException for a key that is scheduled for deletion, or in an unknown state."""
    if key.state is KeyState.PENDING_DELETION:
        raise KMSInvalidStateException(f"{key.arn} is pending deletion.")
    if key.state is KeyState.UNAVAILABLE:
        raise KMSInvalidStateException(f"{key.arn} is in a state that does not allow this.")


def require_customers(key: KmsKey) -> None:
    """Raise AccessDeniedException for an AWS managed key: nobody can change it (docs/aws-behaviour.md#kms-keys-of-secrets)."""
    if key.owner is KeyOwner.AWS:
        raise AccessDeniedException(f"{key.arn} is an AWS managed key, which cannot be changed.")
