"""From a request to what it names: for the gate, which must not fail on what is absent, and for the actions, which must."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from turnlock.accounts import (
    AWS_MANAGED,
    TAGS,
    Identity,
    Kind,
    ManagedPolicy,
    find_identity,
    find_policy,
    identities_by_id,
    identity_arn,
    policy_arn,
)
from turnlock.core.action import ConditionValues, Request, Subject
from turnlock.core.arn import AccountId, Arn
from turnlock.core.call import Call, PrincipalKind
from turnlock.core.pages import Pages
from turnlock.core.tags import TagRules, request_tag_keys, resource_tag_keys
from turnlock.errors import (
    InvalidInputException,
    LimitExceededException,
    NoSuchEntityException,
    ValidationException,
)
from turnlock.storage import Unit

Subjects = Callable[[Call, Request, Unit], Subject]

PAGES: Final = Pages(
    size="MaxItems",
    following="Marker",
    truncated="IsTruncated",
    default=100,
    most=100,
    invalid=lambda: ValidationException("Invalid Marker."),
)
"""The pages of IAM's lists: IAM "might return fewer than MaxItems" (API reference), and a read holds the event loop for 50 ms at most."""
RULES: Final = TagRules(
    any_case=True,
    most=TAGS,
    too_many=lambda: LimitExceededException(f"The number of tags has reached the maximum limit: {TAGS}"),
    is_reserved=lambda: InvalidInputException("Tag keys that begin with aws: are reserved for AWS."),
    duplicate=lambda: InvalidInputException(
        "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    ),
)
"""The tags of IAM's entities and of sessions."""


def require_identity(unit: Unit, account_id: AccountId, kind: Kind, name: str) -> Identity:
    """Return the identity of this name. Raises NoSuchEntityException."""
    found = find_identity(unit, account_id, kind, name)
    if found is None:
        raise no_such(kind, name)
    return found


def named_identity(call: Call, request: Request, unit: Unit, kind: Kind) -> Identity:
    """Return the identity that `UserName`, `GroupName` or `RoleName` names; without a UserName, the user that calls.

    Raises NoSuchEntityException; ValidationException where the caller is no user and names none.
    """
    name = request.get(f"{kind.value}Name")
    if name is not None:
        return require_identity(unit, call.account_id, kind, name)
    user = calling_user(call, unit)
    if user is None:
        raise ValidationException("Must specify userName when calling with non-User credentials")
    return user


def calling_user(call: Call, unit: Unit) -> Identity | None:
    """Return the user who calls, None where it is no user."""
    if call.principal.kind is not PrincipalKind.USER:
        return None
    found = identities_by_id(unit, call.principal.account_id, [call.principal.principal_id])
    return found[0] if found else None


def find_role(unit: Unit, role_arn: str) -> Identity | None:
    """Return the role of an ARN, in whichever account; None for one that is not there or no role's ARN."""
    try:
        arn = Arn.parse(role_arn)
    except ValueError:
        return None
    noun, _, path = arn.resource.partition("/")
    if (arn.service, noun) != ("iam", "role"):
        return None
    role = find_identity(unit, AccountId(arn.account_id), Kind.ROLE, path.rpartition("/")[2])
    return role if role is not None and role.arn == role_arn else None


def no_such(kind: Kind, name: str) -> NoSuchEntityException:
    """Return AWS's error for an identity that is not there."""
    return NoSuchEntityException(f"The {kind.noun} with name {name} cannot be found.")


def require_policy(unit: Unit, account_id: AccountId, arn: str) -> ManagedPolicy:
    """Return an account's own managed policy, to be changed.

    Raises NoSuchEntityException; InvalidInputException for a policy of AWS, which nobody changes.
    """
    if arn in AWS_MANAGED:
        raise InvalidInputException(f"Cannot perform the operation on the AWS managed policy {arn}.")
    found = find_policy(unit, account_id, arn)
    if found is None:
        raise NoSuchEntityException(f"Policy {arn} was not found.")
    return found


def check_policy(unit: Unit, account_id: AccountId, arn: str) -> None:
    """Raise NoSuchEntityException unless the account can use this managed policy: its own, or one of AWS's."""
    if arn not in AWS_MANAGED and find_policy(unit, account_id, arn) is None:
        beside = ""
        if arn.startswith("arn:aws:iam::aws:policy/"):
            beside = " This server has the policies of AWS that ListPolicies shows with Scope=AWS."
        raise NoSuchEntityException(f"Policy {arn} does not exist or is not attachable.{beside}")


def identity_subject(kind: Kind) -> Subjects:
    """Return the finder of subjects that a name (`UserName` …) stands for."""

    def subject(call: Call, request: Request, unit: Unit) -> Subject:
        name = request.get(f"{kind.value}Name")
        found = (
            calling_user(call, unit)
            if name is None and kind is Kind.USER
            else find_identity(unit, call.account_id, kind, str(name))
        )
        if found is not None:
            return Subject(
                arn=found.arn,
                named=f"{kind.noun} {found.name if name is None else name}",
                conditions=lambda: conditions(request, found.tags, boundary=found.boundary),
            )
        if name is None:
            return Subject(arn=call.principal.arn, named=call.principal.arn)
        return Subject(
            arn=identity_arn(call.account_id, kind, name),
            named=f"{kind.noun} {name}",
            conditions=lambda: conditions(request),
        )

    return subject


def new_identity_subject(kind: Kind) -> Subjects:
    """Return the finder of subjects for an identity that is to be made."""

    def subject(call: Call, request: Request, _unit: Unit) -> Subject:
        name = request[f"{kind.value}Name"]
        arn = identity_arn(call.account_id, kind, name, request.get("Path", "/"))
        return Subject(arn=arn, named=arn, conditions=lambda: conditions(request))

    return subject


def policy_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return what a call about a PolicyArn is about."""
    arn = request["PolicyArn"]
    found = find_policy(unit, call.account_id, arn)
    tags = {} if found is None else found.tags
    return Subject(arn=arn, named=f"policy {arn}", conditions=lambda: conditions(request, tags))


def new_policy_subject(call: Call, request: Request, _unit: Unit) -> Subject:
    """Return what CreatePolicy is about."""
    arn = policy_arn(call.account_id, request["PolicyName"], request.get("Path", "/"))
    return Subject(arn=arn, named=f"policy {request['PolicyName']}", conditions=lambda: conditions(request))


def conditions(
    request: Request, tags: Mapping[str, str] | None = None, *, boundary: str | None = None
) -> ConditionValues:
    """Return the condition keys of IAM's actions (Service Authorization Reference, "AWS Identity and Access Management")."""
    found: dict[str, Sequence[str]] = {
        **resource_tag_keys(tags or {}, "iam:resourcetag/"),
        **request_tag_conditions(request),
    }
    if "PolicyArn" in request:
        found["iam:policyarn"] = [request["PolicyArn"]]
    boundary = request.get("PermissionsBoundary", boundary)
    if boundary is not None:
        found["iam:permissionsboundary"] = [boundary]
    return found


def request_tag_conditions(request: Request) -> ConditionValues:
    """Return the keys that tell which tags a request gives or takes."""
    return request_tag_keys(RULES.pairs(request), request.get("TagKeys", ()))


def tags_in(request: Request, before: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return `before` with the Tags of a request; keys are told apart without regard to case.

    Raises InvalidInputException for a key given twice or reserved, LimitExceededException for too many.
    """
    return RULES.merged(before or {}, RULES.read(request))
