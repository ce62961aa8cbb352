"""Inline and managed policies, their documents, their versions and who holds them; groups; tags."""

from __future__ import annotations

import json

import pytest

from tests.calling import refusal
from tests.iam.calling import ACCOUNT, READ, TRUST, Caller
from turnlock.accounts.entities.aws_managed import AWS_MANAGED
from turnlock.errors import LimitExceededException, MalformedPolicyDocumentException
from turnlock.iam.policies.documents import check_identity_policy

KINDS = ("User", "Group", "Role")
ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"
LAMBDA = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def make(iam: Caller, kind: str, name: str = "x") -> dict[str, str]:
    """Make an identity of a kind, and return the parameter that names it."""
    more = {"AssumeRolePolicyDocument": TRUST} if kind == "Role" else {}
    iam(f"Create{kind}", **{f"{kind}Name": name}, **more)
    return {f"{kind}Name": name}


@pytest.mark.parametrize("kind", KINDS)
def test_inline_policies_are_put_shown_listed_and_deleted(iam: Caller, kind: str) -> None:
    named = make(iam, kind)
    iam(f"Put{kind}Policy", **named, PolicyName="p", PolicyDocument=READ)
    iam(f"Put{kind}Policy", **named, PolicyName="b", PolicyDocument=READ)
    found = iam(f"Get{kind}Policy", **named, PolicyName="p")
    assert found == {**named, "PolicyName": "p", "PolicyDocument": json.loads(READ)}
    assert iam(f"List{kind}Policies", **named)["PolicyNames"] == ["b", "p"]
    iam(f"Delete{kind}Policy", **named, PolicyName="b")
    assert iam(f"List{kind}Policies", **named)["PolicyNames"] == ["p"]
    missing = f"The {kind.lower()} policy with name b cannot be found."
    assert refusal(lambda: iam(f"Get{kind}Policy", **named, PolicyName="b")) == (
        "NoSuchEntityException",
        missing,
    )
    assert refusal(lambda: iam(f"Delete{kind}", **named))[0] == "DeleteConflictException"


@pytest.mark.parametrize(("kind", "most"), [("User", 2048), ("Group", 5120), ("Role", 10240)])
def test_all_inline_policies_together_have_a_longest_length(iam: Caller, kind: str, most: int) -> None:
    """IAM user guide, quotas: white space is not counted."""
    named = make(iam, kind)
    sid = "s" * (most - len("".join(READ.split())) * 2 - len('"Sid":"",'))
    fits = READ.replace('"Effect"', f'"Sid":"{sid}","Effect"')
    iam(f"Put{kind}Policy", **named, PolicyName="a", PolicyDocument=READ)
    iam(f"Put{kind}Policy", **named, PolicyName="b", PolicyDocument=fits.replace(",", " , "))
    with pytest.raises(LimitExceededException):
        iam(f"Put{kind}Policy", **named, PolicyName="b", PolicyDocument=fits.replace("sss", "ssss", 1))


