"""Who asks for what: the one value that every action receives beside its request.

Made for each request, and therefore structs of msgspec's (docs/decisions/0021-hot-path.md); `msgspec.structs.replace` changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, NoReturn

import msgspec

from turnlock.core.arn import AccountId, Region
from turnlock.errors import ApiError, StoreError


class PrincipalKind(Enum):
    """The `type` of CloudTrail's userIdentity element."""

    ROOT = "Root"
    """The account's root user."""
    USER = "IAMUser"
    """A user of the account, by a long-term key, a console session or GetSessionToken."""
    ASSUMED_ROLE = "AssumedRole"
    """Temporary credentials of a role, such as a rotation function's."""
    WEB_IDENTITY = "WebIdentityUser"
    """Who showed a token of an identity provider, and is nobody before a role is assumed with it."""
    SERVICE = "AWSService"
    """Turnlock itself, acting for a service (the scheduler, a background job)."""

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is a Python call at each look-up


class Principal(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """Whose authority a call carries."""

    kind: PrincipalKind
    arn: str
    account_id: AccountId
    principal_id: str
    """The stable id: the account id for root, `AIDA…` for a user, `AROA…:session-name` for a role session, the provider's ARN
    with audience and subject for a web identity."""


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """The fencing number that temporary credentials carry: they are good only while it is the newest."""

    account_id: AccountId
    region: Region
    lease: str
    number: int


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """How the principal came here."""

    access_key_id: str = ""
    created_at: datetime | None = None
    """When temporary credentials were issued (UTC); None for long-term keys."""
    mfa_authenticated: bool = False
    policy: str | None = None
    """The session policy (JSON) that narrows temporary credentials; None when nothing narrows them."""
    managed_policies: tuple[str, ...] = ()
    """Managed policies (JSON) that were passed as session policies too: together with `policy` they allow what any of them allows."""
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Session tags; they win over the tags of the role or user."""
    hosted: bool = False
    """True for a hosted function's session: no role stands behind it, `policy` is all its authority."""
    source_identity: str | None = None
    """Who stands behind a chain of roles, as the first AssumeRole said; None when it said nothing."""
    mfa_at: datetime | None = None
    """When a code of an MFA device was given for the session (UTC)."""
    transitive_tags: tuple[str, ...] = ()
    """Keys of the session tags that go on to the next role of a chain."""
    fence: Fence | None = None


def _outside(_operation: str, _request: Mapping[str, Any]) -> NoReturn:
    raise StoreError("Only what runs behind the gate can ask the gate.")


def _unprepared() -> NoReturn:
    raise StoreError("This action prepares nothing.")


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate hands an action beside the call, for as long as the action runs."""

    nested: Callable[[str, Mapping[str, Any]], Mapping[str, Any] | ApiError] = _outside
    """Passes another action's call through the gate for the same caller: (operation, request) to its answer or its error.

    An operation of the same service goes by its name, one of another service by its full name, such as `kms:Decrypt`.
    """
    require: Callable[[str, Mapping[str, Any]], None] = _outside
    """Raises AccessDeniedException unless the same caller may also do this: (operation, request), named in the same way."""
    prepared: Callable[[], Any] = _unprepared
    """Returns or raises what came of the action's `prepare`."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One authenticated request: made from SigV4, a console session or a role by the scheduler, and nowhere else."""

    principal: Principal
    session: Session = msgspec.field(default_factory=Session)
    account_id: AccountId
    region: Region
    service: str
    """The signing name, such as `secretsmanager`."""
    action: str
    """The operation's name in the service model, such as `GetSecretValue`."""
    request_id: str
    source_ip: str
    user_agent: str
    secure: bool = False
    """True when the request came over TLS."""
    at: datetime
    """When the request was received (UTC)."""
    code_was_right: bool | None = None
    """Whether the code of an MFA device that came with the request was right; None where none came, or no action judged it."""
    gate: Gate = Gate()
    """What else its caller may have done by the action, while one runs."""
    invoked_by: str | None = None
    """The service that makes this call for its caller, such as `secretsmanager.amazonaws.com`; None for a caller's own."""
