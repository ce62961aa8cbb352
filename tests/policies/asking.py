"""Asking the evaluator: one call with its policies, in the words of AWS's documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from turnlock.accounts import root_principal
from turnlock.accounts.model import role_session
from turnlock.core.action import Action, Subject
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal, PrincipalKind, Session
from turnlock.policies import Allowed, Decision, Denied, Holdings, NamedPolicy, decide

ACCOUNT, OTHER = AccountId("111122223333"), AccountId("444455556666")
REGION = Region("eu-central-1")
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:prod/db-AbCdEf"
THEIRS = f"arn:aws:secretsmanager:{REGION}:{OTHER}:secret:theirs-AbCdEf"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

ROOT = root_principal(ACCOUNT)
ANN = Principal(
    kind=PrincipalKind.USER,
    arn=f"arn:aws:iam::{ACCOUNT}:user/team/ann",
    account_id=ACCOUNT,
    principal_id="AIDAANN",
)
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/service/reader"
READER = role_session(ACCOUNT, role_name="reader", role_id="AROAREADER", session_name="s1")
SERVICE = Principal(
    kind=PrincipalKind.SERVICE,
    arn="secretsmanager.amazonaws.com",
    account_id=ACCOUNT,
    principal_id="secretsmanager.amazonaws.com",
)
GET = "secretsmanager:GetSecretValue"


def document(*statements: Mapping[str, Any], version: str = "2012-10-17") -> str:
    """Return a policy of these statements."""
    return json.dumps({"Version": version, "Statement": list(statements)})


def allow(action: Any = GET, resource: Any = "*", **elements: Any) -> dict[str, Any]:
    """Return an Allow statement of an identity's policy; elements that are None are left out."""
    return _statement("Allow", action, resource, elements)


def deny(action: Any = GET, resource: Any = "*", **elements: Any) -> dict[str, Any]:
    """Return a Deny statement of an identity's policy; elements that are None are left out."""
    return _statement("Deny", action, resource, elements)


def _statement(effect: str, action: Any, resource: Any, elements: Mapping[str, Any]) -> dict[str, Any]:
    whole = {"Effect": effect, "Action": action, "Resource": resource, **elements}
    return {name: value for name, value in whole.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One call: by default Ann reads a secret of her account, and nothing allows it."""

    principal: Principal = ANN
    action: str = "GetSecretValue"
    service: str = "secretsmanager"
    resource: str | None = SECRET
    named: str = "prod/db"
    identity: Sequence[str] = ()
    boundary: str | None = None
    session: str | None = None
    managed: tuple[str, ...] = ()
    of_resource: str | None = None
    policy_decides: bool = False
    granted: Callable[[Principal], bool] | None = None
    hosted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    session_tags: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    """Members of the Call that differ."""
    issued: timedelta | None = None
    """How long ago temporary credentials were issued; None for long-term ones."""
    mfa: bool = False
    source_identity: str | None = None

    def decision(self) -> Decision:
        """Return what the evaluator decides."""
        return decide(self.made_call(), self._action(), self.made_subject(), self.made_holdings())

    def outcome(self) -> str:
        """Return `allowed`, `denied by X` for an explicit deny, or `no X allows`."""
        decision = self.decision()
        if isinstance(decision, Allowed):
            return "allowed"
        assert isinstance(decision, Denied)
        if decision.lacking is not None:
            return f"no {decision.lacking.value[0]} allows"
        assert decision.by is not None
        return f"denied by {decision.by.kind.value[1]}"

    def but(self, **changes: Any) -> Ask:
        """Return the same call with these differences."""
        return replace(self, **changes)

    def _action(self) -> Action:
        return Action(name=self.action, handler=_unused, subject=_unused, mutates=False)

    def made_subject(self) -> Subject:
        """Return what the call is about."""
        return Subject(
            arn=self.resource,
            named=self.named,
            policy=self.of_resource,
            policy_decides=self.policy_decides,
            granted=self.granted,
            conditions=lambda: self.conditions,
        )

    def made_holdings(self) -> Holdings:
        """Return what IAM holds for the principal."""
        boundary = None if self.boundary is None else NamedPolicy(name="boundary", text=self.boundary)
        return Holdings(
            policies=[NamedPolicy(name=f"p{number}", text=text) for number, text in enumerate(self.identity)],
            boundary=boundary,
            tags=self.tags,
            role_arn=ROLE_ARN if self.principal is READER else None,
        )

    def made_call(self) -> Call:
        """Return the call itself."""
        session = Session(
            access_key_id="AKIAEXAMPLE",
            created_at=None if self.issued is None else NOW - self.issued,
            mfa_authenticated=self.mfa,
            mfa_at=NOW - self.issued if self.mfa and self.issued is not None else None,
            source_identity=self.source_identity,
            policy=self.session,
            managed_policies=self.managed,
            tags=self.session_tags,
            hosted=self.hosted,
        )
        values: dict[str, Any] = {
            "principal": self.principal,
            "session": session,
            "account_id": self.principal.account_id,
            "region": REGION,
            "service": self.service,
            "action": self.action,
            "request_id": "r",
            "source_ip": "192.0.2.7",
            "user_agent": "aws-cli/2",
            "at": NOW,
            **self.call,
        }
        return Call(**values)


def _unused(*_: object) -> Any:
    raise AssertionError("deciding runs nothing")
