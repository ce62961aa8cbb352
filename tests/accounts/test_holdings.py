"""What speaks for a principal, at once after each change, and never from a row changed behind the server's back."""

from __future__ import annotations

import json
from functools import partial

import pytest
from sqlalchemy import Delete, Table, Update, delete, select, update
from structlog.testing import capture_logs

from tests.iam.calling import ACCOUNT, OTHER, READ, TRUST, Caller, user_principal
from turnlock import accounts
from turnlock.accounts.credentials import find_credential, unseal_secret
from turnlock.accounts.entities.aws_managed import AWS_MANAGED
from turnlock.accounts.entities.holdings import holdings_of
from turnlock.accounts.entities.tables import (
    identities,
    managed_policies,
    managed_policy_versions,
    policy_attachments,
)
from turnlock.accounts.model import role_session
from turnlock.accounts.store import access_keys, sessions
from turnlock.core.call import Principal
from turnlock.errors import SealBroken
from turnlock.policies import Holdings
from turnlock.storage import Unit

ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"


def policy(sid: str) -> str:
    statement = {"Sid": sid, "Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def held(iam: Caller, principal: Principal) -> Holdings:
    return iam.database.read(lambda unit: holdings_of(unit, principal))


@pytest.fixture
def ann(iam: Caller) -> Principal:
    """A user with policies from everywhere: inline and managed, her own and her group's, and a boundary."""
    made = iam("CreateUser", UserName="ann", Tags=[{"Key": "team", "Value": "red"}])["User"]
    for name in ("own", "group", "edge"):
        iam("CreatePolicy", PolicyName=name, PolicyDocument=policy(name))
    iam("CreateGroup", GroupName="readers")
    iam("AddUserToGroup", GroupName="readers", UserName="ann")
    iam("PutUserPolicy", UserName="ann", PolicyName="mine", PolicyDocument=policy("mine"))
    iam("PutGroupPolicy", GroupName="readers", PolicyName="ours", PolicyDocument=policy("ours"))
    iam("AttachUserPolicy", UserName="ann", PolicyArn=arn("own"))
    iam("AttachUserPolicy", UserName="ann", PolicyArn=ADMIN)
    iam("AttachGroupPolicy", GroupName="readers", PolicyArn=arn("group"))
    iam("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=arn("edge"))
    return user_principal(made)


def arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:policy/{name}"


def test_all_that_speaks_for_a_user_is_found_with_its_name(iam: Caller, ann: Principal) -> None:
    found = held(iam, ann)
    assert {one.name: one.text for one in found.policies} == {
        f"{ann.arn}/mine": policy("mine"),
        arn("own"): policy("own"),
        ADMIN: AWS_MANAGED[ADMIN].document,
        f"arn:aws:iam::{ACCOUNT}:group/readers/ours": policy("ours"),
        arn("group"): policy("group"),
    }
    assert found.boundary is not None
    assert (found.boundary.name, found.boundary.text) == (arn("edge"), policy("edge"))
    assert (found.tags, found.user_name) == ({"team": "red"}, "ann")


@pytest.mark.parametrize(
    ("operation", "parameters", "gone"),
    [
        ("DetachUserPolicy", {"UserName": "ann", "PolicyArn": arn("own")}, {arn("own")}),
        ("DeleteUserPolicy", {"UserName": "ann", "PolicyName": "mine"}, {"mine"}),
        ("DeleteGroupPolicy", {"GroupName": "readers", "PolicyName": "ours"}, {"ours"}),
        ("RemoveUserFromGroup", {"UserName": "ann", "GroupName": "readers"}, {"ours", arn("group")}),
    ],
)
def test_what_was_taken_away_speaks_no_more(
    iam: Caller, ann: Principal, operation: str, parameters: dict[str, str], gone: set[str]
) -> None:
    before = {one.name.rpartition("/")[2]: one for one in held(iam, ann).policies}
    iam(operation, **parameters)
    after = {one.name.rpartition("/")[2]: one for one in held(iam, ann).policies}
    assert before.keys() - after.keys() == {name.rpartition("/")[2] for name in gone}


def test_another_default_version_speaks_at_once(iam: Caller, ann: Principal) -> None:
    held(iam, ann)
    iam("CreatePolicyVersion", PolicyArn=arn("own"), PolicyDocument=policy("second"), SetAsDefault=True)
    assert policy("second") in {one.text for one in held(iam, ann).policies}
    iam("SetDefaultPolicyVersion", PolicyArn=arn("own"), VersionId="v1")
    assert policy("second") not in {one.text for one in held(iam, ann).policies}


def test_a_role_speaks_for_its_sessions_until_it_is_gone(iam: Caller) -> None:
    role = iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=TRUST)["Role"]
    iam("PutRolePolicy", RoleName="r", PolicyName="p", PolicyDocument=READ)
    session = role_session(ACCOUNT, role_name="r", role_id=role["RoleId"], session_name="s")
    assert [one.text for one in held(iam, session).policies] == [READ]
    assert (held(iam, session).user_name, held(iam, session).role_arn) == (None, role["Arn"])
    iam("DeleteRolePolicy", RoleName="r", PolicyName="p")
    iam("DeleteRole", RoleName="r")
    iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=TRUST)
    iam("PutRolePolicy", RoleName="r", PolicyName="p", PolicyDocument=READ)
    assert held(iam, session) == Holdings(), "another role of the same name is another role"


