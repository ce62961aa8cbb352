"""AssumeRole: whose role it is, what its session may be like, and the credentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from turnlock.accounts import (
    AWS_MANAGED,
    LONGEST_POLICY,
    Identity,
    SessionContext,
    new_session,
    role_session,
    versions_of,
)
from turnlock.core.action import Answer, ConditionValues, Request, Subject
from turnlock.core.arn import AccountId
from turnlock.core.call import Call, Fence, Principal, PrincipalKind
from turnlock.core.credentials import TemporaryCredentials
from turnlock.core.tags import resource_tag_keys
from turnlock.errors import AccessDeniedException, PackedPolicyTooLargeException, ValidationException
from turnlock.iam import (
    check_identity_policy,
    find_role,
    request_tag_conditions,
    require_permission,
    require_policy,
    require_right_code,
    tags_in,
)
from turnlock.storage import Unit

_HOUR: Final = 3_600
_MOST_PACKED: Final = 8_192
"""Characters of policies and tags together that this server lets a session carry; AWS packs them and names no figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWish:
    """What a caller wants a role's session to be like, checked as far as the request alone allows."""

    name: str
    seconds: int
    policy: str | None = None
    managed_policies: Sequence[str] = ()
    """Documents."""
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tags: tuple[str, ...] = ()
    source_identity: str | None = None

    @property
    def packed(self) -> int:
        """How many percent of what a session can carry these are."""
        texts = (self.policy or "", *self.managed_policies, *self.tags.keys(), *self.tags.values())
        return -(-100 * sum(map(len, texts)) // _MOST_PACKED)


def role_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return what a call about a RoleArn is about: the role, whose trust policy decides."""
    role = find_role(unit, request["RoleArn"])
    return Subject(
        arn=None if role is None else role.arn,
        named=request["RoleArn"],
        policy=None if role is None else role.trust_policy,
        policy_decides=True,
        conditions=lambda: _conditions(call, request, role),
    )


def assume_role(call: Call, request: Request, unit: Unit) -> Answer:
    """AssumeRole: credentials of a role's session; the gate has asked the trust policy.

    Raises AccessDeniedException for the root user and a role that is not there, ValidationException for a time, a tag or
    a policy that the session cannot have, PackedPolicyTooLargeException.
    """
    if call.principal.kind is PrincipalKind.ROOT:
        raise AccessDeniedException("Roles may not be assumed by root accounts.")
    role = find_role(unit, request["RoleArn"])
    if role is None:
        raise AccessDeniedException(
            f"User: {call.principal.arn} is not authorized to perform: sts:AssumeRole"
            f" on resource: {request['RoleArn']}"
        )
    wish = read_wish(call, request, unit, role)
    require_session_rights(unit, call, request, wish, role_subject(call, request, unit))
    # Not told of in the session: "The temporary credentials returned by AssumeRole do not include MFA information in the
    # context" (IAM user guide, "Configuring MFA-protected API access").
    require_right_code(call)
    return answer_session(unit, role, wish)


def require_session_rights(
    unit: Unit, call: Call, request: Request, wish: SessionWish, subject: Subject
) -> None:
    """Raise AccessDeniedException unless the caller may also give the session its tags and its source identity."""
    if wish.tags:
        require_permission(unit, call, "sts:TagSession", subject)
    if "SourceIdentity" in request:
        require_permission(unit, call, "sts:SetSourceIdentity", subject)


def issue_role_session(
    unit: Unit, *, role_arn: str, session_name: str, seconds: int, fence: Fence | None = None
) -> TemporaryCredentials:
    """Make a session of a role for a service that acts for its owner, such as a function's process.

    Who may pass the role was asked when it was passed. Raises ValidationException for a role that is not there.
    """
    role = find_role(unit, role_arn)
    if role is None:
        raise ValidationException(f"The role {role_arn} cannot be found.")
    return new_session(
        unit,
        session_principal(role, session_name),
        policy=None,
        seconds=seconds,
        fence=fence,
        context=SessionContext(),
    )


def session_principal(role: Identity, session_name: str) -> Principal:
    """Return the principal of a role's session of this name."""
    return role_session(role.account_id, role_name=role.name, role_id=role.id, session_name=session_name)


def read_wish(call: Call | None, request: Request, unit: Unit, role: Identity) -> SessionWish:
    """Return what a request wants the session to be like; `call` is None where no session of AWS's asks.

    Raises ValidationException, MalformedPolicyDocumentException, PackedPolicyTooLargeException, NoSuchEntityException.
    """
    # Before anything reads it: a policy can be as long as a body.
    if len(request.get("Policy", "")) > LONGEST_POLICY:
        raise PackedPolicyTooLargeException
    tags, transitive = _tags(call, request)
    wish = SessionWish(
        name=request["RoleSessionName"],
        seconds=_seconds(call, request, role),
        policy=request.get("Policy"),
        managed_policies=_managed_documents(unit, role.account_id, request),
        tags=tags,
        transitive_tags=transitive,
        source_identity=_source_identity(call, request),
    )
    if wish.policy is not None:
        check_identity_policy(wish.policy)
    arns = [one["arn"] for one in request.get("PolicyArns", ())]
    if len(wish.policy or "") + sum(map(len, arns)) > LONGEST_POLICY or wish.packed > 100:
        raise PackedPolicyTooLargeException
    return wish


def answer_session(unit: Unit, role: Identity, wish: SessionWish) -> dict[str, object]:
    """Make the session and return the members that every answer with one has."""
    principal = session_principal(role, wish.name)
    made = new_session(
        unit,
        principal,
        policy=wish.policy,
        seconds=wish.seconds,
        context=SessionContext(
            managed_policies=tuple(wish.managed_policies),
            tags=wish.tags,
            transitive_tags=wish.transitive_tags,
            source_identity=wish.source_identity,
        ),
    )
    return {
        "Credentials": credentials_members(made),
        "AssumedRoleUser": {"AssumedRoleId": principal.principal_id, "Arn": principal.arn},
        "PackedPolicySize": wish.packed if wish.policy or wish.managed_policies or wish.tags else None,
        "SourceIdentity": wish.source_identity,
    }


def credentials_members(made: TemporaryCredentials) -> dict[str, object]:
    """Return the Credentials of an answer."""
    return {
        "AccessKeyId": made.access_key_id,
        "SecretAccessKey": made.secret_access_key,
        "SessionToken": made.session_token,
        "Expiration": made.expires_at,
    }


def _seconds(call: Call | None, request: Request, role: Identity) -> int:
    seconds: int = request.get("DurationSeconds", _HOUR)
    if call is not None and call.principal.kind is PrincipalKind.ASSUMED_ROLE and seconds > _HOUR:
        raise ValidationException(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )
    if seconds > role.max_session_seconds:
        raise ValidationException(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    return seconds


def _managed_documents(unit: Unit, account_id: AccountId, request: Request) -> list[str]:
    """Return the documents of the managed policies that a request passes, as they are now."""
    found: list[str] = []
    for arn in (one["arn"] for one in request.get("PolicyArns", ())):
        if arn in AWS_MANAGED:
            found.append(AWS_MANAGED[arn].document)
            continue
        policy = require_policy(unit, account_id, arn)
        found += [one.document for one in versions_of(unit, policy) if one.number == policy.default_version]
    return found


def _tags(call: Call | None, request: Request) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return a session's tags, those that it inherits from a chain included, and the keys that it hands on."""
    given, keys = tags_in(request), request.get("TransitiveTagKeys", ())
    session = None if call is None else call.session
    inherited = {} if session is None else {key: session.tags[key] for key in session.transitive_tags}
    taken = {key.lower() for key in inherited}
    if any(key.lower() in taken for key in (*given, *keys)):
        raise ValidationException(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the"
            " calling session."
        )
    if not {key.lower() for key in keys} <= {key.lower() for key in given}:
        raise ValidationException("The specified transitive tag key must be included in the requested tags.")
    spoken = {key.lower() for key in keys}
    handed_on = (*inherited, *(key for key in given if key.lower() in spoken))
    return {**inherited, **given}, handed_on


def _source_identity(call: Call | None, request: Request) -> str | None:
    """Return who stands behind the session: once set in a chain it stays (STS API reference, AssumeRole)."""
    given: str | None = request.get("SourceIdentity")
    before = None if call is None else call.session.source_identity
    if before is not None and given not in (None, before):
        raise ValidationException("The source identity of a chain of roles cannot be changed.")
    return before or given


def _conditions(call: Call, request: Request, role: Identity | None) -> ConditionValues:
    """Return STS's condition keys (Service Authorization Reference, "AWS Security Token Service")."""
    found = dict(request_tag_conditions(request))
    for name, key in (
        ("ExternalId", "sts:externalid"),
        ("RoleSessionName", "sts:rolesessionname"),
        ("SourceIdentity", "sts:sourceidentity"),
    ):
        if name in request:
            found[key] = [request[name]]
    if "TransitiveTagKeys" in request:
        found["sts:transitivetagkeys"] = list(request["TransitiveTagKeys"])
    if "DurationSeconds" in request:
        found["sts:durationseconds"] = [str(request["DurationSeconds"])]
    if call.code_was_right:
        found |= {"aws:multifactorauthpresent": ["true"], "aws:multifactorauthage": ["0"]}
    tags = {} if role is None else role.tags
    return {**found, **resource_tag_keys(tags, "iam:resourcetag/")}
