"""Users and their access keys."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.calling import refusal
from tests.iam.calling import ACCOUNT, OTHER, READ, Caller, user_principal
from tests.support import NOON, SettableClock, StorePlace
from turnlock import accounts
from turnlock.accounts.credentials import find_credential, unseal_secret
from turnlock.accounts.entities.store import IDENTITIES
from turnlock.core.arn import Region
from turnlock.core.call import PrincipalKind
from turnlock.errors import UnrecognizedClientException, ValidationException
from turnlock.storage import Unit


def test_a_user_is_shown_as_it_was_made(iam: Caller) -> None:
    made = iam("CreateUser", UserName="Ann", Path="/team/", Tags=[{"Key": "cost", "Value": "42"}])["User"]
    assert made["Arn"] == "arn:aws:iam::123456789012:user/team/Ann"
    assert (made["UserId"][:4], len(made["UserId"])) == ("AIDA", 21)
    assert made["CreateDate"] == NOON
    assert made["Tags"] == [{"Key": "cost", "Value": "42"}]
    assert iam("GetUser", UserName="ann") == {"User": made}


def test_a_name_is_taken_whatever_the_case_of_its_letters(iam: Caller) -> None:
    iam("CreateUser", UserName="ann")
    assert refusal(lambda: iam("CreateUser", UserName="ANN")) == (
        "EntityAlreadyExistsException",
        "User with name ANN already exists.",
    )


def test_an_absent_user_is_named_in_the_error(iam: Caller) -> None:
    assert refusal(lambda: iam("GetUser", UserName="nobody")) == (
        "NoSuchEntityException",
        "The user with name nobody cannot be found.",
    )


@pytest.mark.parametrize("name", ["a b", "a/b", "ä", "x" * 65, "a\n"])
def test_a_name_that_none_can_have_is_refused(iam: Caller, name: str) -> None:
    with pytest.raises(ValidationException):
        iam("CreateUser", UserName=name)


def test_root_sees_itself_and_a_user_sees_itself(iam: Caller) -> None:
    root = iam("GetUser")["User"]
    assert (root["UserId"], root["Arn"]) == ("123456789012", "arn:aws:iam::123456789012:root")


def test_users_come_in_pages_by_name_and_path(iam: Caller) -> None:
    for name in ("cid", "Ann", "bob"):
        iam("CreateUser", UserName=name, Path="/x/")
    iam("CreateUser", UserName="zoe", Path="/y/")
    first = iam("ListUsers", MaxItems=2)
    assert [user["UserName"] for user in first["Users"]] == ["Ann", "bob"]
    assert first["IsTruncated"] is True
    second = iam("ListUsers", MaxItems=2, Marker=first["Marker"])
    assert [user["UserName"] for user in second["Users"]] == ["cid", "zoe"]
    assert (second["IsTruncated"], "Marker" in second) == (False, False)
    assert [user["UserName"] for user in iam("ListUsers", PathPrefix="/y/")["Users"]] == ["zoe"]
    with pytest.raises(ValidationException):
        iam("ListUsers", Marker="!!")


def test_a_page_reads_as_few_users_as_it_needs(iam: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account has thousands of users: a list that opened all of them held the event loop."""
    for number in range(230):
        iam("CreateUser", UserName=f"u{number:03}", Path="/odd/" if number % 2 else "/even/")
    read: list[str] = []
    original = IDENTITIES.read

    def counted(*given: Any, **columns: Any) -> Any:
        read.append("")
        return original(*given, **columns)

    monkeypatch.setattr(type(IDENTITIES), "read", lambda _self, *given, **columns: counted(*given, **columns))
    before = len(read)
    assert [user["UserName"] for user in iam("ListUsers", MaxItems=2)["Users"]] == ["u000", "u001"]
    assert len(read) - before <= 110
    seen: list[str] = []
    more: dict[str, str] = {}
    while True:
        page = iam("ListUsers", PathPrefix="/odd/", MaxItems=40, **more)
        seen += [user["UserName"] for user in page["Users"]]
        if not page["IsTruncated"]:
            break
        more = {"Marker": page["Marker"]}
    assert seen == [f"u{number:03}" for number in range(1, 230, 2)]