def test_nothing_is_held_for_root(iam: Caller) -> None:
    assert held(iam, accounts.root_principal(ACCOUNT)) == Holdings()


def test_a_user_of_another_account_is_not_found_under_this_one(iam: Caller, ann: Principal) -> None:
    stranger = Principal(kind=ann.kind, arn=ann.arn, account_id=OTHER, principal_id=ann.principal_id)
    assert held(iam, stranger) == Holdings()


def swapped(table: Table, column: str, *names: str) -> list[Update]:
    """Return statements that give one row of a table the body and MAC of another."""
    one, other = names
    source = select(table.c.body, table.c.mac).where(table.c[column] == other).subquery()
    return [
        update(table)
        .where(table.c[column] == one)
        .values(body=select(source.c.body).scalar_subquery(), mac=select(source.c.mac).scalar_subquery())
    ]


def execute(statement: Update | Delete, unit: Unit) -> int:
    return unit.connection.execute(statement).rowcount


TAMPERED: dict[str, list[Update | Delete]] = {
    "an edited identity": [update(identities).values(body=identities.c.body + " ")],
    "an edited policy document": [
        update(managed_policy_versions).values(body=managed_policy_versions.c.body + " ")
    ],
    "another default version": [
        update(managed_policies).where(managed_policies.c.name_key == "own").values(default_version=2)
    ],
    "a policy in another's place": [*swapped(managed_policies, "name_key", "own", "group")],
    "an attachment that is gone": [delete(policy_attachments)],
    "a policy that is gone": [delete(managed_policies).where(managed_policies.c.name_key == "own")],
    "a group that is gone": [delete(identities).where(identities.c.name_key == "readers")],
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_changed_behind_the_servers_back_is_an_error_and_an_alarm(
    iam: Caller, ann: Principal, how: str
) -> None:
    iam("CreatePolicyVersion", PolicyArn=arn("own"), PolicyDocument=policy("own"))
    for statement in TAMPERED[how]:
        assert iam.database.write(partial(execute, statement)) > 0
    with capture_logs() as logs, pytest.raises(SealBroken):
        held(iam, ann)
    assert [line["action"] for line in logs] == ["seal_broken"]


def test_a_key_that_was_given_to_another_user_opens_nothing(iam: Caller, ann: Principal) -> None:
    """Whoever can write the store cannot make a weak user's key a strong one's: the secret is sealed for its owner."""
    weak = iam("CreateUser", UserName="weak")["User"]
    key = iam("CreateAccessKey", UserName="weak")["AccessKey"]["AccessKeyId"]
    stolen = (
        update(access_keys)
        .where(access_keys.c.access_key_id == key)
        .values(principal_id=ann.principal_id, principal_arn=ann.arn)
    )
    assert weak["UserId"] != ann.principal_id
    assert iam.database.write(partial(execute, stolen)) == 1

    def open_it(unit: Unit) -> str:
        return unseal_secret(unit, find_credential(unit, key, None, unit.now))

    with pytest.raises(SealBroken):
        iam.database.read(open_it)


def test_a_session_whose_tags_were_changed_opens_nothing(iam: Caller, ann: Principal) -> None:
    given = iam.elsewhere(service="sts", principal=ann)("GetSessionToken")["Credentials"]
    changed = update(sessions).values(context=sessions.c.context + " ")
    assert iam.database.write(partial(execute, changed)) == 1

    def open_it(unit: Unit) -> str:
        found = find_credential(unit, given["AccessKeyId"], given["SessionToken"], unit.now)
        return unseal_secret(unit, found)

    with pytest.raises(SealBroken):
        iam.database.read(open_it)
