"""The decision over one call: sessions, the root user, and what a denial says. Whole policies are in test_outcomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.accounts import root_principal, rotation_policy
from turnlock.accounts.model import role_session
from turnlock.core.action import Action, Subject
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal, PrincipalKind, Session
from turnlock.policies import Allowed, Decision, Denied, decide

ACCOUNT, OTHER = AccountId("123456789012"), AccountId("999999999999")
SECRET = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:prod/db-AbCdEf"
ANOTHER = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:prod/other-GhIjKl"
FOREIGN = f"arn:aws:secretsmanager:eu-central-1:{OTHER}:secret:theirs-AbCdEf"
ROOT = root_principal(ACCOUNT)
ROLE = role_session(ACCOUNT, role_name="rotation", role_id="AROAEXAMPLE", session_name="db")
NOTHING = Subject(arn=None, named="*")


def unused(*_: object) -> Any:
    raise AssertionError("deciding runs nothing")


def action(name: str) -> Action:
    return Action(name=name, handler=unused, subject=unused, mutates=False)


def asks(
    name: str,
    subject: Subject,
    *,
    principal: Principal = ROLE,
    policy: str | None = None,
    account_id: AccountId = ACCOUNT,
    service: str = "secretsmanager",
) -> Decision:
    call = Call(
        principal=principal,
        session=Session(
            access_key_id="ASIAEXAMPLE", policy=policy, hosted=principal is ROLE and policy is not None
        ),
        account_id=account_id,
        region=Region("eu-central-1"),
        service=service,
        action=name,
        request_id="r",
        source_ip="127.0.0.1",
        user_agent="t",
        at=datetime(2026, 11, 23, tzinfo=UTC),
    )
    return decide(call, action(name), subject)


def found(arn: str, named: str | None = None) -> Subject:
    return Subject(arn=arn, named=named or arn)


def absent(named: str) -> Subject:
    return Subject(arn=None, named=named)


def policy(*statements: object, **changed: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **changed})


def allow(actions: object, resources: object, **more: object) -> dict[str, object]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


GET = "secretsmanager:GetSecretValue"


@pytest.mark.parametrize(
    "subject", [found(SECRET), found(SECRET, "prod/db"), absent("prod/none"), absent("arn:x"), NOTHING]
)
def test_the_root_user_may_do_everything_in_its_own_account(subject: Subject) -> None:
    assert asks("DeleteSecret", subject, principal=ROOT) == Allowed()


@pytest.mark.parametrize("subject", [found(FOREIGN), absent(FOREIGN), absent(FOREIGN[:-7])])
@pytest.mark.parametrize("principal", [ROOT, ROLE])
def test_another_accounts_secret_is_denied_alike_whether_it_is_there_or_not(
    subject: Subject, principal: Principal
) -> None:
    decision = asks("GetSecretValue", subject, principal=principal, policy=policy(allow(GET, FOREIGN)))
    assert decision == Denied(
        f"User: {principal.arn} is not authorized to perform: {GET} on resource: {subject.named}"
        f" because no resource-based policy allows the {GET} action"
    )


def test_a_call_into_another_account_is_denied() -> None:
    assert isinstance(asks("ListSecrets", NOTHING, principal=ROOT, account_id=OTHER), Denied)


def test_a_session_may_do_what_its_policy_names_and_nothing_else() -> None:
    narrowed = rotation_policy(SECRET)
    for name in ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"):
        assert asks(name, found(SECRET, "prod/db"), policy=narrowed) == Allowed()
        assert isinstance(asks(name, found(ANOTHER), policy=narrowed), Denied)
        assert isinstance(asks(name, NOTHING, policy=narrowed), Denied)
    assert asks("GetRandomPassword", NOTHING, policy=narrowed) == Allowed()
    for name in ("DeleteSecret", "RotateSecret", "GetSecretValueX"):
        assert isinstance(asks(name, found(SECRET), policy=narrowed), Denied)
    assert isinstance(asks("GetSecretValue", found(SECRET), policy=narrowed, service="lambda"), Denied)


def test_a_secret_that_is_gone_is_not_found_rather_than_denied_to_a_session_that_names_it() -> None:
    assert asks("GetSecretValue", absent(SECRET), policy=rotation_policy(SECRET)) == Allowed()
    assert isinstance(asks("GetSecretValue", absent("prod/db"), policy=rotation_policy(SECRET)), Denied)


def test_what_was_found_decides_and_not_what_the_caller_wrote() -> None:
    assert isinstance(asks("GetSecretValue", found(ANOTHER, SECRET), policy=rotation_policy(SECRET)), Denied)
    assert isinstance(
        asks("GetSecretValue", found(SECRET, ANOTHER), policy=policy(allow(GET, ANOTHER))), Denied
    )


def test_a_session_policy_narrows_the_root_user_too() -> None:
    narrowed = rotation_policy(SECRET)
    assert asks("GetSecretValue", found(SECRET), principal=ROOT, policy=narrowed) == Allowed()
    assert isinstance(asks("DeleteSecret", found(SECRET), principal=ROOT, policy=narrowed), Denied)


def test_a_role_without_a_session_policy_and_a_service_may_do_nothing() -> None:
    service = Principal(
        kind=PrincipalKind.SERVICE, arn="secretsmanager.amazonaws.com", account_id=ACCOUNT, principal_id="s"
    )
    for principal, narrowed in ((ROLE, None), (service, None), (service, rotation_policy(SECRET))):
        decision = asks("GetSecretValue", found(SECRET), principal=principal, policy=narrowed)
        assert isinstance(decision, Denied)
        kind = "resource" if principal is service else "identity"
        assert f"because no {kind}-based policy allows the" in decision.reason


def test_a_denial_reads_as_aws_writes_it() -> None:
    assert asks("GetSecretValue", found(ANOTHER, "prod/other"), policy=rotation_policy(SECRET)) == Denied(
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/rotation/db is not authorized to perform:"
        " secretsmanager:GetSecretValue on resource: prod/other because no session policy allows the"
        " secretsmanager:GetSecretValue action"
    )


def test_a_denial_shows_the_arn_only_to_who_may_describe_the_secret() -> None:
    def reason(subject: Subject, narrowed: str) -> str:
        decision = asks("DeleteSecret", subject, policy=narrowed)
        assert isinstance(decision, Denied)
        return decision.reason

    named = found(SECRET, "prod/db")
    assert f"on resource: {SECRET} because" in reason(named, rotation_policy(SECRET))
    assert "on resource: prod/db because" in reason(named, rotation_policy(ANOTHER))
    assert "on resource: prod/db because" in reason(named, policy(allow(GET, SECRET)))
    assert reason(named, rotation_policy(ANOTHER)) == reason(absent("prod/db"), rotation_policy(ANOTHER))
    assert "on resource: * because" in reason(NOTHING, rotation_policy(SECRET))


def test_a_denial_of_a_service_without_a_describing_action_shows_the_callers_words() -> None:
    decision = asks("Invoke", found(SECRET, "f"), policy=rotation_policy(SECRET), service="lambda")
    assert isinstance(decision, Denied)
    assert "lambda:Invoke on resource: f because" in decision.reason


OTHER_STATEMENT = allow("secretsmanager:DescribeSecret", SECRET)
NOT_UNDERSTOOD = [
    "",
    "{",
    "null",
    "[]",
    '"*"',
    "1",
    "{}",
    policy(allow(GET, SECRET), Version=["2012-10-17"]),
    policy(allow(GET, SECRET), Statement=None),
    policy(allow(GET, SECRET), Statement="x"),
    policy(allow(GET, SECRET), [OTHER_STATEMENT]),
    policy(allow(GET, SECRET), {"Effect": "allow", "Action": "a:B", "Resource": "*"}),
    policy(allow(GET, SECRET, Principal="*")),
    policy(allow(GET, SECRET), {"Effect": "Allow", "Action": "a:B"}),
    policy(allow([GET, 1], SECRET)),
    policy(allow(GET, [SECRET, None])),
    policy(allow({GET: 1}, SECRET)),
    policy(allow(GET, SECRET)).replace('"Action"', '"Effect": "Allow", "Action"'),
    policy(allow(GET, SECRET)) + "x",
    "[" * 2_000,
    '{"Version":' * 180,
]


@pytest.mark.parametrize("document", NOT_UNDERSTOOD)
def test_a_policy_that_is_not_wholly_understood_denies_everything(document: str) -> None:
    assert isinstance(asks("GetSecretValue", found(SECRET), policy=document), Denied)


@pytest.mark.parametrize(
    "document",
    [
        policy(allow(GET, SECRET)),
        policy(allow([GET], [SECRET], Sid="One")),
        policy(allow(["a:B", GET], ["*", SECRET])),
        policy(OTHER_STATEMENT, allow(GET, SECRET)),
        policy(Statement=allow(GET, SECRET)),
    ],
)
def test_every_plain_way_to_allow_is_understood(document: str) -> None:
    assert asks("GetSecretValue", found(SECRET), policy=document) == Allowed()


ACTIONS = ["GetSecretValue", "PutSecretValue", "DescribeSecret"]
RESOURCES = [SECRET, ANOTHER, "*"]
statements = st.fixed_dictionaries(
    {
        "Effect": st.just("Allow"),
        "Action": st.lists(
            st.sampled_from([f"secretsmanager:{name}" for name in ACTIONS]), min_size=1, max_size=3
        ),
        "Resource": st.lists(st.sampled_from(RESOURCES), min_size=1, max_size=3),
    }
)


@given(
    st.lists(statements, min_size=1, max_size=4),
    st.sampled_from(ACTIONS),
    st.sampled_from([found(SECRET), found(ANOTHER, "prod/other"), NOTHING]),
)
def test_a_session_is_allowed_exactly_what_some_statement_lists(
    listed: list[dict[str, Any]], name: str, subject: Subject
) -> None:
    wanted = subject.arn or "*"
    expected = any(
        f"secretsmanager:{name}" in statement["Action"] and {wanted, "*"} & set(statement["Resource"])
        for statement in listed
    )
    assert isinstance(asks(name, subject, policy=policy(*listed)), Allowed) is expected


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=10)
    | st.sampled_from([GET, SECRET, "Allow"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Version", "Statement", "Effect", "Action", "Resource", "Sid"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_hostile_policies_are_decided_and_never_raise(document: str) -> None:
    decision = asks("DeleteSecret", found(SECRET), policy=document)
    assert isinstance(decision, Denied)
