"""Who may do what with a secret: its condition keys, its resource policy, its tags, and other accounts, through the gate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from tests.calling import ACCOUNT, REGION, Client, refusal, token
from turnlock import accounts, policies
from turnlock.core.action import Action
from turnlock.core.arn import AccountId
from turnlock.core.call import Principal, PrincipalKind, Session
from turnlock.errors import ApiError
from turnlock.secrets import secret_subject
from turnlock.storage import Unit

OTHER = AccountId("210987654321")
ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str = "*", **elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": "*", **elements}


def bound(client: Client, *statements: Mapping[str, Any]) -> Client:
    """Return a client whose authority is a session policy of these statements."""
    principal = Principal(
        kind=PrincipalKind.ASSUMED_ROLE, arn=ROLE, account_id=ACCOUNT, principal_id="AROAEXAMPLE:s"
    )
    session = Session(access_key_id="ASIAEXAMPLE", policy=document(*statements), hosted=True)
    return client.elsewhere(principal=principal, session=session, records=[])


def under(client: Client, key: str, value: Any, operator: str = "StringEquals") -> Client:
    """Return a client who may do everything where a key of the call has this value."""
    return bound(client, allow(Condition={operator: {key: value}}))


def may(call: Callable[[], object]) -> bool:
    """Tell whether a call got past the gate, whatever became of it there."""
    try:
        call()
    except ApiError as error:
        return error.code != "AccessDeniedException"
    return True


@pytest.fixture
def secret(client: Client) -> str:
    """The ARN of a tagged secret `db`."""
    arn: str = client(
        "CreateSecret",
        Name="db",
        SecretString="v",
        ClientRequestToken=token(),
        Tags=[{"Key": "Team", "Value": "red"}],
    )["ARN"]
    client.records.clear()
    return arn


FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
TAGS = [{"Key": "Team", "Value": "red"}]
OF_SECRET = {"SecretId": "db"}
NEW = {"Name": "new"}

# (operation, its parameters, operator, key, the value that the call has, another value)
Row = tuple[str, dict[str, Any], str, str, Any, Any]
KEYS: list[Row] = [
    (
        "GetSecretValue",
        OF_SECRET,
        "ArnLike",
        "secretsmanager:SecretId",
        "arn:aws:*:*:*:secret:db-*",
        "arn:aws:*:*:*:secret:x-*",
    ),
    ("GetSecretValue", OF_SECRET, "StringEquals", "secretsmanager:ResourceTag/Team", "red", "blue"),
    ("GetSecretValue", OF_SECRET, "StringEquals", "secretsmanager:resourcetag/team", "red", "Red"),
    ("GetSecretValue", OF_SECRET, "StringEquals", "aws:ResourceTag/Team", "red", "blue"),
    ("GetSecretValue", OF_SECRET, "StringEquals", "secretsmanager:SecretPrimaryRegion", REGION, "us-east-1"),
    ("GetSecretValue", OF_SECRET, "Null", "secretsmanager:resource/Type", "true", "false"),
    ("GetSecretValue", OF_SECRET, "Null", "secretsmanager:resource/AllowRotationLambdaArn", "true", "false"),
    (
        "GetSecretValue",
        {**OF_SECRET, "VersionId": token()},
        "StringEquals",
        "secretsmanager:VersionId",
        token(),
        token(1),
    ),
    (
        "GetSecretValue",
        {**OF_SECRET, "VersionStage": "AWSCURRENT"},
        "StringEquals",
        "secretsmanager:VersionStage",
        "AWSCURRENT",
        "AWSPENDING",
    ),
    ("GetSecretValue", OF_SECRET, "Null", "secretsmanager:VersionStage", "true", "false"),
    ("DescribeSecret", {**OF_SECRET}, "Null", "secretsmanager:VersionStage", "true", "false"),
    (
        "UpdateSecretVersionStage",
        {**OF_SECRET, "VersionStage": "x", "MoveToVersionId": token()},
        "StringEquals",
        "secretsmanager:VersionStage",
        "x",
        "y",
    ),
    ("CreateSecret", NEW, "StringEquals", "secretsmanager:Name", "new", "old"),
    ("CreateSecret", NEW, "StringLike", "secretsmanager:Name", "n*", "o*"),
    ("CreateSecret", {**NEW, "Description": "d"}, "StringEquals", "secretsmanager:Description", "d", "e"),
    (
        "CreateSecret",
        {**NEW, "KmsKeyId": "alias/aws/secretsmanager"},
        "StringEquals",
        "secretsmanager:KmsKeyId",
        "alias/aws/secretsmanager",
        "x",
    ),
    ("CreateSecret", NEW, "Null", "secretsmanager:KmsKeyArn", "true", "false"),
    (
        "CreateSecret",
        {**NEW, "AddReplicaRegions": [{"Region": "us-east-1"}]},
        "ForAllValues:StringEquals",
        "secretsmanager:AddReplicaRegions",
        ["us-east-1"],
        ["eu-west-1"],
    ),
    (
        "CreateSecret",
        {**NEW, "ForceOverwriteReplicaSecret": True},
        "Bool",
        "secretsmanager:ForceOverwriteReplicaSecret",
        "true",
        "false",
    ),
    ("CreateSecret", {**NEW, "Tags": TAGS}, "StringEquals", "aws:RequestTag/Team", "red", "blue"),
    ("CreateSecret", {**NEW, "Tags": TAGS}, "ForAllValues:StringEquals", "aws:TagKeys", ["Team"], ["team"]),
    ("CreateSecret", {**NEW, "Tags": TAGS}, "StringEquals", "aws:ResourceTag/Team", "red", "blue"),
    (
        "UpdateSecret",
        {**OF_SECRET, "Description": "d"},
        "StringEquals",
        "secretsmanager:Description",
        "d",
        "e",
    ),
    (
        "DeleteSecret",
        {**OF_SECRET, "RecoveryWindowInDays": 7},
        "NumericGreaterThanEquals",
        "secretsmanager:RecoveryWindowInDays",
        7,
        8,
    ),
    (
        "DeleteSecret",
        {**OF_SECRET, "ForceDeleteWithoutRecovery": True},
        "Bool",
        "secretsmanager:ForceDeleteWithoutRecovery",
        "true",
        "false",
    ),
    ("DeleteSecret", OF_SECRET, "Null", "secretsmanager:ForceDeleteWithoutRecovery", "true", "false"),
    (
        "PutResourcePolicy",
        {
            **OF_SECRET,
            "ResourcePolicy": document({**allow(), "Principal": {"AWS": ACCOUNT}}),
            "BlockPublicPolicy": True,
        },
        "Bool",
        "secretsmanager:BlockPublicPolicy",
        "true",
        "false",
    ),
    (
        "ReplicateSecretToRegions",
        {**OF_SECRET, "AddReplicaRegions": [{"Region": "us-east-1"}]},
        "ForAnyValue:StringEquals",
        "secretsmanager:AddReplicaRegions",
        "us-east-1",
        "eu-west-1",
    ),
    ("TagResource", {**OF_SECRET, "Tags": TAGS}, "StringEquals", "aws:RequestTag/Team", "red", "blue"),
    ("TagResource", {**OF_SECRET, "Tags": TAGS}, "ForAnyValue:StringEquals", "aws:TagKeys", "Team", "Other"),
    (
        "UntagResource",
        {**OF_SECRET, "TagKeys": ["Other"]},
        "ForAllValues:StringEquals",
        "aws:TagKeys",
        "Other",
        "Team",
    ),
]


@pytest.mark.parametrize("row", KEYS, ids=lambda row: f"{row[0]} {row[3]}")
@pytest.mark.usefixtures("secret")
def test_a_condition_key_has_the_value_of_the_call(client: Client, row: Row) -> None:
    """docs/aws-behaviour.md#condition-keys-of-secrets. What fails is tried first, because what succeeds may change the secret."""
    operation, parameters, operator, key, value, other = row
    assert not may(partial(under(client, key, other, operator), operation, **parameters))
    assert may(partial(under(client, key, value, operator), operation, **parameters))