def test_a_renamed_user_keeps_its_id_its_keys_and_its_policies(iam: Caller) -> None:
    made = iam("CreateUser", UserName="ann")["User"]
    key = iam("CreateAccessKey", UserName="ann")["AccessKey"]
    iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=READ)
    iam("UpdateUser", UserName="ann", NewUserName="eve", NewPath="/new/")
    found = iam("GetUser", UserName="eve")["User"]
    assert (found["UserId"], found["Arn"]) == (
        made["UserId"],
        "arn:aws:iam::123456789012:user/new/eve",
    )
    assert refusal(lambda: iam("GetUser", UserName="ann"))[0] == "NoSuchEntityException"
    assert iam("ListUserPolicies", UserName="eve")["PolicyNames"] == ["p"]
    credential = iam.database.read(lambda unit: find_credential(unit, key["AccessKeyId"], None, unit.now))
    assert credential.principal.arn == found["Arn"]
    assert iam.database.read(lambda unit: unseal_secret(unit, credential)) == key["SecretAccessKey"]


@pytest.mark.parametrize("kind", ["User", "Group"])
def test_who_renames_needs_the_right_over_the_new_name_too(iam: Caller, kind: str) -> None:
    """Policies tell of principals by name (`${aws:username}`, aws:PrincipalArn): who may change itself could become another."""
    ann = iam.elsewhere(principal=user_principal(iam("CreateUser", UserName="ann")["User"]))
    iam(f"Create{kind}", **{f"{kind}Name": "own"})

    def allow(*resources: str) -> None:
        arns = [f"arn:aws:iam::{ACCOUNT}:{kind.lower()}/{resource}" for resource in resources]
        statement = {"Effect": "Allow", "Action": f"iam:Update{kind}", "Resource": arns}
        document = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)

    def update(**new: str) -> None:
        ann(f"Update{kind}", **{f"{kind}Name": "own"}, **new)

    allow("own")
    for new in ({f"New{kind}Name": "admin"}, {"NewPath": "/admins/"}, {f"New{kind}Name": "Own"}):
        assert refusal(partial(update, **new))[0] == "AccessDeniedException"
    update(**{f"New{kind}Name": "own"})
    allow("own", "admins/admin")
    update(**{f"New{kind}Name": "admin", "NewPath": "/admins/"})


def test_a_user_cannot_take_a_name_that_another_has(iam: Caller) -> None:
    for name in ("ann", "bob"):
        iam("CreateUser", UserName=name)
    assert refusal(lambda: iam("UpdateUser", UserName="ann", NewUserName="Bob"))[0] == (
        "EntityAlreadyExistsException"
    )
    assert iam("GetUser", UserName="ann")["User"]["UserName"] == "ann"


