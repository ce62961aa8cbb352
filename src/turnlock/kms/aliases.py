"""CreateAlias, UpdateAlias, DeleteAlias and ListAliases.

An alias names a key and gives no right on it. To point one at a key, the caller needs the right on the alias and on
each key (KMS developer guide, "Controlling access to aliases").
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from turnlock.core.action import Answer, Request, Subject
from turnlock.core.call import Call
from turnlock.errors import (
    AlreadyExistsException,
    InvalidAliasNameException,
    KMSInvalidStateException,
    NotFoundException,
    ValidationException,
)
from turnlock.kms import store
from turnlock.kms.conditions import conditions_of
from turnlock.kms.lookup import (
    ADMINISTERED,
    DEFAULT_LIMIT,
    PAGES,
    KeyNaming,
    require_customers,
    require_lasting,
)
from turnlock.kms.model import Alias, KmsKey, kms_arn
from turnlock.storage import Unit

TARGET: Final = KeyNaming(member="TargetKeyId")

_NAME: Final = re.compile(r"alias/[a-zA-Z0-9/_-]+")
_RESERVED: Final = "alias/aws/"


def create_alias(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateAlias. Raises AlreadyExistsException, InvalidAliasNameException."""
    name = request["AliasName"]
    _check_name(name)
    _require_right_on_alias(call, "CreateAlias", name)
    key = TARGET.require(call, request, unit)
    require_customers(key)
    require_lasting(key)
    if store.find_alias(unit, call.account_id, call.region, name) is not None:
        arn = kms_arn(call.account_id, call.region, name)
        raise AlreadyExistsException(f"An alias with the name {arn} already exists")
    alias = Alias(
        account_id=call.account_id,
        region=call.region,
        name=name,
        key_id=key.key_id,
        created_at=unit.now,
        updated_at=unit.now,
    )
    store.save_alias(unit, alias)
    return {}


def update_alias(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateAlias: point it at another key of the same kind and usage; the caller needs the right on the old key too."""
    name = request["AliasName"]
    _check_name(name)
    _require_right_on_alias(call, "UpdateAlias", name)
    alias = _require(call, unit, name)
    call.gate.require("UpdateAlias", {"AliasName": name, "TargetKeyId": alias.key_id})
    key, before = TARGET.require(call, request, unit), _key_of(unit, alias)
    require_customers(key)
    require_lasting(key)
    if (key.usage, key.spec) != (before.usage, before.spec):
        raise ValidationException(
            f"Alias {alias.arn} cannot be changed from a {before.spec} key to a {key.spec} key"
        )
    store.save_alias(unit, replace(alias, key_id=key.key_id, updated_at=unit.now))
    return {}


def delete_alias(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteAlias: the key stays."""
    name = request["AliasName"]
    _check_name(name)
    alias = _require(call, unit, name)
    call.gate.require("DeleteAlias", {"AliasName": name, "TargetKeyId": alias.key_id})
    store.delete_alias(unit, alias)
    return {}


def list_aliases(call: Call, request: Request, unit: Unit) -> Answer:
    """ListAliases: of the account in the Region, or of one key."""
    if "KeyId" in request:
        key = ADMINISTERED.require(call, request, unit)
        found = store.aliases_after(unit, key.account_id, key.region, key_id=key.key_id)
        return PAGES.page(request, found, lambda alias: alias.name, "Aliases", _entry, default=DEFAULT_LIMIT)
    limit, after = PAGES.size_of(request, DEFAULT_LIMIT), PAGES.after(request)
    found = store.aliases_after(unit, call.account_id, call.region, after=after, limit=limit + 1)
    return PAGES.cut(found, limit, lambda alias: alias.name, "Aliases", _entry)


def alias_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return the subject of a call on an alias: the key where the request names one, else the alias."""
    if "TargetKeyId" in request:
        return TARGET.subject(call, request, unit)
    arn = kms_arn(call.account_id, call.region, request["AliasName"])
    return Subject(
        arn=arn, named=request["AliasName"], conditions=lambda: conditions_of(call, request, unit, None)
    )


def _require_right_on_alias(call: Call, action: str, name: str) -> None:
    """Require the right on the alias; the gate has checked that on the key."""
    call.gate.require(action, {"AliasName": name})


def _check_name(name: str) -> None:
    if not name.startswith("alias/"):
        raise ValidationException("Invalid identifier: an alias name begins with alias/")
    if not _NAME.fullmatch(name):
        raise InvalidAliasNameException("Alias contains invalid characters")
    if name.startswith(_RESERVED):
        raise InvalidAliasNameException("Alias names that begin with alias/aws/ are reserved")


def _require(call: Call, unit: Unit, name: str) -> Alias:
    alias = store.find_alias(unit, call.account_id, call.region, name)
    if alias is None:
        raise NotFoundException(f"Alias {kms_arn(call.account_id, call.region, name)} is not found.")
    return alias


def _key_of(unit: Unit, alias: Alias) -> KmsKey:
    key = store.find_key(unit, alias.account_id, alias.region, alias.key_id)
    if key is None:
        raise KMSInvalidStateException(f"The key of {alias.arn} is gone.")
    return key


def _entry(alias: Alias) -> dict[str, Any]:
    return {
        "AliasName": alias.name,
        "AliasArn": alias.arn,
        "TargetKeyId": alias.key_id,
        "CreationDate": alias.created_at,
        "LastUpdatedDate": alias.updated_at,
    }
