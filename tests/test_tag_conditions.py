"""A Deny on a tag holds for every service, whatever other tags a request has beside it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.placed import Placed
from turnlock.errors import AccessDeniedException, ApiError

# What a request with these tags looks like, by service: (operation, other members, how the tags are spelled).
REQUESTS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "secretsmanager": ("CreateSecret", {"Name": "s", "SecretString": "x"}, "Key", "Value"),
    "kms": ("CreateKey", {}, "TagKey", "TagValue"),
    "rds": (
        "CreateDBCluster",
        {
            "DBClusterIdentifier": "c",
            "Engine": "aurora-postgresql",
            "MasterUsername": "adm",
            "MasterUserPassword": "password1",
        },
        "Key",
        "Value",
    ),
    "iam": ("CreateUser", {"UserName": "new"}, "Key", "Value"),
}
ALIKE = [
    [("Env", "prod")],
    [("Env", "prod"), ("env", "x")],
    [("env", "x"), ("Env", "prod")],
    [("ENV", "prod"), ("eNV", "x"), ("Env", "y")],
    [("Env", "prod"), ("Env", "x")],
    [("Env", "x"), ("Env", "prod")],
]
CONDITIONS = {
    "its value": {"StringEquals": {"aws:RequestTag/Env": "prod"}},
    "its key": {"ForAnyValue:StringEqualsIgnoreCase": {"aws:TagKeys": "env"}},
    "a variable": {"StringEquals": {"aws:PrincipalTag/Kept": "${aws:RequestTag/Env}"}},
}


class AsAnn:
    """Calls as a user who may do everything but what a condition says."""

    def __init__(self, place: Placed) -> None:
        self.place = place
        self._ann = place.user("ann", Tags=[{"Key": "Kept", "Value": "prod"}])

    def put(self, condition: dict[str, Any]) -> None:
        """Let Ann do everything but what this condition says."""
        everything = {"Action": "*", "Resource": "*"}
        self.place.put_user_policy(
            "ann",
            {"Effect": "Allow", **everything},
            {"Effect": "Deny", **everything, "Condition": condition},
        )

    def do(self, service: str, operation: str, **request: Any) -> Any:
        """Return the outcome of a call."""
        return self.place.outcome(service, operation, self._ann, **request)


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsAnn]:
    place = Placed(tmp_path_factory.mktemp("tags") / "data")
    yield AsAnn(place)
    place.close()


@pytest.mark.parametrize("service", REQUESTS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_deny_on_a_tag_of_a_request_is_not_escaped_by_a_second_tag(
    ann: AsAnn, condition: str, service: str
) -> None:
    ann.put(CONDITIONS[condition])
    operation, members, key, value = REQUESTS[service]
    for pairs in ALIKE:
        tags = [{key: one, value: other} for one, other in pairs]
        outcome = ann.do(service, operation, **members, Tags=tags)
        assert isinstance(outcome, AccessDeniedException), (pairs, outcome)


def test_a_deny_on_an_encryption_context_is_not_escaped_by_a_second_key(ann: AsAnn) -> None:
    ann.put({"StringEquals": {"kms:EncryptionContext:Dept": "pay"}})
    key = ann.place.do("kms", "CreateKey")["KeyMetadata"]["KeyId"]
    for context in ({"Dept": "pay"}, {"Dept": "pay", "dept": "x"}, {"dept": "x", "Dept": "pay"}):
        outcome = ann.do("kms", "Encrypt", KeyId=key, Plaintext=b"x", EncryptionContext=context)
        assert isinstance(outcome, AccessDeniedException)
    assert not isinstance(
        ann.do("kms", "Encrypt", KeyId=key, Plaintext=b"x", EncryptionContext={"dept": "x"}), ApiError
    )


@pytest.mark.parametrize("service", ["secretsmanager", "kms", "rds"])
def test_a_deny_on_a_tag_of_a_resource_is_not_escaped_by_a_second_tag(ann: AsAnn, service: str) -> None:
    first, second = {"Key": "Env", "Value": "prod"}, {"Key": "env", "Value": "x"}
    place = ann.place
    if service == "secretsmanager":
        arn = place.do(
            service,
            "CreateSecret",
            Name="tagged",
            SecretString="x",
            ClientRequestToken=str(uuid.uuid4()),
            Tags=[first, second],
        )["ARN"]
        asked: tuple[str, dict[str, Any]] = ("DescribeSecret", {"SecretId": arn})
    elif service == "kms":
        tags = [{"TagKey": one["Key"], "TagValue": one["Value"]} for one in (first, second)]
        asked = ("DescribeKey", {"KeyId": place.do(service, "CreateKey", Tags=tags)["KeyMetadata"]["KeyId"]})
    else:
        members = REQUESTS["rds"][1] | {"DBClusterIdentifier": "tagged"}
        place.do(service, "CreateDBCluster", **members, Tags=[first, second])
        asked = ("DescribeDBClusters", {"DBClusterIdentifier": "tagged"})
    ann.put({"StringEquals": {"aws:ResourceTag/Env": "prod"}})
    assert isinstance(ann.do(service, asked[0], **asked[1]), AccessDeniedException)
    ann.put({"StringEquals": {"aws:ResourceTag/Env": "none"}})
    assert not isinstance(ann.do(service, asked[0], **asked[1]), ApiError)