@pytest.mark.parametrize("kind", KINDS)
def test_managed_policies_are_attached_listed_and_detached(iam: Caller, kind: str) -> None:
    named = make(iam, kind)
    own = iam("CreatePolicy", PolicyName="own", PolicyDocument=READ)["Policy"]["Arn"]
    for arn in (own, LAMBDA, LAMBDA):
        iam(f"Attach{kind}Policy", **named, PolicyArn=arn)
    assert iam(f"ListAttached{kind}Policies", **named)["AttachedPolicies"] == [
        {"PolicyName": "own", "PolicyArn": own},
        {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": LAMBDA},
    ]
    of_path = iam(f"ListAttached{kind}Policies", **named, PathPrefix="/service-role/")
    assert [one["PolicyArn"] for one in of_path["AttachedPolicies"]] == [LAMBDA]
    held = iam("ListEntitiesForPolicy", PolicyArn=own)
    assert [one[f"{kind}Name"] for one in held[f"Policy{kind}s"]] == ["x"]
    assert iam("GetPolicy", PolicyArn=own)["Policy"]["AttachmentCount"] == 1
    assert refusal(lambda: iam("DeletePolicy", PolicyArn=own)) == (
        "DeleteConflictException",
        "Cannot delete a policy attached to entities.",
    )
    iam(f"Detach{kind}Policy", **named, PolicyArn=own)
    assert refusal(lambda: iam(f"Detach{kind}Policy", **named, PolicyArn=own)) == (
        "NoSuchEntityException",
        f"Policy {own} was not found.",
    )
    iam("DeletePolicy", PolicyArn=own)
    assert refusal(lambda: iam(f"Attach{kind}Policy", **named, PolicyArn=own))[0] == "NoSuchEntityException"


def test_an_identity_holds_ten_managed_policies_at_most(iam: Caller) -> None:
    named = make(iam, "User")
    for number in range(10):
        made = iam("CreatePolicy", PolicyName=f"p{number}", PolicyDocument=READ)["Policy"]
        iam("AttachUserPolicy", **named, PolicyArn=made["Arn"])
    with pytest.raises(LimitExceededException, match="Cannot exceed quota for PoliciesPerUser: 10"):
        iam("AttachUserPolicy", **named, PolicyArn=ADMIN)


def test_a_managed_policy_has_five_versions_one_of_them_its_default(iam: Caller) -> None:
    made = iam("CreatePolicy", PolicyName="p", Path="/team/", PolicyDocument=READ, Description="d")["Policy"]
    arn = made["Arn"]
    assert (arn, made["DefaultVersionId"]) == (f"arn:aws:iam::{ACCOUNT}:policy/team/p", "v1")
    second = READ.replace("GetSecretValue", "DescribeSecret")
    version = iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=second)["PolicyVersion"]
    assert (version["VersionId"], version["IsDefaultVersion"]) == ("v2", False)
    iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=READ, SetAsDefault=True)
    for _ in range(2):
        iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=READ)
    with pytest.raises(LimitExceededException):
        iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=READ)
    listed = iam("ListPolicyVersions", PolicyArn=arn)["Versions"]
    assert [(one["VersionId"], one["IsDefaultVersion"]) for one in listed] == [
        ("v5", False),
        ("v4", False),
        ("v3", True),
        ("v2", False),
        ("v1", False),
    ]
    shown = iam("GetPolicyVersion", PolicyArn=arn, VersionId="v2")["PolicyVersion"]
    assert shown["Document"] == json.loads(second)
    assert refusal(lambda: iam("DeletePolicyVersion", PolicyArn=arn, VersionId="v3")) == (
        "DeleteConflictException",
        "Cannot delete the default version of a policy.",
    )
    assert refusal(lambda: iam("DeletePolicy", PolicyArn=arn))[0] == "DeleteConflictException"
    iam("SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v2")
    iam("DeletePolicyVersion", PolicyArn=arn, VersionId="v5")
    again = iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=READ)["PolicyVersion"]
    assert again["VersionId"] == "v6", "a number is not used again"


def test_policies_of_aws_can_be_read_and_not_changed(iam: Caller) -> None:
    for known in AWS_MANAGED.values():
        assert len(known.id) == 21
        check_identity_policy(known.document)
        shown = iam("GetPolicy", PolicyArn=known.arn)["Policy"]
        assert (shown["Arn"], shown["DefaultVersionId"]) == (known.arn, "v1")
        version = iam("GetPolicyVersion", PolicyArn=known.arn, VersionId="v1")["PolicyVersion"]
        assert version["Document"] == json.loads(known.document)
        assert refusal(lambda: iam("DeletePolicy", PolicyArn=ADMIN))[0] == "InvalidInputException"
    arns = {one["Arn"] for one in iam("ListPolicies", Scope="AWS")["Policies"]}
    assert arns == AWS_MANAGED.keys()
    assert iam("ListPolicies", Scope="Local")["Policies"] == []
    iam("AttachUserPolicy", **make(iam, "User"), PolicyArn=ADMIN)
    attached = iam("ListPolicies", OnlyAttached=True)["Policies"]
    assert [(one["Arn"], one["AttachmentCount"]) for one in attached] == [(ADMIN, 1)]


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        "7",
        "{}",
        '{"Version":"2012-10-17","Statement":[]}',
        '{"Version":"2012-10-17","Statement":7}',
        READ.replace("Allow", "Perhaps"),
        READ.replace('"Effect"', '"Principal":"*","Effect"'),
        READ.replace('"Effect"', '"NotPrincipal":"*","Effect"'),
        READ.replace('"Effect":"Allow"', '"Effect":"Deny","Effect":"Allow"'),
        READ.replace('"Effect"', '"Condition":{"StringEqual":{"aws:username":"x"}},"Effect"'),
        "[" * 2_000,
    ],
)
def test_what_is_no_policy_is_refused(iam: Caller, document: str) -> None:
    named = make(iam, "User")
    for operation, more in (("PutUserPolicy", named), ("CreatePolicy", {})):
        with pytest.raises(MalformedPolicyDocumentException):
            iam(operation, PolicyName="p", PolicyDocument=document, **more)


@pytest.mark.parametrize(
    "document",
    [
        READ,
        TRUST.replace('"Action"', '"Resource":"*","Action"'),
        TRUST.replace("sts:AssumeRole", "iam:CreateUser"),
        TRUST.replace('"Action":', '"NotAction":'),
    ],
)
def test_what_is_no_trust_policy_is_refused(iam: Caller, document: str) -> None:
    with pytest.raises(MalformedPolicyDocumentException):
        iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=document)
    make(iam, "Role")
    with pytest.raises(MalformedPolicyDocumentException):
        iam("UpdateAssumeRolePolicy", RoleName="x", PolicyDocument=document)


