"""AssumeRole: whom the trust policy lets in, from this account and another, and what the session then carries."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from tests.calling import refusal
from tests.iam.calling import ACCOUNT, OTHER, READ, Caller, user_principal
from tests.support import SettableClock
from turnlock import accounts, sts
from turnlock.accounts import Credential
from turnlock.accounts.credentials import find_credential, unseal_secret
from turnlock.accounts.entities.holdings import holdings_of
from turnlock.accounts.entities.tables import identities
from turnlock.core.call import Call, PrincipalKind
from turnlock.errors import (
    AccessDeniedException,
    ExpiredTokenException,
    MalformedPolicyDocumentException,
    PackedPolicyTooLargeException,
    UnrecognizedClientException,
    ValidationException,
)
from turnlock.iam import require_pass_role, service_may_assume
from turnlock.policies import Holdings
from turnlock.storage import Unit

ROLE = f"arn:aws:iam::{ACCOUNT}:role/app/reader"
ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"


def trust(principal: object, action: object = "sts:AssumeRole", **condition: object) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action}
    more = {"Condition": condition} if condition else {}
    return json.dumps({"Version": "2012-10-17", "Statement": {**statement, **more}})


def make_user(iam: Caller, name: str = "ann", policy: str | None = None, **more: Any) -> Caller:
    """Make a user with an inline policy, and return that user calling STS."""
    made = iam("CreateUser", UserName=name, **more)["User"]
    if policy is not None:
        iam("PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=policy)
    return iam.elsewhere(service="sts", principal=user_principal(made))


def may(action: object, resource: object = "*") -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def make_role(iam: Caller, policy: str, **more: Any) -> None:
    iam("CreateRole", RoleName="reader", Path="/app/", AssumeRolePolicyDocument=policy, **more)


def assume(caller: Caller, **more: Any) -> dict[str, Any]:
    return caller("AssumeRole", RoleArn=ROLE, RoleSessionName="s1", **more)


def found(caller: Caller, answer: dict[str, Any]) -> Credential:
    """Return the credential that an answer's credentials are."""
    given = answer["Credentials"]

    def look(unit: Unit) -> Credential:
        credential = find_credential(unit, given["AccessKeyId"], given["SessionToken"], unit.now)
        assert unseal_secret(unit, credential) == given["SecretAccessKey"]
        return credential

    return caller.database.read(look)


def as_session(caller: Caller, answer: dict[str, Any]) -> Caller:
    """Return the caller that has the answer's credentials."""
    credential = found(caller, answer)
    return caller.elsewhere(principal=credential.principal, session=credential.session)


def test_a_user_whom_the_trust_policy_names_becomes_the_role(iam: Caller, clock: SettableClock) -> None:
    ann = make_user(iam)
    make_role(iam, trust(ann.principal.arn))
    iam("PutRolePolicy", RoleName="reader", PolicyName="p", PolicyDocument=READ)
    answer = assume(ann, DurationSeconds=900)
    role = iam("GetRole", RoleName="reader")["Role"]
    assert answer["AssumedRoleUser"] == {
        "AssumedRoleId": f"{role['RoleId']}:s1",
        "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/s1",
    }
    assert answer["Credentials"]["Expiration"] == clock.now() + timedelta(seconds=900)
    session = as_session(ann, answer)
    assert session.principal.kind is PrincipalKind.ASSUMED_ROLE
    assert session("GetCallerIdentity")["UserId"] == f"{role['RoleId']}:s1"
    held: Holdings = iam.database.read(lambda unit: holdings_of(unit, session.principal))
    assert ([one.text for one in held.policies], held.role_arn) == ([READ], ROLE)
    assert not session.session.hosted
    clock.advance(timedelta(seconds=900))
    with pytest.raises(ExpiredTokenException):
        found(ann, answer)


def test_an_account_that_is_trusted_hands_the_right_on_by_its_own_policies(iam: Caller) -> None:
    make_role(iam, trust(f"arn:aws:iam::{ACCOUNT}:root"))
    ann, bob = make_user(iam), make_user(iam, "bob", may("sts:AssumeRole", ROLE))
    code, message = refusal(lambda: assume(ann))
    assert (code, message.partition(" because ")[0]) == (
        "AccessDeniedException",
        f"User: {ann.principal.arn} is not authorized to perform: sts:AssumeRole on resource: {ROLE}",
    )
    assert assume(bob)["AssumedRoleUser"]["Arn"].endswith("/s1")