def test_a_user_goes_only_when_it_holds_nothing(iam: Caller) -> None:
    iam("CreateUser", UserName="ann")
    iam("CreateGroup", GroupName="g")
    key = iam("CreateAccessKey", UserName="ann")["AccessKey"]
    iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=READ)
    iam("AttachUserPolicy", UserName="ann", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam("AddUserToGroup", UserName="ann", GroupName="g")
    steps = [
        ("delete access keys", "DeleteAccessKey", {"AccessKeyId": key["AccessKeyId"]}),
        ("delete policies", "DeleteUserPolicy", {"PolicyName": "p"}),
        (
            "detach all policies",
            "DetachUserPolicy",
            {"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
        ),
        ("remove users from group", "RemoveUserFromGroup", {"GroupName": "g"}),
    ]
    for what, operation, more in steps:
        assert refusal(lambda: iam("DeleteUser", UserName="ann")) == (
            "DeleteConflictException",
            f"Cannot delete entity, must {what} first.",
        )
        iam(operation, UserName="ann", **more)
    iam("DeleteUser", UserName="ann")
    assert iam("ListUsers")["Users"] == []


def test_an_access_key_opens_as_its_user_until_it_is_inactive_or_gone(iam: Caller) -> None:
    user = iam("CreateUser", UserName="ann")["User"]
    key = iam("CreateAccessKey", UserName="ann")["AccessKey"]
    assert (key["UserName"], key["Status"], key["AccessKeyId"][:4]) == ("ann", "Active", "AKIA")

    def principal() -> object:
        return iam.database.read(
            lambda unit: find_credential(unit, key["AccessKeyId"], None, unit.now).principal
        )

    assert principal() == user_principal(user)
    iam("UpdateAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with pytest.raises(UnrecognizedClientException):
        principal()
    (listed,) = iam("ListAccessKeys", UserName="ann")["AccessKeyMetadata"]
    assert (listed["Status"], "SecretAccessKey" in listed) == ("Inactive", False)
    iam("UpdateAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Active")
    assert principal() == user_principal(user)
    iam("DeleteAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"])
    with pytest.raises(UnrecognizedClientException):
        principal()


def test_a_user_has_two_keys_at_most(iam: Caller) -> None:
    iam("CreateUser", UserName="ann")
    for _ in range(2):
        iam("CreateAccessKey", UserName="ann")
    assert refusal(lambda: iam("CreateAccessKey", UserName="ann")) == (
        "LimitExceededException",
        "Cannot exceed quota for AccessKeysPerUser: 2",
    )


def test_a_key_is_only_its_own_users(iam: Caller) -> None:
    for name in ("ann", "bob"):
        iam("CreateUser", UserName=name)
    key = iam("CreateAccessKey", UserName="ann")["AccessKey"]["AccessKeyId"]
    gone = "NoSuchEntityException", f"The Access Key with id {key} cannot be found."
    assert refusal(lambda: iam("DeleteAccessKey", UserName="bob", AccessKeyId=key)) == gone
    turned_off = {"UserName": "bob", "AccessKeyId": key, "Status": "Inactive"}
    assert refusal(lambda: iam("UpdateAccessKey", **turned_off)) == gone
    stranger = iam.elsewhere(principal=accounts.root_principal(OTHER))
    assert refusal(lambda: stranger("GetAccessKeyLastUsed", AccessKeyId=key))[0] == "NoSuchEntityException"


def test_root_manages_its_own_keys(iam: Caller) -> None:
    (first,) = iam("ListAccessKeys")["AccessKeyMetadata"]
    made = iam("CreateAccessKey")["AccessKey"]
    credential = iam.database.read(lambda unit: find_credential(unit, made["AccessKeyId"], None, unit.now))
    assert credential.principal.kind is PrincipalKind.ROOT
    iam("DeleteAccessKey", AccessKeyId=first["AccessKeyId"])
    assert [key["AccessKeyId"] for key in iam("ListAccessKeys")["AccessKeyMetadata"]] == [made["AccessKeyId"]]


def test_the_last_use_of_a_key_is_written_once_in_a_quarter_of_an_hour(
    iam: Caller, clock: SettableClock, store_place: StorePlace
) -> None:
    iam("CreateUser", UserName="ann")
    key = iam("CreateAccessKey", UserName="ann")["AccessKey"]["AccessKeyId"]
    never = iam("GetAccessKeyLastUsed", AccessKeyId=key)
    assert never["UserName"] == "ann"
    assert never["AccessKeyLastUsed"] == {"Region": "N/A", "ServiceName": "N/A"}
    uses = accounts.KeyUses()
    node = store_place.open(clock=clock, subscribers={accounts.KeyUsed: (uses.note,)})

    def use(region: str) -> None:
        def admit(unit: Unit) -> None:
            credential = find_credential(unit, key, None, unit.now)
            accounts.note_use(unit, credential, region=Region(region), service="sts")

        node.read(admit)
        uses.flush(node)

    use("eu-central-1")
    clock.advance(timedelta(minutes=14))
    use("eu-west-1")
    used = iam("GetAccessKeyLastUsed", AccessKeyId=key)["AccessKeyLastUsed"]
    assert used == {"LastUsedDate": NOON, "Region": "eu-central-1", "ServiceName": "sts"}
    clock.advance(timedelta(minutes=1))
    use("eu-west-1")
    later = iam("GetAccessKeyLastUsed", AccessKeyId=key)["AccessKeyLastUsed"]
    assert later["Region"] == "eu-west-1"
