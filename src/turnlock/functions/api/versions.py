"""Published versions and aliases."""

from __future__ import annotations

import uuid

from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
)
from turnlock.functions.api import store
from turnlock.functions.api.answers import configuration
from turnlock.functions.api.hosted import as_version, or_hosted
from turnlock.functions.api.model import LATEST, Alias, FunctionVersion, OwnFunction
from turnlock.functions.api.names import PAGES, function_subject, not_found, require_alias, require_function
from turnlock.storage import Unit


def publish(
    unit: Unit, function: OwnFunction, latest: FunctionVersion, *, description: str
) -> FunctionVersion:
    """Make a version of what `$LATEST` is now, or return the newest one where nothing has changed since."""
    newest = store.find_version(unit, function, str(function.last_version))
    if newest is not None and _same(newest, latest.evolve(description=description)):
        return newest
    after = function.evolve(last_version=function.last_version + 1)
    store.FUNCTIONS.replace(unit, function, after)
    version = latest.evolve(
        version=str(after.last_version),
        description=description,
        revision_id=_revision(unit),
        modified_at=unit.now,
    )
    store.VERSIONS.insert(
        unit, version, taken=ResourceConflictException(f"Version {version.version} exists.")
    )
    return version


def publish_version(call: Call, request: Request, unit: Unit) -> Answer:
    """PublishVersion."""
    function = require_function(call, request, unit)
    latest = store.find_version(unit, function, LATEST)
    if latest is None:
        raise not_found(function.arn)
    if request.get("RevisionId", latest.revision_id) != latest.revision_id:
        raise PreconditionFailedException
    if request.get("CodeSha256", latest.code_sha256) != latest.code_sha256:
        raise InvalidParameterValueException(
            f"CodeSHA256 ({request['CodeSha256']}) is different from current CodeSHA256 in $LATEST"
            f" ({latest.code_sha256}). Please try again with the CodeSHA256 in $LATEST."
        )
    description = request.get("Description", latest.description)
    return configuration(unit, publish(unit, function, latest, description=description))


def list_versions_by_function(call: Call, request: Request, unit: Unit) -> Answer:
    """ListVersionsByFunction: `$LATEST` first, the others by number."""
    function = require_function(call, request, unit)
    return PAGES.numbered(
        request,
        store.versions_of(unit, function),
        "Versions",
        lambda version: configuration(unit, version, qualified=True),
    )


def create_alias(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateAlias."""
    function = require_function(call, request, unit)
    _check_alias(unit, function, request)
    if request["Name"].isdigit():
        raise InvalidParameterValueException("The name of an alias must hold a letter.")
    alias = Alias(
        account_id=function.account_id,
        region=function.region,
        function=function.name,
        name=request["Name"],
        version=request["FunctionVersion"],
        description=request.get("Description", ""),
        revision_id=_revision(unit),
    )
    store.ALIASES.insert(unit, alias, taken=ResourceConflictException(f"Alias already exists: {alias.arn}"))
    return _shown(alias)


def get_alias(call: Call, request: Request, unit: Unit) -> Answer:
    """GetAlias."""
    return _shown(require_alias(call, request, unit)[1])


def update_alias(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateAlias."""
    function, alias = require_alias(call, request, unit)
    if request.get("RevisionId", alias.revision_id) != alias.revision_id:
        raise PreconditionFailedException
    _check_alias(unit, function, request)
    after = Alias(
        account_id=alias.account_id,
        region=alias.region,
        function=alias.function,
        name=alias.name,
        version=request.get("FunctionVersion", alias.version),
        description=request.get("Description", alias.description),
        revision_id=_revision(unit),
    )
    store.ALIASES.replace(unit, alias, after)
    return _shown(after)


def delete_alias(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteAlias; one that is not there is no error."""
    function = require_function(call, request, unit)
    alias = store.find_alias(unit, function, request["Name"])
    if alias is not None:
        store.ALIASES.delete(unit, alias)
    return {}


def list_aliases(call: Call, request: Request, unit: Unit) -> Answer:
    """ListAliases, those of one version where it is named."""
    function = require_function(call, request, unit)
    wanted = request.get("FunctionVersion")
    found = [one for one in store.aliases_of(unit, function) if wanted in (None, one.version)]
    return PAGES.numbered(request, found, "Aliases", _shown)


def _check_alias(unit: Unit, function: OwnFunction, request: Request) -> None:
    if request.get("RoutingConfig", {}).get("AdditionalVersionWeights"):
        raise InvalidParameterValueException("An alias stands for one version: weights are not supported.")
    version = request.get("FunctionVersion")
    if version is not None and store.find_version(unit, function, version) is None:
        raise not_found(f"{function.arn}:{version}")


def _shown(alias: Alias) -> dict[str, str]:
    return {
        "AliasArn": alias.arn,
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    }


def _same(one: FunctionVersion, other: FunctionVersion) -> bool:
    blank = {"version": "", "revision_id": "", "modified_at": one.modified_at}
    return one.evolve(**blank) == other.evolve(**blank)


def _revision(unit: Unit) -> str:
    return str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4))


ACTIONS = (
    Action(name="PublishVersion", handler=publish_version, subject=function_subject, mutates=True),
    Action(
        name="ListVersionsByFunction",
        handler=or_hosted(list_versions_by_function, lambda hosted: {"Versions": [as_version(hosted)]}),
        subject=function_subject,
        mutates=False,
    ),
    Action(name="CreateAlias", handler=create_alias, subject=function_subject, mutates=True),
    Action(name="GetAlias", handler=get_alias, subject=function_subject, mutates=False),
    Action(name="UpdateAlias", handler=update_alias, subject=function_subject, mutates=True),
    Action(name="DeleteAlias", handler=delete_alias, subject=function_subject, mutates=True),
    Action(
        name="ListAliases",
        handler=or_hosted(list_aliases, lambda _: {"Aliases": []}),
        subject=function_subject,
        mutates=False,
    ),
)
