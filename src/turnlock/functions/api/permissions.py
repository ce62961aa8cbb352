"""AddPermission, RemovePermission, GetPolicy: who else may invoke a function."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any, Final

from turnlock import accounts, policies
from turnlock.core.action import Action, Answer, ConditionValues, Request
from turnlock.core.arn import partition_of
from turnlock.core.call import Call
from turnlock.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from turnlock.functions.api import store
from turnlock.functions.api.model import LATEST, FunctionPolicy, OwnFunction
from turnlock.functions.api.names import function_subject, named, not_found, require_function, resolve
from turnlock.policies import NamedPrincipal, PrincipalType
from turnlock.storage import Unit

LONGEST_POLICY: Final = 20 * 1024
"""Bytes (Lambda quotas, "Resource-based policy")."""

_INVALID_PRINCIPAL: Final = "The provided principal was invalid. Please check the principal and try again."
_ACCOUNT = re.compile(r"[0-9]{12}")


def add_permission(call: Call, request: Request, unit: Unit) -> Answer:
    """AddPermission: one statement more. Raises ResourceConflictException when its id is taken."""
    function, qualifier, before = _policy(call, request, unit)
    document = _document(before)
    statement = _statement(request, function, qualifier)
    if any(one["Sid"] == statement["Sid"] for one in document["Statement"]):
        raise ResourceConflictException(
            f"The statement id ({statement['Sid']}) provided already exists. Please provide a new statement id, or remove"
            " the existing statement."
        )
    document["Statement"].append(statement)
    _save(unit, function, qualifier, before, document)
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


def remove_permission(call: Call, request: Request, unit: Unit) -> Answer:
    """RemovePermission."""
    function, qualifier, before = _policy(call, request, unit)
    document = _document(before)
    kept = [one for one in document["Statement"] if one["Sid"] != request["StatementId"]]
    if len(kept) == len(document["Statement"]):
        raise ResourceNotFoundException(
            f"Statement {request['StatementId']} is not found in resource policy."
        )
    _save(unit, function, qualifier, before, {**document, "Statement": kept})
    return {}


def get_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """GetPolicy."""
    _, _, policy = _policy(call, request, unit)
    if policy is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    shown = accounts.shown_policy(unit, policy.account_id, policy.policy)
    return {"Policy": shown, "RevisionId": policy.revision_id}


def lets_service_invoke(
    unit: Unit, function: OwnFunction, qualifier: str | None, *, service: str, conditions: ConditionValues
) -> bool:
    """Tell whether the function's policy lets a service, such as `secretsmanager.amazonaws.com`, invoke it."""
    policy = store.find_policy(unit, function, qualifier or "")
    return policies.admits(
        None if policy is None else policy.policy,
        NamedPrincipal(type=PrincipalType.SERVICE, name=service),
        action="lambda:InvokeFunction",
        resource=function.arn if qualifier is None else f"{function.arn}:{qualifier}",
        conditions=conditions,
    )


def _policy(call: Call, request: Request, unit: Unit) -> tuple[OwnFunction, str, FunctionPolicy | None]:
    """Return the function, the qualifier or an empty text, and their policy. Raises for what is not there or has changed."""
    function = require_function(call, request, unit)
    qualifier = named(call, request).qualifier or ""
    if qualifier == LATEST:
        raise InvalidParameterValueException("We currently do not support adding policies for $LATEST.")
    if qualifier and resolve(unit, function, qualifier) is None:
        raise not_found(f"{function.arn}:{qualifier}")
    policy = store.find_policy(unit, function, qualifier)
    wanted = request.get("RevisionId")
    if wanted is not None and (policy is None or policy.revision_id != wanted):
        raise PreconditionFailedException
    return function, qualifier, policy


def _document(policy: FunctionPolicy | None) -> dict[str, Any]:
    if policy is None:
        return {"Version": "2012-10-17", "Id": "default", "Statement": []}
    document: dict[str, Any] = json.loads(policy.policy)
    return document


def _statement(request: Request, function: OwnFunction, qualifier: str) -> dict[str, Any]:
    """Return the statement as AWS writes it."""
    statement: dict[str, Any] = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": _principal(request["Principal"], function),
        "Action": request["Action"],
        "Resource": f"{function.arn}:{qualifier}" if qualifier else function.arn,
    }
    conditions: dict[str, dict[str, str]] = {}
    for name, operator, key in (
        ("SourceAccount", "StringEquals", "AWS:SourceAccount"),
        ("PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"),
        ("EventSourceToken", "StringEquals", "lambda:EventSourceToken"),
        ("FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"),
        ("SourceArn", "ArnLike", "AWS:SourceArn"),
    ):
        if name in request:
            conditions.setdefault(operator, {})[key] = request[name]
    return {**statement, "Condition": conditions} if conditions else statement


def _principal(text: str, function: OwnFunction) -> str | dict[str, str]:
    if text == "*":
        return "*"
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:{partition_of(function.region)}:iam::{text}:root"}
    if text.startswith("arn:"):
        return {"AWS": text}
    if re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?", text):
        return {"Service": text}
    raise InvalidParameterValueException(_INVALID_PRINCIPAL)


def _saved(unit: Unit, text: str) -> str:
    try:
        return accounts.saved_policy(unit, text)
    except accounts.AbsentPrincipal:
        raise InvalidParameterValueException(_INVALID_PRINCIPAL) from None
    except ValueError as error:
        raise InvalidParameterValueException(f"The statement cannot be read: {error}") from None


def _save(
    unit: Unit, function: OwnFunction, qualifier: str, before: FunctionPolicy | None, document: dict[str, Any]
) -> None:
    text = _saved(unit, json.dumps(document, separators=(",", ":"))) if document["Statement"] else ""
    if len(text.encode()) > LONGEST_POLICY:
        raise PolicyLengthExceededException(
            f"The final policy size is bigger than the limit ({LONGEST_POLICY})."
        )
    after = FunctionPolicy(
        account_id=function.account_id,
        region=function.region,
        function=function.name,
        qualifier=qualifier,
        policy=text,
        revision_id=str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4)),
    )
    if before is None:
        store.POLICIES.insert(
            unit, after, taken=ResourceConflictException("The policy was made at the same time.")
        )
    elif document["Statement"]:
        store.POLICIES.replace(unit, before, after)
    else:
        store.POLICIES.delete(unit, before)


ACTIONS = (
    Action(name="AddPermission", handler=add_permission, subject=function_subject, mutates=True),
    Action(name="RemovePermission", handler=remove_permission, subject=function_subject, mutates=True),
    Action(name="GetPolicy", handler=get_policy, subject=function_subject, mutates=False),
)
