"""FunctionName and Qualifier, in the forms in which callers give them, and what they name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from turnlock.core.action import ConditionValues, Request, Subject
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call
from turnlock.core.pages import Pages
from turnlock.core.tags import request_tag_keys, resource_tag_keys
from turnlock.errors import InvalidParameterValueException, ResourceNotFoundException
from turnlock.functions.api import store
from turnlock.functions.api.model import LATEST, Alias, FunctionVersion, OwnFunction, function_arn
from turnlock.storage import Unit

_NAME = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>[0-9]{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9_-]{1,64})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]{1,128}))?"
)

PAGES: Final = Pages(
    size="MaxItems",
    following="NextMarker",
    default=50,
    most=50,
    digits=8,
    invalid=lambda: InvalidParameterValueException("Invalid Marker."),
)
"""The pages of Lambda's lists: 50 items at most, whatever is asked for (API reference)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a request names: `NAME`, `ACCOUNT:function:NAME` or an ARN, with or without a qualifier."""

    account_id: AccountId
    region: Region
    name: str
    qualifier: str | None

    @property
    def arn(self) -> str:
        """The ARN, with the qualifier where one was given."""
        arn = function_arn(self.account_id, self.region, self.name)
        return arn if self.qualifier is None else f"{arn}:{self.qualifier}"


def named(call: Call, request: Request) -> Named:
    """Return what FunctionName (or a tagging operation's Resource) and Qualifier name.

    Raises InvalidParameterValueException when they cannot be read or contradict each other.
    """
    text = request["FunctionName"] if "FunctionName" in request else request["Resource"]
    found = _NAME.fullmatch(text)
    if found is None:
        raise InvalidParameterValueException(f"{text} is not the name of a function.")
    given = request.get("Qualifier")
    if given is not None and found["qualifier"] not in (None, given):
        raise InvalidParameterValueException(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return Named(
        account_id=AccountId(found["account"] or call.account_id),
        region=Region(found["region"] or call.region),
        name=found["name"],
        qualifier=given or found["qualifier"],
    )


def function_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return the function that a call is about, with the policy of what its qualifier names."""
    try:
        asked = named(call, request)
    except InvalidParameterValueException:
        return Subject(arn=None, named=request.get("FunctionName", "*"))
    function = store.find_function(unit, asked.account_id, asked.region, asked.name)
    policy = None if function is None else store.find_policy(unit, function, asked.qualifier or "")
    return Subject(
        arn=asked.arn,
        named=asked.arn,
        policy=None if policy is None else policy.policy,
        conditions=lambda: _conditions(request, function),
    )


def require_function(call: Call, request: Request, unit: Unit) -> OwnFunction:
    """Return the function that a request names. Raises ResourceNotFoundException."""
    asked = named(call, request)
    if asked.region == call.region:
        function = store.find_function(unit, asked.account_id, asked.region, asked.name)
        if function is not None:
            return function
    raise not_found(asked.arn)


def require_version(call: Call, request: Request, unit: Unit) -> tuple[OwnFunction, FunctionVersion]:
    """Return the function and the version that a request names, by number or alias. Raises ResourceNotFoundException."""
    function = require_function(call, request, unit)
    qualifier = named(call, request).qualifier
    version = resolve(unit, function, qualifier)
    if version is None:
        raise not_found(f"{function.arn}:{qualifier}")
    return function, version


def resolve(unit: Unit, function: OwnFunction, qualifier: str | None) -> FunctionVersion | None:
    """Return the version that a qualifier stands for: itself, or the one of an alias; None for none."""
    if qualifier is None or qualifier == LATEST or qualifier.isdigit():
        return store.find_version(unit, function, qualifier or LATEST)
    alias = store.find_alias(unit, function, qualifier)
    return None if alias is None else store.find_version(unit, function, alias.version)


def require_alias(call: Call, request: Request, unit: Unit) -> tuple[OwnFunction, Alias]:
    """Return the alias that a request names. Raises ResourceNotFoundException."""
    function = require_function(call, request, unit)
    alias = store.find_alias(unit, function, request["Name"])
    if alias is None:
        raise ResourceNotFoundException(f"Cannot find alias arn: {function.arn}:{request['Name']}")
    return function, alias


def not_found(arn: str) -> ResourceNotFoundException:
    """Return the error for a function or version that is not there."""
    return ResourceNotFoundException(f"Function not found: {arn}")


def _conditions(request: Request, function: OwnFunction | None) -> ConditionValues:
    """Return Lambda's condition keys (Service Authorization Reference, "AWS Lambda")."""
    found: dict[str, Any] = {}
    if function is not None:
        found |= resource_tag_keys(function.tags)
        found["lambda:functionarn"] = [function.arn]
    given = request.get("Tags")
    if isinstance(given, dict):
        found |= request_tag_keys(given)
    elif "TagKeys" in request:
        found |= request_tag_keys((), request["TagKeys"])
    if "Principal" in request:
        found["lambda:principal"] = [request["Principal"]]
    return found
