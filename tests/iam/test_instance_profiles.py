"""Instance profiles, which do nothing here, and tags of what stands beside users and roles."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from tests.calling import refusal
from tests.iam.calling import ACCOUNT, TRUST, Caller, user_principal
from tests.support import NOON


@pytest.fixture
def role(iam: Caller) -> dict[str, Any]:
    made: dict[str, Any] = iam("CreateRole", RoleName="web", AssumeRolePolicyDocument=TRUST)["Role"]
    return made


def test_a_profile_is_made_given_a_role_listed_and_taken_away(iam: Caller, role: dict[str, Any]) -> None:
    named = {"InstanceProfileName": "web"}
    assert refusal(lambda: iam("GetInstanceProfile", **named)) == (
        "NoSuchEntityException",
        "Instance Profile web cannot be found.",
    )
    made = iam("CreateInstanceProfile", **named, Path="/team/")["InstanceProfile"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/team/web"
    assert (made["Roles"], made["CreateDate"], made["InstanceProfileId"][:4]) == ([], NOON, "AIPA")
    assert refusal(lambda: iam("CreateInstanceProfile", InstanceProfileName="WEB"))[0] == (
        "EntityAlreadyExistsException"
    )
    iam("AddRoleToInstanceProfile", **named, RoleName="web")
    (held,) = iam("GetInstanceProfile", **named)["InstanceProfile"]["Roles"]
    assert (held["Arn"], held["RoleId"]) == (role["Arn"], role["RoleId"])
    assert refusal(lambda: iam("AddRoleToInstanceProfile", **named, RoleName="web"))[0] == (
        "LimitExceededException"
    )
    for listed in (
        iam("ListInstanceProfiles", PathPrefix="/team/"),
        iam("ListInstanceProfilesForRole", RoleName="web"),
    ):
        assert [one["InstanceProfileId"] for one in listed["InstanceProfiles"]] == [made["InstanceProfileId"]]
    assert iam("ListInstanceProfiles", PathPrefix="/other/")["InstanceProfiles"] == []
    (detail,) = iam("GetAccountAuthorizationDetails", Filter=["Role"])["RoleDetailList"]
    assert [one["InstanceProfileName"] for one in detail["InstanceProfileList"]] == ["web"]
    conflict = "Cannot delete entity, must remove roles from instance profile first."
    for delete in (
        lambda: iam("DeleteRole", RoleName="web"),
        lambda: iam("DeleteInstanceProfile", **named),
    ):
        assert refusal(delete) == ("DeleteConflictException", conflict)
    iam("RemoveRoleFromInstanceProfile", **named, RoleName="web")
    assert refusal(lambda: iam("RemoveRoleFromInstanceProfile", **named, RoleName="web"))[0] == (
        "NoSuchEntityException"
    )
    iam("DeleteInstanceProfile", **named)
    iam("DeleteRole", RoleName="web")


def test_who_adds_a_role_must_be_allowed_to_pass_it(iam: Caller, role: dict[str, Any]) -> None:
    ann = iam.elsewhere(principal=user_principal(iam("CreateUser", UserName="ann")["User"]))
    iam("CreateInstanceProfile", InstanceProfileName="web")

    def allow(*actions: str) -> None:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)

    def add() -> None:
        ann("AddRoleToInstanceProfile", InstanceProfileName="web", RoleName="web")

    allow("iam:AddRoleToInstanceProfile")
    assert "iam:PassRole" in refusal(add)[1]
    allow("iam:AddRoleToInstanceProfile", "iam:PassRole")
    add()


def test_a_denial_of_a_profile_holds_however_its_name_is_spelled(iam: Caller) -> None:
    ann = iam.elsewhere(principal=user_principal(iam("CreateUser", UserName="ann")["User"]))
    profile = iam("CreateInstanceProfile", InstanceProfileName="web")["InstanceProfile"]
    everything = {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}
    but_this = {"Effect": "Deny", "Action": "iam:*", "Resource": profile["Arn"]}
    document = json.dumps({"Version": "2012-10-17", "Statement": [everything, but_this]})
    iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
    for name in ("web", "WEB"):
        denied = refusal(partial(ann, "DeleteInstanceProfile", InstanceProfileName=name))
        assert denied[0] == "AccessDeniedException"


@pytest.mark.parametrize("noun", ["InstanceProfile", "MFADevice"])
def test_tags_are_added_listed_and_removed(iam: Caller, noun: str) -> None:
    if noun == "MFADevice":
        made = iam("CreateVirtualMFADevice", VirtualMFADeviceName="phone")["VirtualMFADevice"]
        named = {"SerialNumber": made["SerialNumber"]}
    else:
        iam("CreateInstanceProfile", InstanceProfileName="web")
        named = {"InstanceProfileName": "web"}
    assert iam(f"List{noun}Tags", **named)["Tags"] == []
    iam(f"Tag{noun}", **named, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam(f"Untag{noun}", **named, TagKeys=["A"])
    assert iam(f"List{noun}Tags", **named)["Tags"] == [{"Key": "b", "Value": "2"}]


def test_a_role_keeps_what_an_update_does_not_name(iam: Caller) -> None:
    iam(
        "CreateRole", RoleName="r", AssumeRolePolicyDocument=TRUST, MaxSessionDuration=43_200, Description="a"
    )
    iam("UpdateRole", RoleName="r", Description="b")
    role = iam("GetRole", RoleName="r")["Role"]
    assert (role["MaxSessionDuration"], role["Description"]) == (43_200, "b")
    iam("UpdateRole", RoleName="r", MaxSessionDuration=3_600)
    role = iam("GetRole", RoleName="r")["Role"]
    assert (role["MaxSessionDuration"], role["Description"]) == (3_600, "b")


def test_a_policy_of_aws_that_is_not_here_says_where_those_are_that_are(iam: Caller) -> None:
    iam("CreateUser", UserName="ann")
    code, message = refusal(
        lambda: iam(
            "AttachUserPolicy", UserName="ann", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2FullAccess"
        )
    )
    assert code == "NoSuchEntityException"
    assert "ListPolicies shows with Scope=AWS" in message
    attached = "arn:aws:iam::aws:policy/AWSDenyAll"
    assert attached in {one["Arn"] for one in iam("ListPolicies", Scope="AWS")["Policies"]}
    iam("AttachUserPolicy", UserName="ann", PolicyArn=attached)
