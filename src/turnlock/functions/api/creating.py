"""CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration, DeleteFunction."""

from __future__ import annotations

import uuid
from typing import Final

from turnlock.core.action import Action, Answer, Request, of_request
from turnlock.core.call import Call
from turnlock.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
)
from turnlock.functions.api import store
from turnlock.functions.api.answers import configuration
from turnlock.functions.api.model import LATEST, FunctionVersion, OwnFunction
from turnlock.functions.api.names import function_subject, named, not_found, require_function
from turnlock.functions.api.settings import changed, check_architectures
from turnlock.functions.api.versions import publish
from turnlock.functions.code.packages import BadPackage, check_package
from turnlock.functions.model import HOSTED
from turnlock.storage import Unit

MOST_FUNCTIONS: Final = 1000
"""Of one account in one Region; Lambda bounds the storage of code instead."""


def create_function(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateFunction. Raises InvalidParameterValueException, ResourceConflictException, AccessDeniedException."""
    asked = named(call, request)
    if (asked.account_id, asked.region, asked.qualifier) != (call.account_id, call.region, None):
        raise InvalidParameterValueException("A function is made in the caller's own account and Region.")
    if (
        asked.name in HOSTED
        or store.find_function(unit, call.account_id, call.region, asked.name) is not None
    ):
        raise ResourceConflictException(f"Function already exist: {asked.name}")
    if len(store.functions_of(unit, call.account_id, call.region)) >= MOST_FUNCTIONS:
        raise InvalidParameterValueException(f"There are {MOST_FUNCTIONS} functions already.")
    for name in ("Runtime", "Handler"):
        if name not in request:
            raise InvalidParameterValueException(
                f"{name} is mandatory for functions created with deployment packages."
            )
    function = OwnFunction(
        account_id=call.account_id, region=call.region, name=asked.name, tags=request.get("Tags", {})
    )
    content: bytes = call.gate.prepared()
    version = FunctionVersion(
        account_id=call.account_id,
        region=call.region,
        name=asked.name,
        version=LATEST,
        revision_id=draw_revision(unit),
        role=request["Role"],
        runtime=request["Runtime"],
        handler=request["Handler"],
        code_id=store.keep_code(unit, call.account_id, call.region, content),
        code_size=len(content),
        modified_at=unit.now,
    )
    version = changed(call, request, unit, function, version)
    taken = ResourceConflictException(f"Function already exist: {asked.name}")
    store.FUNCTIONS.insert(unit, function, taken=taken)
    store.VERSIONS.insert(unit, version, taken=taken)
    if request.get("Publish"):
        version = publish(unit, function, version, description=version.description)
    return configuration(unit, version)


def update_function_code(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateFunctionCode: the package of `$LATEST`; with DryRun only checked."""
    function, version = _latest(call, request, unit)
    check_architectures(request, version.runtime)
    content: bytes = call.gate.prepared()
    if request.get("DryRun"):
        return configuration(unit, version)
    after = version.evolve(
        code_id=store.keep_code(unit, function.account_id, function.region, content),
        code_size=len(content),
        shown={**version.shown, **{name: request[name] for name in ("Architectures",) if name in request}},
    )
    after = _save(unit, version, after)
    store.forget_unused_code(unit, function.account_id, function.region, version.code_id)
    if request.get("Publish"):
        after = publish(unit, function, after, description=after.description)
    return configuration(unit, after)


def update_function_configuration(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateFunctionConfiguration: the settings of `$LATEST` that are given."""
    function, version = _latest(call, request, unit)
    return configuration(unit, _save(unit, version, changed(call, request, unit, function, version)))


def delete_function(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteFunction: the function with all its versions, or the version that is named and no alias stands for."""
    function = require_function(call, request, unit)
    qualifier = named(call, request).qualifier
    if qualifier is None:
        store.delete_function(unit, function)
        return {"StatusCode": 204}
    version = store.find_version(unit, function, qualifier) if qualifier.isdigit() else None
    if version is None:
        if qualifier == LATEST:
            raise InvalidParameterValueException(
                "$LATEST version cannot be deleted without deleting the function."
            )
        raise not_found(f"{function.arn}:{qualifier}")
    if any(alias.version == qualifier for alias in store.aliases_of(unit, function)):
        raise ResourceConflictException(f"Version {qualifier} of {function.name} has an alias.")
    store.VERSIONS.delete(unit, version)
    store.forget_unused_code(unit, function.account_id, function.region, version.code_id)
    return {"StatusCode": 204}


def draw_revision(unit: Unit) -> str:
    """Return a RevisionId."""
    return str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4))


def _latest(call: Call, request: Request, unit: Unit) -> tuple[OwnFunction, FunctionVersion]:
    """Return what an update is about. Raises ResourceNotFoundException, PreconditionFailedException."""
    function = require_function(call, request, unit)
    version = store.find_version(unit, function, LATEST)
    if version is None:
        raise not_found(function.arn)
    if request.get("RevisionId", version.revision_id) != version.revision_id:
        raise PreconditionFailedException(
            "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to retrieve"
            " the latest RevisionId"
        )
    return function, version


def _save(unit: Unit, before: FunctionVersion, after: FunctionVersion) -> FunctionVersion:
    after = after.evolve(revision_id=draw_revision(unit), modified_at=unit.now)
    store.VERSIONS.replace(unit, before, after)
    return after


def _new_package(request: Request) -> bytes:
    return _package(request["Code"])


def _package(code: Request) -> bytes:
    """Return the zip file that is given with a request, checked. Raises InvalidParameterValueException."""
    content: bytes | None = code.get("ZipFile")
    if content is None:
        raise InvalidParameterValueException(
            "Please provide a ZipFile: S3 and container registries are not served."
        )
    try:
        check_package(content)
    except BadPackage as error:
        raise InvalidParameterValueException(f"Could not unzip uploaded file: {error}.") from None
    return content


ACTIONS = (
    Action(
        name="CreateFunction",
        handler=create_function,
        subject=function_subject,
        mutates=True,
        prepare=of_request(_new_package),
    ),
    Action(
        name="UpdateFunctionCode",
        handler=update_function_code,
        subject=function_subject,
        mutates=True,
        prepare=of_request(_package),
    ),
    Action(
        name="UpdateFunctionConfiguration",
        handler=update_function_configuration,
        subject=function_subject,
        mutates=True,
    ),
    Action(name="DeleteFunction", handler=delete_function, subject=function_subject, mutates=True),
)
