"""The condition keys of one call: those of every service here, those of one service from the call's subject.

Names and meanings are those of the IAM user guide, "AWS global condition context keys". Keys are compared without regard to
case, tag keys in them too; where two tags differ in case alone, their key has both values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from turnlock.core.action import ConditionValues, Subject
from turnlock.core.arn import Arn
from turnlock.core.call import Call, PrincipalKind
from turnlock.core.tags import tag_keys
from turnlock.policies.callers import role_of

_PRINCIPAL_TAG: Final = "aws:principaltag/"
_TYPES: Final = {
    PrincipalKind.ROOT: "Account",
    PrincipalKind.USER: "User",
    PrincipalKind.ASSUMED_ROLE: "AssumedRole",
}
_NONE: Final[Sequence[str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPolicy:
    """One policy document with the name by which a person finds it."""

    name: str
    """The ARN of a managed policy; for an inline policy the ARN of what it stands in, `/`, and its name."""
    text: str = field(repr=False)
    """JSON, its MAC already checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What counts for one user or role at the moment of one request. Shared between requests while nothing is committed."""

    policies: Sequence[NamedPolicy] = ()
    """Inline and managed policies of the user and its groups, or of the role."""
    boundary: NamedPolicy | None = None
    """The permissions boundary; None where none is set."""
    tags: Mapping[str, str] = field(default_factory=dict)
    role_arn: str | None = None
    """The ARN of the role, its path included, whose session it is; None for what is no role's session."""
    user_name: str | None = None
    """`aws:username`; None for what is no user."""
    compiled: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What the evaluator made of the policies, for as long as they are shared; nobody else looks at it."""


@dataclass(slots=True, kw_only=True)
class Context:
    """What conditions and variables can ask of one call; what it takes a read to know is asked at most once."""

    call: Call
    holdings: Holdings
    subject: Subject
    further: ConditionValues | None = None
    """Keys, in lower case, that are set from outside and win: what an operator asks about."""
    _of_service: ConditionValues | None = None
    _tags: ConditionValues | None = None

    def values(self, key: str) -> Sequence[str]:
        """Return the values of a key, which is given in lower case; none where the call has no such key."""
        found = None if self.further is None else self.further.get(key)
        if found is None:
            own = _GLOBAL.get(key)
            found = (_NONE if own is None else own(self)) or self._others(key)
        return found

    def _others(self, key: str) -> Sequence[str]:
        if key.startswith(_PRINCIPAL_TAG):
            if self._tags is None:
                # A session's tag replaces the role's, whose key may differ in case (IAM user guide, "Session tags").
                self._tags = tag_keys(_PRINCIPAL_TAG, self.holdings.tags) | tag_keys(
                    _PRINCIPAL_TAG, self.call.session.tags
                )
            return self._tags.get(key, _NONE)
        if self._of_service is None:
            self._of_service = self.subject.conditions()
        return self._of_service.get(key, _NONE)


def account_of(call: Call, subject: Subject) -> str:
    """Return the account that the resource is in, found or not: both must be answered alike."""
    return _account_in(subject.arn or subject.named) or call.account_id


@lru_cache(maxsize=4096)
def _account_in(named: str) -> str | None:
    try:
        account = Arn.parse(named).account_id
    except ValueError:
        return None
    # What AWS owns (`arn:aws:iam::aws:policy/…`) is in every account.
    return account if account.isdecimal() else None


def _principal_arn(context: Context) -> Sequence[str]:
    principal = context.call.principal
    role = context.holdings.role_arn or role_of(principal)
    return () if principal.kind is PrincipalKind.SERVICE else (role or principal.arn,)


def _user_name(context: Context) -> Sequence[str]:
    principal = context.call.principal
    if principal.kind is not PrincipalKind.USER:
        return ()
    return (context.holdings.user_name or principal.arn.rpartition("/")[2],)


def _service_name(context: Context) -> Sequence[str]:
    principal = context.call.principal
    return (principal.arn,) if principal.kind is PrincipalKind.SERVICE else ()


def _type(context: Context) -> Sequence[str]:
    kind = _TYPES.get(context.call.principal.kind)
    return () if kind is None else (kind,)


def _mfa_present(context: Context) -> Sequence[str]:
    # Absent, and not false, for long-term keys: "AWS global condition context keys", aws:MultiFactorAuthPresent.
    session = context.call.session
    return () if session.created_at is None else (_spelled(session.mfa_authenticated),)


def _mfa_age(context: Context) -> Sequence[str]:
    proved = context.call.session.mfa_at
    return () if proved is None else (str(int((context.call.at - proved).total_seconds())),)


def _source_identity(context: Context) -> Sequence[str]:
    stands_behind = context.call.session.source_identity
    return () if stands_behind is None else (stands_behind,)


def _issued(context: Context) -> Sequence[str]:
    issued = context.call.session.created_at
    return () if issued is None else (_moment(issued),)


def _source_ip(context: Context) -> Sequence[str]:
    # A service that calls for somebody has no address of the caller's network.
    known = context.call.source_ip and not context.call.invoked_by
    return (context.call.source_ip,) if known else ()


def _called_via(context: Context) -> Sequence[str]:
    return () if context.call.invoked_by is None else (context.call.invoked_by,)


def _kms_via(context: Context) -> Sequence[str]:
    call = context.call
    if call.service != "kms" or call.invoked_by is None:
        return ()
    return (call.invoked_by.replace(".", f".{call.region}.", 1),)


def _kms_caller(context: Context) -> Sequence[str]:
    return (context.call.principal.account_id,) if context.call.service == "kms" else ()


def _spelled(value: bool) -> str:
    return "true" if value else "false"


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


_GLOBAL: Final[Mapping[str, Callable[[Context], Sequence[str]]]] = {
    "aws:calledvia": _called_via,
    "aws:calledviafirst": _called_via,
    "aws:calledvialast": _called_via,
    "aws:currenttime": lambda context: (_moment(context.call.at),),
    "aws:epochtime": lambda context: (str(int(context.call.at.timestamp())),),
    "aws:multifactorauthage": _mfa_age,
    "aws:multifactorauthpresent": _mfa_present,
    "aws:principalaccount": lambda context: (context.call.principal.account_id,),
    "aws:principalarn": _principal_arn,
    "aws:principalisawsservice": lambda context: (
        _spelled(context.call.principal.kind is PrincipalKind.SERVICE),
    ),
    "aws:principalservicename": _service_name,
    "aws:principaltype": _type,
    "aws:requestedregion": lambda context: (context.call.region,),
    "aws:resourceaccount": lambda context: (account_of(context.call, context.subject),),
    "aws:securetransport": lambda context: (_spelled(context.call.secure),),
    "aws:sourceidentity": _source_identity,
    "aws:sourceip": _source_ip,
    "aws:tokenissuetime": _issued,
    "aws:useragent": lambda context: (context.call.invoked_by or context.call.user_agent,),
    "aws:userid": lambda context: (context.call.principal.principal_id,),
    "aws:username": _user_name,
    "aws:viaawsservice": lambda context: (_spelled(context.call.invoked_by is not None),),
    "kms:calleraccount": _kms_caller,
    "kms:viaservice": _kms_via,
}
"""By key in lower case: its values. `kms:` keys are here because the gate alone knows who makes a call for whom."""