def test_a_right_of_ones_own_is_nothing_without_the_roles_trust(iam: Caller) -> None:
    make_role(iam, trust(f"arn:aws:iam::{OTHER}:root"))
    ann = make_user(iam, policy=may("*"))
    assert refusal(lambda: assume(ann))[1].endswith("role trust policy allows the sts:AssumeRole action")


def test_a_role_that_is_absent_is_denied_as_one_that_is_forbidden(iam: Caller) -> None:
    ann = make_user(iam, policy=may("sts:AssumeRole"))
    absent = refusal(lambda: assume(ann))
    make_role(iam, trust(f"arn:aws:iam::{OTHER}:root"))
    assert refusal(lambda: assume(ann)) == absent
    wrong_path = ROLE.replace("/app/", "/")
    iam("UpdateAssumeRolePolicy", RoleName="reader", PolicyDocument=trust(ann.principal.arn))
    assume(ann)
    assert refusal(lambda: ann("AssumeRole", RoleArn=wrong_path, RoleSessionName="s1"))[0] == absent[0]


def test_roles_are_not_for_the_root_user(iam: Caller) -> None:
    make_role(iam, trust(f"arn:aws:iam::{ACCOUNT}:root"))
    root = iam.elsewhere(service="sts")
    assert refusal(lambda: assume(root)) == (
        "AccessDeniedException",
        "Roles may not be assumed by root accounts.",
    )


def test_a_role_of_another_account_needs_both_sides(iam: Caller) -> None:
    there = iam.elsewhere(principal=accounts.root_principal(OTHER))
    ann = make_user(there, policy=may("sts:AssumeRole", ROLE))
    make_role(iam, trust(f"arn:aws:iam::{ACCOUNT}:root"))
    assert refusal(lambda: assume(ann))[0] == "AccessDeniedException"
    iam("UpdateAssumeRolePolicy", RoleName="reader", PolicyDocument=trust(f"arn:aws:iam::{OTHER}:root"))
    session = as_session(ann, assume(ann))
    assert session.principal.account_id == ACCOUNT
    there("DeleteUserPolicy", UserName="ann", PolicyName="p")
    assert refusal(lambda: assume(ann))[0] == "AccessDeniedException"


def test_the_external_id_is_a_condition_of_the_trust_policy(iam: Caller) -> None:
    ann = make_user(iam)
    make_role(iam, trust(ann.principal.arn, StringEquals={"sts:ExternalId": "42"}))
    assume(ann, ExternalId="42")
    for more in ({}, {"ExternalId": "43"}):
        with pytest.raises(AccessDeniedException):
            assume(ann, **more)


def test_tags_need_a_right_and_go_on_only_where_they_are_transitive(iam: Caller) -> None:
    ann = make_user(iam)
    tags = [{"Key": "Team", "Value": "red"}, {"Key": "cost", "Value": "7"}]
    make_role(iam, trust(ann.principal.arn))
    code, message = refusal(lambda: assume(ann, Tags=tags))
    assert (code, "sts:TagSession" in message) == ("AccessDeniedException", True)
    both = ["sts:AssumeRole", "sts:TagSession"]
    next_role = f"arn:aws:iam::{ACCOUNT}:role/next"
    iam("UpdateAssumeRolePolicy", RoleName="reader", PolicyDocument=trust(ann.principal.arn, both))
    iam("PutRolePolicy", RoleName="reader", PolicyName="p", PolicyDocument=may(both, next_role))
    iam("CreateRole", RoleName="next", AssumeRolePolicyDocument=trust(ROLE, both))
    first = as_session(ann, assume(ann, Tags=tags, TransitiveTagKeys=["team"]))
    assert first.session.tags == {"Team": "red", "cost": "7"}
    second = as_session(first, first("AssumeRole", RoleArn=next_role, RoleSessionName="s2"))
    assert (second.session.tags, second.session.transitive_tags) == ({"Team": "red"}, ("Team",))
    with pytest.raises(ValidationException, match="conflicts with a transitive tag key"):
        first("AssumeRole", RoleArn=next_role, RoleSessionName="s2", Tags=[{"Key": "TEAM", "Value": ""}])