def test_a_role_is_shown_as_it_was_made_and_changed(iam: Caller) -> None:
    made = iam(
        "CreateRole", RoleName="r", Path="/app/", AssumeRolePolicyDocument=TRUST, MaxSessionDuration=7200
    )["Role"]
    assert made["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert (made["Arn"], made["MaxSessionDuration"]) == (f"arn:aws:iam::{ACCOUNT}:role/app/r", 7200)
    iam("UpdateRole", RoleName="r", Description="told", MaxSessionDuration=3600)
    other = TRUST.replace(ACCOUNT, "999999999999")
    iam("UpdateAssumeRolePolicy", RoleName="r", PolicyDocument=other)
    found = iam("GetRole", RoleName="r")["Role"]
    assert (found["Description"], found["MaxSessionDuration"]) == ("told", 3600)
    assert found["AssumeRolePolicyDocument"] == json.loads(other)
    assert [role["RoleName"] for role in iam("ListRoles")["Roles"]] == ["r"]
    assert iam("ListInstanceProfilesForRole", RoleName="r")["InstanceProfiles"] == []


@pytest.mark.parametrize("kind", ["User", "Role"])
def test_a_boundary_is_set_shown_and_taken_away(iam: Caller, kind: str) -> None:
    named = make(iam, kind)
    own = iam("CreatePolicy", PolicyName="edge", PolicyDocument=READ)["Policy"]["Arn"]
    iam(f"Put{kind}PermissionsBoundary", **named, PermissionsBoundary=own)
    shown = iam(f"Get{kind}", **named)[kind]["PermissionsBoundary"]
    assert shown == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": own}
    assert iam("GetPolicy", PolicyArn=own)["Policy"]["PermissionsBoundaryUsageCount"] == 1
    assert refusal(lambda: iam("DeletePolicy", PolicyArn=own))[0] == "DeleteConflictException"
    found = iam("ListEntitiesForPolicy", PolicyArn=own, PolicyUsageFilter="PermissionsBoundary")
    assert [one[f"{kind}Name"] for one in found[f"Policy{kind}s"]] == ["x"]
    iam(f"Delete{kind}PermissionsBoundary", **named)
    assert "PermissionsBoundary" not in iam(f"Get{kind}", **named)[kind]
    assert refusal(lambda: iam(f"Delete{kind}PermissionsBoundary", **named))[0] == "NoSuchEntityException"


def test_groups_know_their_users_and_users_their_groups(iam: Caller) -> None:
    make(iam, "Group", "readers")
    for name in ("ann", "Bob"):
        make(iam, "User", name)
        for _ in range(2):
            iam("AddUserToGroup", GroupName="readers", UserName=name)
    group = iam("GetGroup", GroupName="readers")
    assert [user["UserName"] for user in group["Users"]] == ["ann", "Bob"]
    assert [one["GroupName"] for one in iam("ListGroupsForUser", UserName="ann")["Groups"]] == ["readers"]
    assert refusal(lambda: iam("DeleteGroup", GroupName="readers"))[0] == "DeleteConflictException"
    iam("UpdateGroup", GroupName="readers", NewGroupName="writers", NewPath="/w/")
    assert [one["GroupName"] for one in iam("ListGroups", PathPrefix="/w/")["Groups"]] == ["writers"]
    assert len(iam("GetGroup", GroupName="writers")["Users"]) == 2
    for name in ("ann", "Bob"):
        iam("RemoveUserFromGroup", GroupName="writers", UserName=name)
    iam("DeleteGroup", GroupName="writers")
    assert iam("ListGroups")["Groups"] == []


@pytest.mark.parametrize("noun", ["User", "Role", "Policy"])
def test_tags_are_added_changed_listed_and_removed(iam: Caller, noun: str) -> None:
    if noun == "Policy":
        made = iam("CreatePolicy", PolicyName="p", PolicyDocument=READ)["Policy"]
        named = {"PolicyArn": made["Arn"]}
    else:
        named = make(iam, noun)
    iam(f"Tag{noun}", **named, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam(f"Tag{noun}", **named, Tags=[{"Key": "A", "Value": "3"}])
    listed = iam(f"List{noun}Tags", **named)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in listed} == {"A": "3", "b": "2"}
    iam(f"Untag{noun}", **named, TagKeys=["B", "never"])
    assert [tag["Key"] for tag in iam(f"List{noun}Tags", **named)["Tags"]] == ["A"]
    twice = [{"Key": "x", "Value": ""}, {"Key": "X", "Value": ""}]
    assert refusal(lambda: iam(f"Tag{noun}", **named, Tags=twice))[0] == "InvalidInputException"
    reserved = [{"Key": "aws:x", "Value": ""}]
    assert refusal(lambda: iam(f"Tag{noun}", **named, Tags=reserved))[0] == "InvalidInputException"
    many = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    assert refusal(lambda: iam(f"Tag{noun}", **named, Tags=many))[0] == "LimitExceededException"
