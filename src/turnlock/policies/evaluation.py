"""The decision over one call, in the order of the IAM user guide, "Policy evaluation logic".

Pure: no store, no clock, no randomness. An action of `ALWAYS_ALLOWED` is allowed to whoever proved to be somebody. For all
others `weigh` walks these obligations; the first that fails is the denial's reason.

    1  No policy denies: the resource's, the principal's own and its groups', its boundary, its session's.
    2  Across accounts, the resource's policy allows (the principal by any of its names). So it must, in the same account too,
       where the subject says that it decides (KMS keys, roles to assume): there it may hand over to the account instead,
       and then obligation 4 stands. A grant (KMS) does as much as the policy's own word for the role or the user.
    3  In the same account, a policy of the resource that names the user, the session or everyone is enough by itself
       (for a hosted session it never is).
    4  Else a policy of the principal allows, unless the resource's names its role, or it is the account's root user, or a
       hosted session, which has no policies of its own.
    5  The permissions boundary allows, where there is one.
    6  One of the session's policies allows, where there are any. For a hosted session there must be one.

A service is nobody's identity: for it obligations 1 and 2 are all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from turnlock.core.action import Action, ConditionValues, Subject
from turnlock.core.call import Call, PrincipalKind
from turnlock.core.work import Work, WorkSpent
from turnlock.policies.asked import Asked
from turnlock.policies.attached import (
    NO_RULING,
    Allowed,
    Cited,
    Group,
    Policies,
    PolicyKind,
    Ruling,
    allowance,
    attach,
    denial,
)
from turnlock.policies.callers import NOBODY, Level, caller_of, named_caller
from turnlock.policies.context import Context, Holdings, account_of
from turnlock.policies.document import NamedPrincipal
from turnlock.policies.reader import Form

DESCRIBES: Final[Mapping[str, str]] = MappingProxyType(
    {"kms": "DescribeKey", "lambda": "GetFunction", "secretsmanager": "DescribeSecret"}
)
"""By service: the action whose right lets a denial show the ARN of what was found."""

ALWAYS_ALLOWED: Final = frozenset({("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")})
"""Actions, by service, that need no permission and that no policy can deny (STS API reference, each "Permissions")."""

OF_PLAIN_SESSIONS: Final = frozenset({("sts", "AssumeRole"), ("sts", "GetCallerIdentity")})
"""What of IAM and STS is left to credentials of GetSessionToken without MFA (STS API reference, GetSessionToken).

