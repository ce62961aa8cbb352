"""A policy names who a principal was: one that is deleted and made again under its old name has nothing of the old one's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calling import Client, refusal, services
from tests.iam.calling import ACCOUNT, OTHER, TRUST, Caller, user_principal
from tests.support import SettableClock
from turnlock import accounts
from turnlock.accounts.entities.model import Kind
from turnlock.accounts.entities.saved_principals import _renamed_text
from turnlock.accounts.entities.store import find_identity
from turnlock.core.call import Principal
from turnlock.errors import AccessDeniedException
from turnlock.sts.assuming import session_principal

ANN = f"arn:aws:iam::{ACCOUNT}:user/ann"
READER = f"arn:aws:iam::{ACCOUNT}:role/reader"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/s"
BOB = f"arn:aws:iam::{OTHER}:user/bob"
KINDS = ["user", "role", "session"]


def policy(principal: object, action: str, *, resource: bool = True, **more: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, **more}
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [statement | ({"Resource": "*"} if resource else {})]}
    )


class World:
    """Two accounts, and Secrets Manager and KMS beside IAM."""

    def __init__(self, iam: Caller, clock: SettableClock) -> None:
        self.iam, self.served = iam, services()
        self.sm = Client(database=iam.database, clock=clock)
        self.kms = self.sm.elsewhere(service=self.served["kms"])

    def make(self, kind: str) -> tuple[str, Principal]:
        """Make the user or the role; return the ARN to name it by, and a caller's principal."""
        if kind == "user":
            return ANN, user_principal(self.iam("CreateUser", UserName="ann")["User"])
        self.iam("CreateRole", RoleName="reader", AssumeRolePolicyDocument=TRUST)
        role = self.iam.database.read(lambda unit: find_identity(unit, ACCOUNT, Kind.ROLE, "reader"))
        assert role is not None
        return (READER if kind == "role" else SESSION), session_principal(role, "s")

    def remake(self, kind: str) -> Principal:
        """Delete it and make another of the same name; return the new one's principal."""
        self.delete(kind)
        return self.make(kind)[1]

    def delete(self, kind: str) -> None:
        if kind == "user":
            self.iam("DeleteUser", UserName="ann")
        else:
            self.iam("DeleteRole", RoleName="reader")


@pytest.fixture
def world(iam: Caller, clock: SettableClock) -> World:
    return World(iam, clock)


def named_in(text: str) -> object:
    return json.loads(text)["Statement"][0]["Principal"]["AWS"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_secrets_policy_is_for_the_one_that_it_was_put_for(world: World, kind: str) -> None:
    arn, old = world.make(kind)
    secret = world.sm("CreateSecret", Name="n", SecretString="x", ClientRequestToken="t" * 32)["ARN"]
    text = policy({"AWS": arn}, "secretsmanager:GetSecretValue", Sid="as  written")
    world.sm("PutResourcePolicy", SecretId=secret, ResourcePolicy=text)
    assert world.sm("GetResourcePolicy", SecretId=secret)["ResourcePolicy"] == text
    assert world.sm.elsewhere(principal=old)("GetSecretValue", SecretId=secret)["SecretString"] == "x"
    new = world.remake(kind)
    with pytest.raises(AccessDeniedException):
        world.sm.elsewhere(principal=new)("GetSecretValue", SecretId=secret)
    shown = world.sm("GetResourcePolicy", SecretId=secret)["ResourcePolicy"]
    gone = old.principal_id if kind != "role" else old.principal_id.partition(":")[0]
    assert named_in(shown) == gone


def test_a_denial_is_for_the_old_one_too(world: World) -> None:
    arn, _ = world.make("user")
    secret = world.sm("CreateSecret", Name="n", SecretString="x", ClientRequestToken="t" * 32)["ARN"]
    everyone = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "secretsmanager:GetSecretValue",
        "Resource": "*",
    }
    but = {**everyone, "Effect": "Deny", "Principal": {"AWS": [arn]}}
    text = json.dumps({"Version": "2012-10-17", "Statement": [everyone, but]})
    world.sm("PutResourcePolicy", SecretId=secret, ResourcePolicy=text)
    assert world.sm.elsewhere(principal=world.remake("user"))("GetSecretValue", SecretId=secret)


