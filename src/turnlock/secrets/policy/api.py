"""The resource policy of a secret: putting, showing, deleting and checking it. `policies` evaluates it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec.structs import replace

from turnlock import accounts, policies
from turnlock.core.action import Action, Answer, Request, Subject
from turnlock.core.call import Call
from turnlock.errors import (
    InvalidNextTokenException,
    InvalidParameterException,
    MalformedPolicyDocumentException,
    PublicPolicyException,
    ResourceNotFoundException,
)
from turnlock.secrets.lookup import require_living, require_writable, secret_subject
from turnlock.secrets.model import Secret
from turnlock.secrets.policy.store import find_policy, save_policy
from turnlock.secrets.values.changes import update_secret
from turnlock.storage import Unit

_DEFAULT: Final = "default"
"""The only name that a policy can have."""

_SYNTAX: Final = "This resource policy contains a syntax error."
_PRINCIPAL: Final = "This resource policy contains an unsupported principal."
_SERVICE: Final = "This resource policy contains an invalid service principal."
_PUBLIC: Final = "This resource policy grants broad access to your secret."
_LOCK_OUT: Final = "Your requested changes will not allow you to manage this secret in the future."


def put_resource_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """PutResourcePolicy: replace the secret's policy.

    Raises MalformedPolicyDocumentException for what is no policy or names a principal that cannot be,
    PublicPolicyException for broad access where BlockPublicPolicy is true.
    """
    secret = require_writable(call, request, unit)
    if request.get("PolicyName", _DEFAULT) != _DEFAULT:
        raise InvalidParameterException("You can only attach the default policy.")
    text = request["ResourcePolicy"]
    try:
        document = policies.read_resource_policy(text)
    except ValueError as error:
        raise MalformedPolicyDocumentException(f"{_SYNTAX} {error}") from None
    if _names_nobody(unit, document):
        raise MalformedPolicyDocumentException(_PRINCIPAL)
    if policies.has_invalid_service(document):
        raise MalformedPolicyDocumentException(_SERVICE)
    if request.get("BlockPublicPolicy", False) and policies.is_public(document):
        raise PublicPolicyException(_PUBLIC)
    _change(unit, secret, accounts.saved_policy(unit, text))
    return _answer(secret, request)


def get_resource_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """GetResourcePolicy: the policy as it was put, but for principals that are gone; no member ResourcePolicy where there is none."""
    secret = require_living(call, request, unit)
    if request.get("PolicyName", _DEFAULT) != _DEFAULT:
        raise ResourceNotFoundException("Secrets Manager can't find a resource policy of this name.")
    text = find_policy(unit, secret)
    shown = None if text is None else accounts.shown_policy(unit, secret.account_id, text)
    return {**_answer(secret, request), "ResourcePolicy": shown}


def list_resource_policies(call: Call, request: Request, unit: Unit) -> Answer:
    """ListResourcePolicies: the names of a secret's policies, which is `default` or none: there is never a second page.

    Raises InvalidNextTokenException for any NextToken, because none is ever given out.
    """
    secret = require_living(call, request, unit)
    if "NextToken" in request:
        raise InvalidNextTokenException
    there = find_policy(unit, secret) is not None
    return {"ResourcePolicies": [{"PolicyName": _DEFAULT}] if there else []}


def delete_resource_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteResourcePolicy: take the policy away; a secret without one stays as it is."""
    secret = require_writable(call, request, unit)
    if request.get("PolicyName", _DEFAULT) != _DEFAULT:
        raise InvalidParameterException("You can only delete the default policy.")
    _change(unit, secret, None)
    return _answer(secret, request)


def validate_resource_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """ValidateResourcePolicy: say what is wrong with a policy, for a secret or for none in particular.

    The caller needs the right to put the policy too (API reference).
    """
    if "SecretId" in request:
        require_living(call, request, unit)
    call.gate.require("PutResourcePolicy", {"SecretId": request.get("SecretId", "*")})
    found = [{"CheckName": name, "ErrorMessage": message} for name, message in _findings(call, request, unit)]
    return {"PolicyValidationPassed": not found, "ValidationErrors": found}


def _policy_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return ValidateResourcePolicy's subject: a secret, or none."""
    return secret_subject(call, request, unit) if "SecretId" in request else Subject(arn=None, named="*")


ACTIONS = (
    Action(name="DeleteResourcePolicy", handler=delete_resource_policy, subject=secret_subject, mutates=True),
    Action(name="GetResourcePolicy", handler=get_resource_policy, subject=secret_subject, mutates=False),
    Action(
        name="ListResourcePolicies", handler=list_resource_policies, subject=secret_subject, mutates=False
    ),
    Action(name="PutResourcePolicy", handler=put_resource_policy, subject=secret_subject, mutates=True),
    Action(
        name="ValidateResourcePolicy",
        handler=validate_resource_policy,
        subject=_policy_subject,
        mutates=False,
    ),
)


def _regardless_of_policy(call: Call, request: Request, unit: Unit) -> Subject:
    return replace(secret_subject(call, request, unit), policy=None)


REMOVE_POLICY: Final = Action(
    name="DeleteResourcePolicy", handler=delete_resource_policy, subject=_regardless_of_policy, mutates=True
)
"""DeleteResourcePolicy by an operator with the data directory: no policy is evaluated."""


def _findings(call: Call, request: Request, unit: Unit) -> Iterator[tuple[str, str]]:
    """Yield (CheckName, ErrorMessage). The sentences are AWS's; AWS does not publish the names."""
    text = request["ResourcePolicy"]
    try:
        document = policies.read_resource_policy(text)
    except ValueError as error:
        yield "SYNTAX_ERROR", f"{_SYNTAX} {error}"
        return
    if _names_nobody(unit, document):
        yield "UNSUPPORTED_PRINCIPAL", _PRINCIPAL
    if policies.has_invalid_service(document):
        yield "INVALID_SERVICE_PRINCIPAL", _SERVICE
    if policies.is_public(document):
        yield "PUBLIC_ACCESS", _PUBLIC
    subject, holdings = _policy_subject(call, request, unit), accounts.holdings_of(unit, call.principal)
    if policies.locks_out(call, subject, text, "PutResourcePolicy", holdings, work=unit.work):
        yield "LOCK_OUT", _LOCK_OUT


def _names_nobody(unit: Unit, document: policies.Document) -> bool:
    """Tell whether a policy names a principal that cannot be, or that is not there."""
    return policies.has_unsupported_principal(document) or accounts.names_absent_principal(unit, document)


def _change(unit: Unit, secret: Secret, policy: str | None) -> None:
    """Write the policy; where it stays the same, the secret was not changed."""
    if find_policy(unit, secret) != policy:
        save_policy(unit, secret, policy)
        update_secret(unit, secret.evolve(last_changed_at=unit.now))


def _answer(secret: Secret, request: Request) -> dict[str, Any]:
    """Return the members of every answer. PolicyName is there only when the request has it: older models lack it."""
    named = {"PolicyName": _DEFAULT} if "PolicyName" in request else {}
    return {"ARN": secret.arn, "Name": secret.name, **named}
