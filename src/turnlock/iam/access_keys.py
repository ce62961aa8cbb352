"""Access keys of users and of the root user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from turnlock.accounts import ACCESS_KEYS, AccessKeyRow, Kind, identities_by_id, new_access_key, store
from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.arn import AccountId
from turnlock.core.call import Call, PrincipalKind
from turnlock.errors import LimitExceededException, NoSuchEntityException
from turnlock.iam.lookup import PAGES, identity_subject, named_identity
from turnlock.storage import Unit

_NEVER: Final = "N/A"
"""What stands for the service and Region of a key that was never used (API reference, AccessKeyLastUsed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """Whose keys a call is about."""

    account_id: AccountId
    name: str
    arn: str
    principal_id: str


def create_access_key(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateAccessKey: the one answer that shows the secret. Raises LimitExceededException for a third key."""
    owner = _owner(call, request, unit)
    if len(store.access_keys_of(unit, owner.account_id, owner.principal_id)) >= ACCESS_KEYS:
        raise LimitExceededException(f"Cannot exceed quota for AccessKeysPerUser: {ACCESS_KEYS}")
    made = new_access_key(unit, owner.account_id, arn=owner.arn, principal_id=owner.principal_id)
    return {
        "AccessKey": {
            "UserName": owner.name,
            "AccessKeyId": made.access_key_id,
            "Status": "Active",
            "SecretAccessKey": made.secret_access_key,
            "CreateDate": unit.now,
        }
    }


def list_access_keys(call: Call, request: Request, unit: Unit) -> Answer:
    """ListAccessKeys: the keys without their secrets."""
    owner = _owner(call, request, unit)
    found = store.access_keys_of(unit, owner.account_id, owner.principal_id)
    return PAGES.page(
        request, found, lambda row: row.access_key_id, "AccessKeyMetadata", lambda row: _shown(owner, row)
    )


def update_access_key(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateAccessKey: from the commit on an Inactive key opens nothing."""
    row = _key(_owner(call, request, unit), request, unit)
    store.set_access_key_active(unit, row, active=request["Status"] == "Active")
    return {}


def delete_access_key(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteAccessKey."""
    store.delete_access_key(unit, _key(_owner(call, request, unit), request, unit))
    return {}


def get_access_key_last_used(call: Call, request: Request, unit: Unit) -> Answer:
    """GetAccessKeyLastUsed: to the quarter of an hour. Raises NoSuchEntityException for another account's key too."""
    row = store.find_access_key(unit, request["AccessKeyId"])
    if row is None or row.account_id != call.account_id:
        raise _no_key(request["AccessKeyId"])
    users = identities_by_id(unit, call.account_id, [row.principal_id])
    used = (
        {"Region": _NEVER, "ServiceName": _NEVER}
        if row.last_used is None
        else {
            "LastUsedDate": row.last_used.at,
            "Region": row.last_used.region,
            "ServiceName": row.last_used.service,
        }
    )
    return {"UserName": users[0].name if users else None, "AccessKeyLastUsed": used}


def _owner(call: Call, request: Request, unit: Unit) -> _Owner:
    """Return whose keys are meant: the user named, or the caller, the root user included."""
    if "UserName" not in request and call.principal.kind is PrincipalKind.ROOT:
        principal = call.principal
        return _Owner(
            account_id=call.account_id, name="root", arn=principal.arn, principal_id=principal.principal_id
        )
    user = named_identity(call, request, unit, Kind.USER)
    return _Owner(account_id=call.account_id, name=user.name, arn=user.arn, principal_id=user.id)


def _key(owner: _Owner, request: Request, unit: Unit) -> AccessKeyRow:
    row = store.find_access_key(unit, request["AccessKeyId"])
    if row is None or (row.account_id, row.principal_id) != (owner.account_id, owner.principal_id):
        raise _no_key(request["AccessKeyId"])
    return row


def _no_key(access_key_id: str) -> NoSuchEntityException:
    return NoSuchEntityException(f"The Access Key with id {access_key_id} cannot be found.")


def _shown(owner: _Owner, row: AccessKeyRow) -> dict[str, Any]:
    return {
        "UserName": owner.name,
        "AccessKeyId": row.access_key_id,
        "Status": "Active" if row.active else "Inactive",
        "CreateDate": row.created_at,
    }


_NAMED: Final = identity_subject(Kind.USER)


ACTIONS: Final = (
    Action(name="CreateAccessKey", handler=create_access_key, subject=_NAMED, mutates=True),
    Action(name="DeleteAccessKey", handler=delete_access_key, subject=_NAMED, mutates=True),
    Action(name="GetAccessKeyLastUsed", handler=get_access_key_last_used, subject=no_resource, mutates=False),
    Action(name="ListAccessKeys", handler=list_access_keys, subject=_NAMED, mutates=False),
    Action(name="UpdateAccessKey", handler=update_access_key, subject=_NAMED, mutates=True),
)