def test_who_stands_behind_a_chain_is_said_once_and_kept(iam: Caller) -> None:
    ann = make_user(iam)
    both = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    next_role = f"arn:aws:iam::{ACCOUNT}:role/next"
    make_role(iam, trust(ann.principal.arn))
    with pytest.raises(AccessDeniedException, match="sts:SetSourceIdentity"):
        assume(ann, SourceIdentity="Ann")
    iam("UpdateAssumeRolePolicy", RoleName="reader", PolicyDocument=trust(ann.principal.arn, both))
    iam("CreateRole", RoleName="next", AssumeRolePolicyDocument=trust(ROLE, both))
    answer = assume(ann, SourceIdentity="Ann")
    assert answer["SourceIdentity"] == "Ann"
    first = as_session(ann, answer)
    second = first("AssumeRole", RoleArn=next_role, RoleSessionName="s2")
    assert second["SourceIdentity"] == "Ann"
    with pytest.raises(ValidationException):
        first("AssumeRole", RoleArn=next_role, RoleSessionName="s2", SourceIdentity="Bob")


def test_a_session_lasts_as_long_as_the_role_and_the_chain_allow(iam: Caller) -> None:
    ann = make_user(iam)
    make_role(iam, trust([ann.principal.arn, f"arn:aws:iam::{ACCOUNT}:root"]), MaxSessionDuration=7200)
    iam("AttachRolePolicy", RoleName="reader", PolicyArn=ADMIN)
    session = as_session(ann, assume(ann, DurationSeconds=7200))
    with pytest.raises(ValidationException, match="exceeds the MaxSessionDuration set for this role"):
        assume(ann, DurationSeconds=7201)
    with pytest.raises(ValidationException, match="1 hour session limit for roles assumed by role chaining"):
        assume(session, DurationSeconds=3601)
    assume(session, DurationSeconds=3600)


def test_session_policies_narrow_what_the_role_may(iam: Caller) -> None:
    ann = make_user(iam)
    make_role(iam, trust(ann.principal.arn))
    iam("AttachRolePolicy", RoleName="reader", PolicyArn=ADMIN)
    own = iam("CreatePolicy", PolicyName="own", PolicyDocument=may("iam:GetRole"))["Policy"]["Arn"]
    answer = assume(ann, Policy=may("iam:ListUsers"), PolicyArns=[{"arn": own}])
    assert 0 < answer["PackedPolicySize"] <= 100
    narrow = as_session(ann, answer).elsewhere(service="iam")
    narrow("ListUsers")
    narrow("GetRole", RoleName="reader")
    assert refusal(lambda: narrow("ListRoles"))[1].endswith(
        "because no session policy allows the iam:ListRoles action"
    )
    as_session(ann, assume(ann)).elsewhere(service="iam")("ListRoles")


def test_session_policies_that_are_none_or_too_long_are_refused(iam: Caller) -> None:
    ann = make_user(iam)
    make_role(iam, trust(ann.principal.arn))
    with pytest.raises(MalformedPolicyDocumentException):
        assume(ann, Policy="{}")
    missing = refusal(lambda: assume(ann, PolicyArns=[{"arn": f"arn:aws:iam::{ACCOUNT}:policy/none"}]))
    assert missing[0] == "NoSuchEntityException"
    long = [{"arn": f"arn:aws:iam::aws:policy/{'x' * 200}"} for _ in range(10)]
    iam("CreatePolicy", PolicyName="own", PolicyDocument=READ)
    assert refusal(lambda: assume(ann, PolicyArns=long))[0] == "NoSuchEntityException"
    with pytest.raises(PackedPolicyTooLargeException):
        assume(ann, Policy=may("iam:GetRole", f"{ROLE}{'x' * 1900}"), PolicyArns=[{"arn": ADMIN}])
    with pytest.raises(PackedPolicyTooLargeException):
        assume(ann, Policy="{" * 2_049)  # it is too long to be read


