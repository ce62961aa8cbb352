"""Rights that are no operations: passing a role to a service, tagging a session."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from turnlock.accounts import holdings_of
from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.arn import AccountId
from turnlock.core.call import Call
from turnlock.core.tags import resource_tag_keys
from turnlock.errors import AccessDeniedException, StoreError
from turnlock.iam.lookup import find_role
from turnlock.policies import Denied, Form, NamedPrincipal, PrincipalType, admits, decide
from turnlock.storage import Unit


def require_permission(unit: Unit, call: Call, permission: str, subject: Subject) -> None:
    """Raise AccessDeniedException unless the caller has a right, such as `sts:TagSession`, on a subject."""
    service, _, name = permission.partition(":")
    action = Action(name=name, handler=_nothing, subject=no_resource, mutates=False)
    decision = decide(
        replace(call, service=service), action, subject, holdings_of(unit, call.principal), unit.work
    )
    if isinstance(decision, Denied):
        raise AccessDeniedException(decision.reason)


def require_pass_role(unit: Unit, call: Call, role_arn: str, service: str) -> None:
    """Raise AccessDeniedException unless the caller may pass this role to a service, such as `lambda.amazonaws.com`.

    IAM user guide, "Granting a user permissions to pass a role to an AWS service". Whether the role is there, and whether
    it lets the service in, is another question: `service_may_assume`.
    """
    role = find_role(unit, role_arn)
    tags = {} if role is None else role.tags
    require_permission(
        unit,
        call,
        "iam:PassRole",
        Subject(
            arn=role_arn,
            named=role_arn,
            conditions=lambda: {
                "iam:passedtoservice": [service],
                **resource_tag_keys(tags, "iam:resourcetag/"),
            },
        ),
    )


def service_may_assume(unit: Unit, role_arn: str, service: str, *, source_account: AccountId) -> bool:
    """Tell whether a role is there and its trust policy lets a service in, on behalf of an account."""
    role = find_role(unit, role_arn)
    return role is not None and admits(
        role.trust_policy,
        NamedPrincipal(type=PrincipalType.SERVICE, name=service),
        action=_ASSUME,
        resource=role.arn,
        conditions={"aws:sourceaccount": [source_account]},
        form=Form.TRUST,
    )


_ASSUME: Final = "sts:AssumeRole"


def _nothing(_call: Call, _request: Request, _unit: object) -> Answer:
    raise StoreError("A permission is no operation.")
