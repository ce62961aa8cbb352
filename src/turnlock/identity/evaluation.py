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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from turnlock.core.action import Action, ConditionValues, Subject
from turnlock.core.call import Call, PrincipalKind
from turnlock.identity.callers import Level, caller_of, named_caller
from turnlock.identity.compiled import Asked, CompiledPolicy, CompiledStatement, compile_policy
from turnlock.identity.context import Context, account_of
from turnlock.identity.holdings import Holdings
from turnlock.identity.policy import NamedPrincipal
from turnlock.identity.policy_reader import Form

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

NO_HOLDINGS: Final = Holdings()


class PolicyKind(Enum):
    """The kinds of policies, in the words of AWS's denials: where one does not allow, and where one denies."""

    RESOURCE = ("resource-based policy", "a resource-based policy")
    TRUST = ("role trust policy", "the role trust policy")
    IDENTITY = ("identity-based policy", "an identity-based policy")
    BOUNDARY = ("permissions boundary", "a permissions boundary")
    SESSION = ("session policy", "a sessions policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """The statement that decided."""

    kind: PolicyKind
    policy: str
    """The policy's name, as `NamedPolicy` has it; the resource's ARN for its own policy."""
    number: int
    """The statement, from 1; 0 for a whole policy that cannot be read."""
    sid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The call may go on."""

    by: Cited | None = field(default=None, compare=False)
    """The statement that allows it; None where none is needed."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The call may not go on."""

    reason: str
    """The message of the AccessDeniedException."""
    by: Cited | None = field(default=None, compare=False, kw_only=True)
    """The statement that denies it; None where one is missing that allows."""
    lacking: PolicyKind | None = field(default=None, compare=False, kw_only=True)
    """The kind of policy that would have to allow it; None where one denies."""


Decision = Allowed | Denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A compiled policy with what it is attached to."""

    kind: PolicyKind
    name: str
    policy: CompiledPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Every policy that has a say in one call."""

    resource: Attached | None = None
    identity: Sequence[Attached] = ()
    boundary: Attached | None = None
    session: Sequence[Attached] = ()
    """Any of them may allow; empty where nothing narrows a session."""

    def each(self) -> list[Attached]:
        """Return all of them, in the order in which a denial is looked for."""
        alone = [one for one in (self.resource, *self.identity, self.boundary) if one is not None]
        return [*alone, *self.session]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
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


def decide(call: Call, action: Action, subject: Subject, holdings: Holdings = NO_HOLDINGS) -> Decision:
    """Decide whether the caller may carry out this action on this subject; anything unknown is denied.

    `holdings` is what IAM holds for the call's principal.
    """
    return decide_by_name(call, action.permission or action.name, subject, holdings)


def decide_by_name(call: Call, name: str, subject: Subject, holdings: Holdings) -> Decision:
    """Decide as `decide` does, over the action that has this name in policies, without its service."""
    weighed = _weighed(call, name, subject, holdings)
    if isinstance(weighed, Allowed):
        return weighed
    named = f"{call.service}:{name}"
    shown = _shown(call, subject, holdings)
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
    compiled = compile_policy(policy, form)
    asked = Asked(
        action=action.lower(),
        resource=resource,
        lookup=lambda key: conditions.get(key, ()),
        caller=named_caller(principal.type, principal.name),
    )
    refused = not compiled.readable or compiled.denying(asked) is not None
    return not refused and compiled.allowing(asked)[1] > Level.NONE


def weigh(asked: Asked, policies: Policies, standing: Standing) -> Weighed:
    """Walk the obligations in the order of their numbers."""
    # Obligation (1).
    denials = (_denial(attached, asked) for attached in policies.each())
    denied = next((one for one in denials if one is not None), None)
    if denied is not None:
        return denied
    # Obligations (2) and (3).
    cited, level = _allowance(policies.resource, asked)
    if level < Level.ROLE and standing.granted is not None and standing.granted():
        level = Level.ROLE
    if level is Level.NONE and (standing.across or standing.policy_decides or standing.is_service):
        return standing.resource_kind
    if standing.is_service or (level is Level.SELF and not standing.across and not standing.hosted):
        return Allowed(by=cited)
    # Obligation (4).
    if not (standing.is_root or standing.hosted or (level >= Level.ROLE and not standing.across)):
        cited = _first_allowing(policies.identity, asked)
        if cited is None:
            return PolicyKind.IDENTITY
    return _narrowed(asked, policies, standing, cited)


def _narrowed(asked: Asked, policies: Policies, standing: Standing, cited: Cited | None) -> Weighed:
    """Walk the obligations that only take away; `cited` is what allows the call so far."""
    # Obligation (5).
    if policies.boundary is not None and _first_allowing([policies.boundary], asked) is None:
        return PolicyKind.BOUNDARY
    # Obligation (6).
    if policies.session or standing.hosted:
        narrowed = _first_allowing(policies.session, asked)
        if narrowed is None:
            return PolicyKind.SESSION if policies.session else PolicyKind.IDENTITY
        return Allowed(by=cited or narrowed)
    return Allowed(by=cited)


def policies_of(call: Call, subject: Subject, holdings: Holdings) -> Policies:
    """Return the policies that have a say in a call, compiled."""
    session = call.session
    texts = (*(() if session.policy is None else (session.policy,)), *session.managed_policies)
    boundary = holdings.boundary
    return Policies(
        resource=None
        if subject.policy is None
        else _attached(resource_kind(call, subject), subject.arn or subject.named, subject.policy),
        identity=[_attached(PolicyKind.IDENTITY, one.name, one.text) for one in holdings.policies],
        boundary=None if boundary is None else _attached(PolicyKind.BOUNDARY, boundary.name, boundary.text),
        session=[_attached(PolicyKind.SESSION, call.principal.arn, text) for text in texts],
    )


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


def asked_of(call: Call, action: str, subject: Subject, context: Context) -> Asked:
    """Return a call as policies see it; `action` is without its service."""
    return Asked(
        action=f"{call.service}:{action}".lower(),
        resource=subject.named if subject.arn is None else subject.arn,
        lookup=context.values,
        caller=caller_of(call.principal, context.holdings.role_arn),
    )


def resource_kind(call: Call, subject: Subject) -> PolicyKind:
    """Return what a policy of the call's subject is called: the trust policy of a role to assume, or a resource's."""
    return PolicyKind.TRUST if call.service == "sts" and subject.policy_decides else PolicyKind.RESOURCE


def _weighed(call: Call, action: str, subject: Subject, holdings: Holdings) -> Weighed:
    if _is_beyond_sessions(call, action):
        return PolicyKind.IDENTITY
    if (call.service, action) in ALWAYS_ALLOWED or _is_plain_root(call, subject, holdings):
        return _ALLOWED
    context = Context(call=call, holdings=holdings, subject=subject)
    asked = asked_of(call, action, subject, context)
    return weigh(asked, policies_of(call, subject, holdings), standing_of(call, subject))


_ALLOWED: Final = Allowed()


def _is_beyond_sessions(call: Call, action: str) -> bool:
    """Tell whether credentials of GetSessionToken cannot do this, whatever policies say."""
    session = call.session
    if session.created_at is None or call.principal.kind not in _LONG_LIVED:
        return False
    proved = call.service == "iam" and session.mfa_authenticated
    return call.service in _ABOUT_IDENTITY and not proved and (call.service, action) not in OF_PLAIN_SESSIONS


_LONG_LIVED: Final = frozenset({PrincipalKind.ROOT, PrincipalKind.USER})
_ABOUT_IDENTITY: Final = frozenset({"iam", "sts"})


def _is_plain_root(call: Call, subject: Subject, holdings: Holdings) -> bool:
    """Tell whether the root user asks where no policy has a say: most of its calls."""
    session = call.session
    return (
        call.principal.kind is PrincipalKind.ROOT
        and subject.policy is None
        and not subject.policy_decides
        and session.policy is None
        and not session.managed_policies
        and not session.hosted
        and not holdings.policies
        and holdings.boundary is None
        and account_of(call, subject) == call.principal.account_id
    )


def _shown(call: Call, subject: Subject, holdings: Holdings) -> str:
    """Return what a denial may show: the ARN to who may describe the resource, else the caller's own words."""
    describe = DESCRIBES.get(call.service)
    if subject.arn is None or describe is None:
        return subject.named
    may_describe = isinstance(_weighed(call, describe, subject, holdings), Allowed)
    return subject.arn if may_describe else subject.named


_FORMS: Final = {PolicyKind.RESOURCE: Form.RESOURCE, PolicyKind.TRUST: Form.TRUST}


def _attached(kind: PolicyKind, name: str, text: str) -> Attached:
    return Attached(kind=kind, name=name, policy=compile_policy(text, _FORMS.get(kind, Form.IDENTITY)))


def _denial(attached: Attached, asked: Asked) -> Cited | None:
    if not attached.policy.readable:
        return Cited(kind=attached.kind, policy=attached.name, number=0, sid=None)
    statement = attached.policy.denying(asked)
    return None if statement is None else _cited(attached, statement)


def _allowance(attached: Attached | None, asked: Asked) -> tuple[Cited | None, Level]:
    if attached is None:
        return None, Level.NONE
    statement, level = attached.policy.allowing(asked)
    return (None if statement is None else _cited(attached, statement)), level


def _first_allowing(policies: Sequence[Attached], asked: Asked) -> Cited | None:
    for attached in policies:
        cited, _level = _allowance(attached, asked)
        if cited is not None:
            return cited
    return None


def _cited(attached: Attached, statement: CompiledStatement) -> Cited:
    return Cited(kind=attached.kind, policy=attached.name, number=statement.number, sid=statement.source.sid)