ROTATE: list[Row] = [
    (
        "RotateSecret",
        {"RotationLambdaARN": FUNCTION},
        "ArnEquals",
        "secretsmanager:RotationLambdaARN",
        FUNCTION,
        FUNCTION + "2",
    ),
    ("RotateSecret", {}, "Bool", "secretsmanager:RotateImmediately", "true", "false"),
    (
        "RotateSecret",
        {"RotateImmediately": False},
        "Bool",
        "secretsmanager:RotateImmediately",
        "false",
        "true",
    ),
    ("RotateSecret", {}, "Bool", "secretsmanager:ModifyRotationRules", "false", "true"),
    (
        "RotateSecret",
        {"RotationRules": {"AutomaticallyAfterDays": 3}},
        "Bool",
        "secretsmanager:ModifyRotationRules",
        "true",
        "false",
    ),
]


@pytest.mark.parametrize("row", ROTATE, ids=lambda row: f"{row[3]} {row[4]}")
@pytest.mark.usefixtures("secret")
def test_the_keys_of_rotate_secret(client: Client, row: Row) -> None:
    """RotateSecret is the rotation room's; what it is about is found here."""
    operation, parameters, operator, key, value, other = row

    def decided(wanted: Any) -> bool:
        bounded = under(client, key, wanted, operator)
        action = Action(name=operation, handler=lambda *_: {}, subject=secret_subject, mutates=True)
        call = bounded.call(operation)

        def work(unit: Unit) -> bool:
            subject = secret_subject(call, {"SecretId": "db", **parameters}, unit)
            return policies.decide(call, action, subject) == policies.Allowed()

        return client.database.read(work)

    assert decided(value)
    assert not decided(other)