def test_a_renamed_user_is_still_the_one(world: World) -> None:
    arn, old = world.make("user")
    secret = world.sm("CreateSecret", Name="n", SecretString="x", ClientRequestToken="t" * 32)["ARN"]
    world.sm(
        "PutResourcePolicy",
        SecretId=secret,
        ResourcePolicy=policy({"AWS": arn}, "secretsmanager:GetSecretValue"),
    )
    world.iam("UpdateUser", UserName="ann", NewUserName="anna")
    assert world.sm.elsewhere(principal=old)("GetSecretValue", SecretId=secret)
    shown = world.sm("GetResourcePolicy", SecretId=secret)["ResourcePolicy"]
    assert named_in(shown) == f"arn:aws:iam::{ACCOUNT}:user/anna"


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_policy_is_for_the_one_that_it_was_put_for(world: World, kind: str) -> None:
    arn, old = world.make(kind)
    key = world.kms("CreateKey")["KeyMetadata"]["KeyId"]
    root = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
    text = json.dumps({"Statement": [{**root, "Principal": {"AWS": arn}, "Action": "kms:Encrypt"}, root]})
    world.kms("PutKeyPolicy", KeyId=key, Policy=text)
    assert world.kms("GetKeyPolicy", KeyId=key)["Policy"] == text
    assert world.kms.elsewhere(principal=old)("Encrypt", KeyId=key, Plaintext=b"x")
    new = world.remake(kind)
    with pytest.raises(AccessDeniedException):
        world.kms.elsewhere(principal=new)("Encrypt", KeyId=key, Plaintext=b"x")
    assert str(named_in(world.kms("GetKeyPolicy", KeyId=key)["Policy"])) in old.principal_id


@pytest.mark.parametrize("kind", KINDS)
def test_a_grant_is_for_the_one_that_it_was_made_for(world: World, kind: str) -> None:
    arn, old = world.make(kind)
    key = world.kms("CreateKey")["KeyMetadata"]["KeyId"]
    made = world.kms(
        "CreateGrant", KeyId=key, GranteePrincipal=arn, RetiringPrincipal=arn, Operations=["Encrypt"]
    )
    assert world.kms.elsewhere(principal=old)("Encrypt", KeyId=key, Plaintext=b"x")
    (listed,) = world.kms("ListGrants", KeyId=key, GranteePrincipal=arn)["Grants"]
    assert (listed["GranteePrincipal"], listed["RetiringPrincipal"]) == (arn, arn)
    assert len(world.kms("ListRetirableGrants", RetiringPrincipal=arn)["Grants"]) == 1
    new = world.kms.elsewhere(principal=world.remake(kind))
    with pytest.raises(AccessDeniedException):
        new("Encrypt", KeyId=key, Plaintext=b"x")
    with pytest.raises(AccessDeniedException):
        new("RetireGrant", KeyId=f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/{key}", GrantId=made["GrantId"])
    assert world.kms("ListGrants", KeyId=key, GranteePrincipal=arn)["Grants"] == []
    (listed,) = world.kms("ListGrants", KeyId=key)["Grants"]
    assert listed["GranteePrincipal"] in old.principal_id
    assert world.kms("ListGrants", KeyId=key, GranteePrincipal=listed["GranteePrincipal"])["Grants"] == [
        listed
    ]


def test_a_trust_policy_is_for_the_one_that_it_was_put_for(world: World) -> None:
    arn, old = world.make("user")
    trust = policy({"AWS": arn}, "sts:AssumeRole", resource=False)
    role = world.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust)["Role"]
    assert named_in(json.dumps(role["AssumeRolePolicyDocument"])) == arn
    asked = {"RoleArn": role["Arn"], "RoleSessionName": "s1"}
    sts = world.iam.elsewhere(service="sts")
    sts.elsewhere(principal=old)("AssumeRole", **asked)
    new = world.remake("user")
    with pytest.raises(AccessDeniedException):
        sts.elsewhere(principal=new)("AssumeRole", **asked)
    shown = world.iam("GetRole", RoleName="r")["Role"]["AssumeRolePolicyDocument"]
    assert named_in(json.dumps(shown)) == old.principal_id
    (listed,) = world.iam("ListRoles")["Roles"]
    assert listed["AssumeRolePolicyDocument"] == shown
    world.iam("UpdateAssumeRolePolicy", RoleName="r", PolicyDocument=trust)
    sts.elsewhere(principal=new)("AssumeRole", **asked)


def test_a_user_of_another_account_of_the_deployment_is_the_one_too(world: World) -> None:
    theirs = world.iam.elsewhere(principal=accounts.root_principal(OTHER))
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"

    def make() -> Principal:
        bob = user_principal(theirs("CreateUser", UserName="bob")["User"])
        theirs("AttachUserPolicy", UserName="bob", PolicyArn=admin)
        return bob

    old = make()
    key = world.kms("CreateKey")["KeyMetadata"]["Arn"]
    world.kms("CreateGrant", KeyId=key, GranteePrincipal=BOB, Operations=["Encrypt"])
    world.kms.elsewhere(principal=old, account_id=OTHER)("Encrypt", KeyId=key, Plaintext=b"x")
    (listed,) = world.kms("ListGrants", KeyId=key)["Grants"]
    assert listed["GranteePrincipal"] == BOB
    theirs("DetachUserPolicy", UserName="bob", PolicyArn=admin)
    theirs("DeleteUser", UserName="bob")
    with pytest.raises(AccessDeniedException):
        world.kms.elsewhere(principal=make(), account_id=OTHER)("Encrypt", KeyId=key, Plaintext=b"x")


