"""Functions, versions, aliases, policies and packages in their tables."""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy import delete, select

from turnlock.core.arn import AccountId, Region
from turnlock.functions.api.model import Alias, FunctionPolicy, FunctionVersion, OwnFunction
from turnlock.functions.api.tables import (
    function_aliases,
    function_code,
    function_policies,
    function_versions,
    functions,
)
from turnlock.root_keys import Records, root_macs_of
from turnlock.storage import Unit
from turnlock.storage.alarms import broken

FUNCTIONS: Final = Records(
    functions,
    OwnFunction,
    lambda one: {"account_id": one.account_id, "region": one.region, "name": one.name},
)
VERSIONS: Final = Records(
    function_versions,
    FunctionVersion,
    lambda one: {
        "account_id": one.account_id,
        "region": one.region,
        "name": one.name,
        "version": one.version,
        "code_id": one.code_id,
    },
)
ALIASES: Final = Records(
    function_aliases,
    Alias,
    lambda one: {
        "account_id": one.account_id,
        "region": one.region,
        "name": one.function,
        "alias": one.name,
    },
)
POLICIES: Final = Records(
    function_policies,
    FunctionPolicy,
    lambda one: {
        "account_id": one.account_id,
        "region": one.region,
        "name": one.function,
        "qualifier": one.qualifier,
    },
)

MACS: Final = tuple(
    root_macs_of(table) for table in (functions, function_versions, function_aliases, function_policies)
)
"""What a rotation of the root key writes anew."""


def find_function(unit: Unit, account_id: AccountId, region: Region, name: str) -> OwnFunction | None:
    """Return the function of this name, or None. Raises SealBroken."""
    return FUNCTIONS.find(unit, account_id=account_id, region=region, name=name)


def functions_of(unit: Unit, account_id: AccountId, region: Region) -> list[OwnFunction]:
    """Return an account's functions in a Region, by name."""
    return FUNCTIONS.all(unit, functions.c.account_id == account_id, functions.c.region == region)


def find_version(unit: Unit, function: OwnFunction, version: str) -> FunctionVersion | None:
    """Return a version of a function, or None. Raises SealBroken."""
    return VERSIONS.find(
        unit,
        account_id=function.account_id,
        region=function.region,
        name=function.name,
        version=version,
    )


def versions_of(unit: Unit, function: OwnFunction) -> list[FunctionVersion]:
    """Return all versions, `$LATEST` first, the others by number."""
    found = VERSIONS.all(
        unit,
        function_versions.c.account_id == function.account_id,
        function_versions.c.region == function.region,
        function_versions.c.name == function.name,
    )
    return sorted(found, key=lambda one: int(one.version) if one.version.isdigit() else 0)


def find_alias(unit: Unit, function: OwnFunction, name: str) -> Alias | None:
    """Return an alias of a function, or None. Raises SealBroken."""
    return ALIASES.find(
        unit,
        account_id=function.account_id,
        region=function.region,
        name=function.name,
        alias=name,
    )


def aliases_of(unit: Unit, function: OwnFunction) -> list[Alias]:
    """Return all aliases, by name."""
    return ALIASES.all(
        unit,
        function_aliases.c.account_id == function.account_id,
        function_aliases.c.region == function.region,
        function_aliases.c.name == function.name,
    )


def find_policy(unit: Unit, function: OwnFunction, qualifier: str) -> FunctionPolicy | None:
    """Return the policy of a function or, with a qualifier, of that version or alias. Raises SealBroken."""
    return POLICIES.find(
        unit,
        account_id=function.account_id,
        region=function.region,
        name=function.name,
        qualifier=qualifier,
    )


def keep_code(unit: Unit, account_id: AccountId, region: Region, content: bytes) -> str:
    """Keep a package, unless it is kept already; return its id."""
    code_id = hashlib.sha256(content).hexdigest()
    row = {"account_id": account_id, "region": region, "code_id": code_id}
    known = select(function_code.c.code_id).where(
        *(function_code.c[key] == value for key, value in row.items())
    )
    if unit.connection.execute(known).first() is None:
        unit.connection.execute(function_code.insert().values(**row, content=content))
    return code_id


def read_code(unit: Unit, version: FunctionVersion) -> bytes:
    """Return the package of a version. Raises SealBroken when it is not the one that the version names."""
    content = unit.connection.execute(
        select(function_code.c.content).where(
            function_code.c.account_id == version.account_id,
            function_code.c.region == version.region,
            function_code.c.code_id == version.code_id,
        )
    ).scalar()
    if content is None or hashlib.sha256(content).hexdigest() != version.code_id:
        broken(f"The package of {version.qualified_arn}")
    return bytes(content)


def forget_unused_code(unit: Unit, account_id: AccountId, region: Region, code_id: str) -> None:
    """Delete a package that no version names any more."""
    home = (function_versions.c.account_id == account_id, function_versions.c.region == region)
    used = select(function_versions.c.name).where(*home, function_versions.c.code_id == code_id).limit(1)
    if unit.connection.execute(used).first() is None:
        unit.connection.execute(
            delete(function_code).where(
                function_code.c.account_id == account_id,
                function_code.c.region == region,
                function_code.c.code_id == code_id,
            )
        )


def delete_function(unit: Unit, function: OwnFunction) -> None:
    """Delete a function with all that belongs to it."""
    codes = {version.code_id for version in versions_of(unit, function)}
    for table in (function_policies, function_aliases, function_versions, functions):
        unit.connection.execute(
            delete(table).where(
                table.c.account_id == function.account_id,
                table.c.region == function.region,
                table.c.name == function.name,
            )
        )
    for code_id in codes:
        forget_unused_code(unit, function.account_id, function.region, code_id)
