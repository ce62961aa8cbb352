"""STS's actions, and which of them there are."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from turnlock import accounts
from turnlock.accounts.model import role_session
from turnlock.core.action import no_resource
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal, PrincipalKind, Session
from turnlock.policies import Allowed, Denied, decide
from turnlock.shell.admission import Service
from turnlock.sts import STS_ACTIONS
from turnlock.sts.api import get_caller_identity
from turnlock.wire import Contract
from turnlock.wire.not_served import not_served

ACCOUNT, OTHER = AccountId("123456789012"), AccountId("999999999999")
ROOT = accounts.root_principal(ACCOUNT)
ROLE = role_session(ACCOUNT, role_name="rotation", role_id="AROAEXAMPLE", session_name="db")
SERVICE = Principal(
    kind=PrincipalKind.SERVICE, arn="turnlock.rotation", account_id=ACCOUNT, principal_id="rotation"
)
WHO = next(action for action in STS_ACTIONS if action.name == "GetCallerIdentity")
DENIAL = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"sts:GetCallerIdentity","Resource":"*"}]}'
)


def call(principal: Principal, *, policy: str | None = None, service: str = "sts") -> Call:
    return Call(
        principal=principal,
        session=Session(access_key_id="ASIAEXAMPLE", policy=policy),
        account_id=principal.account_id,
        region=Region("eu-central-1"),
        service=service,
        action="GetCallerIdentity",
        request_id="r",
        source_ip="127.0.0.1",
        user_agent="t",
        at=datetime(2026, 11, 23, tzinfo=UTC),
    )


def test_the_root_user_is_its_account() -> None:
    assert get_caller_identity(call(ROOT), {}, None) == {
        "UserId": "123456789012",
        "Account": "123456789012",
        "Arn": "arn:aws:iam::123456789012:root",
    }


def test_a_roles_session_is_the_role_under_the_sessions_name() -> None:
    assert get_caller_identity(call(ROLE), {}, None) == {
        "UserId": "AROAEXAMPLE:db",
        "Account": "123456789012",
        "Arn": "arn:aws:sts::123456789012:assumed-role/rotation/db",
    }


@pytest.mark.parametrize("principal", [ROOT, ROLE, SERVICE])
@pytest.mark.parametrize("policy", [None, DENIAL, "not a policy"])
def test_whoever_proved_to_be_somebody_may_ask_who_that_is_whatever_the_policies_say(
    principal: Principal, policy: str | None
) -> None:
    asked = call(principal, policy=policy)
    assert decide(asked, WHO, no_resource(asked, {}, None)) == Allowed()


def test_the_same_name_in_another_service_needs_a_permission() -> None:
    asked = call(ROLE, service="secretsmanager")
    assert isinstance(decide(asked, WHO, no_resource(asked, {}, None)), Denied)


def test_each_operation_of_sts_has_one_handler_or_a_reason() -> None:
    handled = [action.name for action in STS_ACTIONS]
    assert sorted([*handled, *not_served("sts")]) == sorted(Contract.load("sts").operations)
    assert Service.of("sts", STS_ACTIONS).passages.keys() == set(handled)


def test_asking_who_one_is_changes_nothing() -> None:
    assert not WHO.mutates