ABSENT = [ANN, READER, SESSION, BOB, f"arn:aws:iam::{ACCOUNT}:group/g", f"arn:aws:iam::{ACCOUNT}:user/*"]


@pytest.mark.parametrize("arn", ABSENT)
def test_who_is_not_there_cannot_be_named(world: World, arn: str) -> None:
    secret = world.sm("CreateSecret", Name="n")["ARN"]
    key = world.kms("CreateKey")["KeyMetadata"]["KeyId"]
    put = policy({"AWS": arn}, "secretsmanager:GetSecretValue")
    code, message = refusal(lambda: world.sm("PutResourcePolicy", SecretId=secret, ResourcePolicy=put))
    assert code == "MalformedPolicyDocumentException"
    assert "unsupported principal" in message
    grants = policy({"AWS": [arn, ACCOUNT]}, "kms:*")
    assert refusal(lambda: world.kms("PutKeyPolicy", KeyId=key, Policy=grants))[0] == (
        "MalformedPolicyDocumentException"
    )
    grant = {"KeyId": key, "GranteePrincipal": arn, "Operations": ["Encrypt"]}
    assert refusal(lambda: world.kms("CreateGrant", **grant))[0] in (
        "InvalidArnException",
        "ValidationException",
    )
    trust = policy({"AWS": arn}, "sts:AssumeRole", resource=False)
    assert refusal(lambda: world.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust)) == (
        "MalformedPolicyDocumentException",
        f'Invalid principal in policy: "AWS":"{arn}"',
    )


def test_of_accounts_that_are_not_here_any_name_is_kept(world: World) -> None:
    secret = world.sm("CreateSecret", Name="n")["ARN"]
    text = policy({"AWS": "arn:aws:iam::555555555555:role/x"}, "secretsmanager:GetSecretValue")
    world.sm("PutResourcePolicy", SecretId=secret, ResourcePolicy=text)
    assert world.sm("GetResourcePolicy", SecretId=secret)["ResourcePolicy"] == text


def test_conditions_go_by_name(world: World) -> None:
    arn, _ = world.make("user")
    secret = world.sm("CreateSecret", Name="n", SecretString="x", ClientRequestToken="t" * 32)["ARN"]
    text = policy("*", "secretsmanager:GetSecretValue", Condition={"ArnEquals": {"aws:PrincipalArn": arn}})
    world.sm("PutResourcePolicy", SecretId=secret, ResourcePolicy=text)
    assert world.sm.elsewhere(principal=world.remake("user"))("GetSecretValue", SecretId=secret)
    assert world.sm("GetResourcePolicy", SecretId=secret)["ResourcePolicy"] == text


NAMES = st.sampled_from(["a", "b", 'q"', "ü", "Principal", '"Principal": "a"', "*"])
STATEMENTS = st.fixed_dictionaries(
    {},
    optional={
        "Sid": NAMES,
        "Principal": st.one_of(
            st.just("*"), st.dictionaries(st.sampled_from(["AWS", "Service"]), NAMES | st.lists(NAMES))
        ),
        "NotPrincipal": st.fixed_dictionaries({"AWS": NAMES | st.lists(NAMES)}),
        "Resource": NAMES,
        "Condition": st.dictionaries(NAMES, st.dictionaries(NAMES, NAMES | st.lists(NAMES))),
    },
)


@given(
    statements=st.lists(STATEMENTS) | STATEMENTS,
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    names=st.dictionaries(NAMES, st.sampled_from(["a", "x", 'y"', "ö"])),
)
def test_principals_alone_are_renamed(
    statements: Any, indent: int | None, ascii_only: bool, names: dict[str, str]
) -> None:
    text = json.dumps({"Id": "a", "Statement": statements}, indent=indent, ensure_ascii=ascii_only)
    renamed = json.loads(_renamed_text(text, names))

    def expected(statement: dict[str, Any]) -> dict[str, Any]:
        found = json.loads(json.dumps(statement))
        for element in ("Principal", "NotPrincipal"):
            named = found.get(element)
            if isinstance(named, dict) and "AWS" in named:
                value = named["AWS"]
                named["AWS"] = (
                    names.get(value, value)
                    if isinstance(value, str)
                    else [names.get(one, one) for one in value]
                )
        return dict(found)

    wanted = [expected(one) for one in statements] if isinstance(statements, list) else expected(statements)
    assert renamed == {"Id": "a", "Statement": wanted}


def test_a_policy_that_names_nobody_new_stays_as_it_was_written() -> None:
    text = '{ "Statement" :\n [ {"Principal" : {"AWS":"a"}} ] }'
    assert _renamed_text(text, {"a": "a", "b": "c"}) == text
    assert _renamed_text(text, {"a": "z"}) == text.replace('"a"', '"z"')