def test_a_new_secret_is_known_to_policies_by_the_arn_that_it_will_have(client: Client) -> None:
    home = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
    team = bound(client, {**allow(), "Resource": f"{home}team/*"})
    assert may(partial(team, "CreateSecret", Name="team/a"))
    code, message = refusal(partial(team, "CreateSecret", Name="other"))
    assert (code, "on resource: other because" in message) == ("AccessDeniedException", True)


def test_a_resource_policy_counts_from_the_moment_it_is_put(client: Client, secret: str) -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    client("PutResourcePolicy", SecretId="db", ResourcePolicy=document(deny))
    code, message = refusal(partial(client, "GetSecretValue", SecretId="db"))
    assert (code, message.endswith("with an explicit deny in a resource-based policy")) == (
        "AccessDeniedException",
        True,
    )
    client("DeleteResourcePolicy", SecretId="db")
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "v"


@pytest.mark.parametrize("operation", ["TagResource", "UntagResource"])
def test_a_change_of_tags_that_would_shut_its_caller_out_is_refused_and_undone(
    client: Client, secret: str, operation: str
) -> None:
    by_tag = under(client, "aws:ResourceTag/Team", "red")
    given = (
        {"Tags": [{"Key": "Team", "Value": "blue"}]} if operation == "TagResource" else {"TagKeys": ["Team"]}
    )
    code, _ = refusal(partial(by_tag, operation, SecretId="db", **given))
    assert code == "AccessDeniedException"
    assert by_tag("DescribeSecret", SecretId="db")["Tags"] == TAGS
    by_tag("TagResource", SecretId="db", Tags=[{"Key": "Other", "Value": "x"}])


@pytest.fixture
def stranger(client: Client) -> Client:
    """The root user of another account."""
    client.database.write(lambda unit: accounts.create_account(unit, OTHER))
    root = accounts.root_principal(OTHER)
    return client.elsewhere(principal=root, account_id=OTHER, records=[])


def let_in(client: Client, *actions: str) -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": list(actions), "Resource": "*"}
    client("PutResourcePolicy", SecretId="db", ResourcePolicy=document(statement))
    client.records.clear()


def test_another_account_is_let_in_by_the_full_arn_where_a_policy_says_so(
    client: Client, secret: str, stranger: Client
) -> None:
    code, message = refusal(partial(stranger, "DescribeSecret", SecretId=secret))
    assert (code, "because no resource-based policy allows" in message) == ("AccessDeniedException", True)
    let_in(client, "secretsmanager:DescribeSecret")
    assert stranger("DescribeSecret", SecretId=secret)["Name"] == "db"
    assert refusal(partial(stranger, "DescribeSecret", SecretId="db"))[0] == "ResourceNotFoundException"
    assert refusal(partial(stranger, "DeleteSecret", SecretId=secret))[0] == "AccessDeniedException"


def test_both_accounts_get_the_record_of_what_crossed(client: Client, secret: str, stranger: Client) -> None:
    let_in(client, "secretsmanager:*")
    stranger("UpdateSecret", SecretId=secret, Description="theirs")
    theirs, ours = stranger.records
    assert (theirs["recipientAccountId"], ours["recipientAccountId"]) == (OTHER, ACCOUNT)
    assert theirs["sharedEventID"] == ours["sharedEventID"]
    assert theirs["eventID"] != ours["eventID"]
    assert ours["userIdentity"]["accountId"] == OTHER
    assert client("DescribeSecret", SecretId="db")["Description"] == "theirs"


def test_what_was_refused_is_recorded_for_the_caller_alone(secret: str, stranger: Client) -> None:
    refusal(partial(stranger, "DeleteSecret", SecretId=secret))
    assert [record["recipientAccountId"] for record in stranger.records] == [OTHER]
    assert "sharedEventID" not in stranger.records[0]


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("GetSecretValue", {}),
        ("PutSecretValue", {"SecretString": "w", "ClientRequestToken": token(1)}),
        ("UpdateSecret", {"SecretString": "w", "ClientRequestToken": token(1)}),
    ],
)
def test_a_value_under_the_default_key_stays_in_its_account(
    client: Client, secret: str, stranger: Client, operation: str, parameters: dict[str, Any]
) -> None:
    let_in(client, "secretsmanager:*")
    code, message = refusal(partial(stranger, operation, SecretId=secret, **parameters))
    assert code == "InvalidRequestException"
    assert message == (
        "You can't access a secret from a different AWS account if you encrypt the secret with the default KMS"
        " service key."
    )


def test_a_batch_reads_what_each_account_lets_in(client: Client, secret: str, stranger: Client) -> None:
    answer = stranger("BatchGetSecretValue", SecretIdList=[secret])
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["AccessDeniedException"]


def test_absent_and_forbidden_are_alike_across_accounts(
    client: Client, secret: str, stranger: Client
) -> None:
    made_up = secret[:-6] + "zzzzzz"
    answers = [refusal(partial(stranger, "GetSecretValue", SecretId=one)) for one in (secret, made_up)]
    assert answers[0][1].replace(secret, "X") == answers[1][1].replace(made_up, "X")