With MFA all of IAM is theirs; of STS it is these two all the same.
"""

TOO_MUCH_WORK: Final = "evaluating the policies takes more work than one request may cost"
"""Why a call is denied, or not simulated, whose policies nobody can weigh at a bounded cost (docs/decisions/0030)."""

NO_HOLDINGS: Final = Holdings()
_ALLOWED: Final = Allowed()


@dataclass(frozen=True, slots=True)
class Denied:
    """The call may not go on."""

    reason: str
    """The message of the AccessDeniedException."""
    by: Cited | None = field(default=None, compare=False, kw_only=True)
    """The statement that denies it; None where one is missing that allows."""
    lacking: PolicyKind | None = field(default=None, compare=False, kw_only=True)
    """The kind of policy that would have to allow it; None where one denies, and where deciding takes too much work."""


Decision = Allowed | Denied


class Standing(NamedTuple):
    """How the principal stands to the resource, beside the policies."""

    across: bool = False
    """True when they are of different accounts."""
    policy_decides: bool = False
    is_root: bool = False
    hosted: bool = False
    is_service: bool = False
    granted: Callable[[], bool] | None = None
    """Whether a grant lets the principal do it; None where there are no grants."""
    resource_kind: PolicyKind = PolicyKind.RESOURCE


Weighed = Allowed | Cited | PolicyKind
"""Allowed; or the statement that denies; or the kind of policy that does not allow."""


def decide(
    call: Call,
    action: Action,
    subject: Subject,
    holdings: Holdings = NO_HOLDINGS,
    work: Work | None = None,
) -> Decision:
    """Decide whether the caller may carry out this action on this subject; anything unknown is denied.

    `holdings` is what IAM holds for the call's principal, `work` what the request may still cost: where it does not suffice,
    the call is denied.
    """
    return decide_by_name(call, action.permission or action.name, subject, holdings, work)


def decide_by_name(
    call: Call, name: str, subject: Subject, holdings: Holdings, work: Work | None = None
) -> Decision:
    """Decide as `decide` does, over the action that has this name in policies, without its service."""
    work = work or Work()
    named = f"{call.service}:{name}"
    try:
        weighed = _weighed(call, name, subject, holdings, work)
    except WorkSpent:
        return Denied(
            f"User: {call.principal.arn} is not authorized to perform: {named} on resource: {subject.named}"
            f" because {TOO_MUCH_WORK}"
        )
    if isinstance(weighed, Allowed):
        return weighed
    shown, weighed = _shown(call, name, subject, holdings, weighed, work=work)
    start = f"User: {call.principal.arn} is not authorized to perform: {named} on resource: {shown}"
    if isinstance(weighed, PolicyKind):
        return Denied(f"{start} because no {weighed.value[0]} allows the {named} action", lacking=weighed)
    return Denied(f"{start} with an explicit deny in {weighed.kind.value[1]}", by=weighed)


def admits(
    policy: str | None,
    principal: NamedPrincipal,
    *,
    action: str,
    resource: str,
    conditions: ConditionValues,
    form: Form = Form.RESOURCE,
) -> bool:
    """Tell whether a policy of a resource lets in a service or an identity provider, which has no policies of its own.

    `action` is a full name such as `lambda:InvokeFunction`; `conditions` are all the keys that the call has, in lower
    case, such as `aws:sourcearn`.
    """
    if policy is None:
        return False
    kind = PolicyKind.TRUST if form is Form.TRUST else PolicyKind.RESOURCE
    policies = (attach(kind, resource, policy),)
    asked = Asked(
        action=action.lower(),
        resource=resource,
        lookup=lambda key: conditions.get(key, ()),
        caller=named_caller(principal.type, principal.name),
        work=Work(),
    )
    try:
        return denial(policies, asked) is None and allowance(policies, asked)[1] > Level.NONE
    except WorkSpent:
        return False


def weigh(asked: Asked, policies: Policies, standing: Standing) -> Weighed:
    """Walk the obligations in the order of their numbers. Raises WorkSpent."""
    # Obligation (1).
    denied = denial(policies.all, asked)
    if denied is not None:
        return denied.cited
    # Obligations (2) and (3).
    ruling, level = allowance(policies.resource, asked) if policies.resource else NO_RULING
    if level < Level.ROLE and standing.granted is not None and standing.granted():
        level = Level.ROLE
    if level is Level.NONE and (standing.across or standing.policy_decides or standing.is_service):
        return standing.resource_kind
    if standing.is_service or (level is Level.SELF and not standing.across and not standing.hosted):
        return _ALLOWED if ruling is None else ruling.allowed
    # Obligation (4).
    if not (standing.is_root or standing.hosted or (level >= Level.ROLE and not standing.across)):
        ruling, _ = allowance(policies.identity, asked)
        if ruling is None:
            return PolicyKind.IDENTITY
    return _narrowed(asked, policies, standing, ruling)


def _narrowed(asked: Asked, policies: Policies, standing: Standing, ruling: Ruling | None) -> Weighed:
    """Walk the obligations that only take away; `ruling` is what allows the call so far."""
    # Obligation (5).
    if policies.boundary and allowance(policies.boundary, asked)[0] is None:
        return PolicyKind.BOUNDARY
    # Obligation (6).
    if policies.session or standing.hosted:
        narrowed, _ = allowance(policies.session, asked)
        if narrowed is None:
            return PolicyKind.SESSION if policies.session else PolicyKind.IDENTITY
        ruling = ruling or narrowed
    return _ALLOWED if ruling is None else ruling.allowed


def policies_of(call: Call, subject: Subject, holdings: Holdings) -> Policies:
    """Return the policies that have a say in a call, compiled."""
    session, policy = call.session, subject.policy
    identity, boundary = _own(holdings)
    texts = (
        session.managed_policies if session.policy is None else (session.policy, *session.managed_policies)
    )
    return Policies(
        resource=()
        if policy is None
        else (attach(resource_kind(call, subject), subject.arn or subject.named, policy),),
        identity=identity,
        boundary=boundary,
        session=tuple([attach(PolicyKind.SESSION, call.principal.arn, text) for text in texts]),
    )


def _own(holdings: Holdings) -> tuple[Group, Group]:
    """Return (the principal's policies, its boundary), compiled once for as long as the holdings are shared."""
    own: tuple[Group, Group] | None = holdings.compiled.get("own")
    if own is None:
        boundary = holdings.boundary
        own = holdings.compiled["own"] = (
            tuple(attach(PolicyKind.IDENTITY, one.name, one.text) for one in holdings.policies),
            () if boundary is None else (attach(PolicyKind.BOUNDARY, boundary.name, boundary.text),),
        )
    return own


def standing_of(call: Call, subject: Subject) -> Standing:
    """Return how a call's principal stands to its subject."""
    principal, granted = call.principal, subject.granted
    return Standing(
        across=principal.account_id != account_of(call, subject),
        policy_decides=subject.policy_decides,
        is_root=principal.kind is PrincipalKind.ROOT,
        hosted=call.session.hosted,
        is_service=principal.kind is PrincipalKind.SERVICE,
        granted=None if granted is None else lambda: granted(principal),
        resource_kind=resource_kind(call, subject),
    )


def asked_of(call: Call, action: str, subject: Subject, context: Context, work: Work) -> Asked:
    """Return a call as policies see it; `action` is without its service."""
    return Asked(
        f"{call.service}:{action}".lower(),
        subject.named if subject.arn is None else subject.arn,
        context.values,
        NOBODY if subject.policy is None else caller_of(call.principal, context.holdings.role_arn),
        work,
    )


def resource_kind(call: Call, subject: Subject) -> PolicyKind:
    """Return what a policy of the call's subject is called: the trust policy of a role to assume, or a resource's."""
    return PolicyKind.TRUST if call.service == "sts" and subject.policy_decides else PolicyKind.RESOURCE


def _weighed(call: Call, action: str, subject: Subject, holdings: Holdings, work: Work) -> Weighed:
    if _is_beyond_sessions(call, action):
        return PolicyKind.IDENTITY
    if (call.service, action) in ALWAYS_ALLOWED:
        return _ALLOWED
    if _is_plain(call, subject, holdings):
        return _weighed_plainly(call, action, subject, holdings, work)
    asked = asked_of(call, action, subject, Context(call=call, holdings=holdings, subject=subject), work)
    return weigh(asked, policies_of(call, subject, holdings), standing_of(call, subject))


def _is_beyond_sessions(call: Call, action: str) -> bool:
    """Tell whether credentials of GetSessionToken cannot do this, whatever policies say."""
    session = call.session
    if session.created_at is None or call.principal.kind not in _LONG_LIVED:
        return False
    proved = call.service == "iam" and session.mfa_authenticated
    return call.service in _ABOUT_IDENTITY and not proved and (call.service, action) not in OF_PLAIN_SESSIONS


_LONG_LIVED: Final = frozenset({PrincipalKind.ROOT, PrincipalKind.USER})
_ABOUT_IDENTITY: Final = frozenset({"iam", "sts"})


def _is_plain(call: Call, subject: Subject, holdings: Holdings) -> bool:
    """Tell whether nothing but the principal's own policies has a say: most calls, on the way that every read goes."""
    session = call.session
    return (
        subject.policy is None
        and not subject.policy_decides
        and subject.granted is None
        and session.policy is None
        and not session.managed_policies
        and not session.hosted
        and holdings.boundary is None
        and call.principal.kind in _WITH_POLICIES
        and account_of(call, subject) == call.principal.account_id
    )


_WITH_POLICIES: Final = frozenset({PrincipalKind.ROOT, PrincipalKind.USER, PrincipalKind.ASSUMED_ROLE})


def _weighed_plainly(call: Call, action: str, subject: Subject, holdings: Holdings, work: Work) -> Weighed:
    """Walk the obligations that are left, 1 and 4: the same as `weigh` over the principal's own policies alone."""
    is_root = call.principal.kind is PrincipalKind.ROOT
    if is_root and not holdings.policies:
        return _ALLOWED
    own = _own(holdings)[0]
    asked = asked_of(call, action, subject, Context(call=call, holdings=holdings, subject=subject), work)
    denied = denial(own, asked)
    if denied is not None:
        return denied.cited
    ruling, _ = allowance(own, asked)
    if ruling is None:
        return _ALLOWED if is_root else PolicyKind.IDENTITY
    return ruling.allowed


def _shown(
    call: Call, name: str, subject: Subject, holdings: Holdings, denied: Cited | PolicyKind, *, work: Work
) -> tuple[str, Cited | PolicyKind]:
    """Return what a denial may show: the resource and what denied it.

    To who may describe the resource it is the ARN and what did deny. To others it is their own words, and what would deny an
    absent resource, so that neither the reason nor what it took tells the two apart. Where an absent one would not be denied,
    the caller's own policies let it look: it is told what denied, as on AWS.
    """
    describe = DESCRIBES.get(call.service)
    if describe is None:
        return subject.named, denied
    try:
        may_describe = isinstance(_weighed(call, describe, subject, holdings, work), Allowed)
        if may_describe and subject.arn is not None:
            return subject.arn, denied
        if subject.absent is not None:
            as_absent = _weighed(call, name, subject.absent(), holdings, work)
        elif subject.arn is None:
            as_absent = _weighed(call, name, subject, holdings, work)
        else:
            return subject.named, denied
    except WorkSpent:
        return subject.named, denied
    return subject.named, denied if isinstance(as_absent, Allowed) else as_absent