def test_a_session_of_a_deleted_role_may_nothing(iam: Caller) -> None:
    ann = make_user(iam)
    make_role(iam, trust(ann.principal.arn))
    iam("AttachRolePolicy", RoleName="reader", PolicyArn=ADMIN)
    session = as_session(ann, assume(ann)).elsewhere(service="iam")
    session("ListUsers")
    iam("DetachRolePolicy", RoleName="reader", PolicyArn=ADMIN)
    with pytest.raises(AccessDeniedException):
        session("ListUsers")
    iam("DeleteRole", RoleName="reader")
    make_role(iam, trust(ann.principal.arn))
    iam("AttachRolePolicy", RoleName="reader", PolicyArn=ADMIN)
    with pytest.raises(AccessDeniedException):
        session("ListUsers")


@pytest.mark.parametrize("by_hand", [False, True], ids=["deleted", "taken away"])
def test_credentials_of_a_role_that_is_gone_are_unknown(iam: Caller, by_hand: bool) -> None:
    """Else its denials and its boundary would be gone with it, and what a resource's policy allows its session would not."""
    ann = make_user(iam)
    make_role(iam, trust(ann.principal.arn))
    answer = assume(ann)
    assert found(ann, answer).principal.kind is PrincipalKind.ASSUMED_ROLE
    if by_hand:
        gone = delete(identities).where(identities.c.kind == "Role")
        assert iam.database.write(lambda unit: unit.connection.execute(gone).rowcount) == 1
    else:
        iam("DeleteRole", RoleName="reader")
    with pytest.raises(UnrecognizedClientException):
        found(ann, answer)


# Passing roles to services.


def passes(caller: Caller, service: str) -> None:
    def ask(unit: Unit) -> None:
        call: Call = caller.elsewhere(service="lambda").call("CreateFunction", unit)
        require_pass_role(unit, call, ROLE, service)

    caller.database.read(ask)


def test_passing_a_role_needs_a_right_on_it_and_for_the_service(iam: Caller) -> None:
    make_role(iam, trust(f"arn:aws:iam::{ACCOUNT}:root"), Tags=[{"Key": "team", "Value": "red"}])
    passes(iam, "lambda.amazonaws.com")
    ann = make_user(iam)
    with pytest.raises(AccessDeniedException, match=f"iam:PassRole on resource: {ROLE}"):
        passes(ann, "lambda.amazonaws.com")
    condition = {
        "StringEquals": {"iam:PassedToService": "lambda.amazonaws.com", "aws:ResourceTag/team": "red"}
    }
    statement = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE, "Condition": condition}
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=policy)
    passes(ann, "lambda.amazonaws.com")
    with pytest.raises(AccessDeniedException):
        passes(ann, "rds.amazonaws.com")


def test_a_service_is_let_in_by_the_trust_policy_alone(iam: Caller) -> None:
    def let_in(service: str) -> bool:
        return iam.database.read(lambda unit: service_may_assume(unit, ROLE, service, source_account=ACCOUNT))

    assert not let_in("lambda.amazonaws.com")
    document = json.loads(trust("x"))
    document["Statement"]["Principal"] = {"Service": "lambda.amazonaws.com"}
    make_role(iam, json.dumps(document))
    assert let_in("lambda.amazonaws.com")
    assert not let_in("rds.amazonaws.com")
    for account, lets in ((ACCOUNT, True), (OTHER, False)):
        document["Statement"]["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
        iam("UpdateAssumeRolePolicy", RoleName="reader", PolicyDocument=json.dumps(document))
        assert let_in("lambda.amazonaws.com") is lets


def test_a_service_gets_a_session_of_the_role(iam: Caller) -> None:
    make_role(iam, trust(f"arn:aws:iam::{ACCOUNT}:root"))
    made = iam.database.write(
        lambda unit: sts.issue_role_session(unit, role_arn=ROLE, session_name="function", seconds=900)
    )
    credential = iam.database.read(
        lambda unit: find_credential(unit, made.access_key_id, made.session_token, unit.now)
    )
    assert credential.principal.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/function"
    assert not credential.session.hosted
    with pytest.raises(ValidationException):
        iam.database.write(
            lambda unit: sts.issue_role_session(
                unit, role_arn=ROLE + "x", session_name="function", seconds=900
            )
        )
