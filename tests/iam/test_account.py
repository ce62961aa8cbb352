"""The account as a whole, the reads of tools, and OpenID Connect providers."""

from __future__ import annotations

import json

import pytest

from tests.calling import refusal
from tests.iam.calling import ACCOUNT, READ, TRUST, Caller
from tests.support import NOON
from turnlock.errors import InvalidInputException, LimitExceededException

ISSUER = "https://token.example.com/main"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.example.com/main"
THUMBPRINT = "0123456789abcdef0123456789ABCDEF01234567"


def test_the_summary_counts_what_is_there(iam: Caller) -> None:
    iam("CreateUser", UserName="ann")
    iam("CreateGroup", GroupName="g")
    iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=TRUST)
    iam("CreatePolicy", PolicyName="p", PolicyDocument=READ)
    iam("CreateVirtualMFADevice", VirtualMFADeviceName="phone")
    iam("CreateOpenIDConnectProvider", Url=ISSUER)
    found = iam("GetAccountSummary")["SummaryMap"]
    counted = ("Users", "Groups", "Roles", "Policies", "PolicyVersionsInUse", "MFADevices", "Providers")
    assert [found[name] for name in counted] == [1] * 7
    assert (found["AccountAccessKeysPresent"], found["MFADevicesInUse"]) == (1, 0)
    assert (found["AccessKeysPerUserQuota"], found["PolicySizeQuota"]) == (2, 6144)


def test_who_holds_what_is_told_whole_and_in_pages(iam: Caller) -> None:
    iam("CreateUser", UserName="ann", Tags=[{"Key": "a", "Value": "1"}])
    iam("CreateGroup", GroupName="g")
    iam("AddUserToGroup", UserName="ann", GroupName="g")
    iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=READ)
    iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=TRUST)
    own = iam("CreatePolicy", PolicyName="own", PolicyDocument=READ)["Policy"]["Arn"]
    iam("AttachGroupPolicy", GroupName="g", PolicyArn=own)
    found = iam("GetAccountAuthorizationDetails")
    (user,) = found["UserDetailList"]
    assert (user["UserName"], user["GroupList"]) == ("ann", ["g"])
    assert user["UserPolicyList"] == [{"PolicyName": "p", "PolicyDocument": json.loads(READ)}]
    (group,) = found["GroupDetailList"]
    assert group["AttachedManagedPolicies"] == [{"PolicyName": "own", "PolicyArn": own}]
    (role,) = found["RoleDetailList"]
    assert role["AssumeRolePolicyDocument"] == json.loads(TRUST)
    (policy,) = found["Policies"]
    assert policy["PolicyVersionList"][0]["Document"] == json.loads(READ)
    assert iam("GetAccountAuthorizationDetails", Filter=["Role"])["UserDetailList"] == []
    seen = 0
    marker: dict[str, str] = {}
    while True:
        some = iam("GetAccountAuthorizationDetails", MaxItems=1, **marker)
        seen += sum(len(some[name]) for name in found if name.endswith("List") or name == "Policies")
        if not some["IsTruncated"]:
            break
        marker = {"Marker": some["Marker"]}
    assert seen == 4


def test_tools_are_told_that_a_user_has_none_of_what_is_not_served(iam: Caller) -> None:
    iam("CreateUser", UserName="ann")
    for operation, member in (
        ("ListSigningCertificates", "Certificates"),
        ("ListSSHPublicKeys", "SSHPublicKeys"),
        ("ListServiceSpecificCredentials", "ServiceSpecificCredentials"),
    ):
        assert iam(operation, UserName="ann")[member] == []
        missing = iam.elsewhere()
        with pytest.raises(Exception, match="nobody cannot be found"):
            missing(operation, UserName="nobody")
    assert iam("ListAccountAliases")["AccountAliases"] == []


def test_a_provider_is_made_shown_changed_and_deleted(iam: Caller) -> None:
    made = iam("CreateOpenIDConnectProvider", Url=ISSUER, ClientIDList=["one"], ThumbprintList=[THUMBPRINT])
    assert made["OpenIDConnectProviderArn"] == PROVIDER
    named = {"OpenIDConnectProviderArn": PROVIDER}
    iam("AddClientIDToOpenIDConnectProvider", **named, ClientID="two")
    iam("RemoveClientIDFromOpenIDConnectProvider", **named, ClientID="one")
    iam("TagOpenIDConnectProvider", **named, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam("UntagOpenIDConnectProvider", **named, TagKeys=["a"])
    assert iam("ListOpenIDConnectProviderTags", **named)["Tags"] == [{"Key": "b", "Value": "2"}]
    found = iam("GetOpenIDConnectProvider", **named)
    assert found == {
        "Url": "token.example.com/main",
        "ClientIDList": ["two"],
        "ThumbprintList": [THUMBPRINT.lower()],
        "CreateDate": NOON,
        "Tags": [{"Key": "b", "Value": "2"}],
    }
    iam("UpdateOpenIDConnectProviderThumbprint", **named, ThumbprintList=["f" * 40])
    assert iam("GetOpenIDConnectProvider", **named)["ThumbprintList"] == ["f" * 40]
    assert iam("ListOpenIDConnectProviders")["OpenIDConnectProviderList"] == [{"Arn": PROVIDER}]
    assert refusal(lambda: iam("CreateOpenIDConnectProvider", Url=ISSUER))[0] == (
        "EntityAlreadyExistsException"
    )
    for _ in range(2):
        iam("DeleteOpenIDConnectProvider", **named)
    assert refusal(lambda: iam("GetOpenIDConnectProvider", **named))[0] == "NoSuchEntityException"


@pytest.mark.parametrize(
    "url",
    [
        "http://token.example.com",
        "token.example.com",
        "https://",
        "https://user@token.example.com",
        "https://token.example.com/?x=1",
        "https://token.example.com/#x",
        "https://token.example.com/a b",
        "https://TOKEN.example.com:port/",
    ],
)
def test_an_address_that_no_issuer_has_is_refused(iam: Caller, url: str) -> None:
    with pytest.raises(InvalidInputException):
        iam("CreateOpenIDConnectProvider", Url=url)


def test_lists_of_a_provider_have_their_limits(iam: Caller) -> None:
    with pytest.raises(LimitExceededException):
        iam("CreateOpenIDConnectProvider", Url=ISSUER, ClientIDList=[f"c{n}" for n in range(101)])
    with pytest.raises(LimitExceededException):
        iam("CreateOpenIDConnectProvider", Url=ISSUER, ThumbprintList=[f"{n:040x}" for n in range(6)])
    with pytest.raises(InvalidInputException):
        iam("CreateOpenIDConnectProvider", Url=ISSUER, ThumbprintList=["g" * 40])
