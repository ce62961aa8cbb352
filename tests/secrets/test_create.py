"""CreateSecret and DescribeSecret."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.calling import ACCOUNT, REGION, Client, refusal, token
from tests.support import NOON
from turnlock.core.arn import AccountId, Region

ARN = re.compile(rf"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:db-[A-Za-z0-9]{{6}}")
TAKEN = ("ResourceExistsException", "The operation failed because the secret db already exists.")


def create(client: Client, **parameters: Any) -> dict[str, Any]:
    return client("CreateSecret", **{"Name": "db", **parameters})


def test_a_secret_with_a_value_has_one_current_version_named_by_the_token(client: Client) -> None:
    answer = create(client, SecretString="v", ClientRequestToken=token())
    assert ARN.fullmatch(answer["ARN"])
    assert answer == {"ARN": answer["ARN"], "Name": "db", "VersionId": token()}
    value = client("GetSecretValue", SecretId="db")
    assert value == {
        "ARN": answer["ARN"],
        "Name": "db",
        "VersionId": token(),
        "SecretString": "v",
        "VersionStages": ["AWSCURRENT"],
        "CreatedDate": NOON,
    }


def test_a_secret_without_a_value_exists_and_has_no_version(client: Client) -> None:
    answer = create(client, ClientRequestToken=token())
    assert answer.keys() == {"ARN", "Name"}
    assert "VersionIdsToStages" not in client("DescribeSecret", SecretId="db")
    assert refusal(lambda: client("GetSecretValue", SecretId="db")) == (
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
    )


def test_a_value_without_a_token_is_refused_and_nothing_is_kept(client: Client) -> None:
    code, message = refusal(lambda: client.body("CreateSecret", b'{"Name": "db", "SecretString": "v"}'))
    assert code == "InvalidRequestException"
    assert message.startswith("You must provide a ClientRequestToken value")
    assert refusal(lambda: client("DescribeSecret", SecretId="db"))[0] == "ResourceNotFoundException"


def test_two_values_at_once_are_refused(client: Client) -> None:
    answer = refusal(lambda: create(client, SecretString="v", SecretBinary=b"v", ClientRequestToken=token()))
    assert answer[0] == "InvalidParameterException"


@pytest.mark.parametrize("value", [{"SecretString": "v"}, {"SecretBinary": b"\x00\xff"}])
def test_repeating_a_request_with_its_token_and_value_changes_nothing(
    client: Client, value: dict[str, Any]
) -> None:
    first = create(client, ClientRequestToken=token(), **value)
    client.clock.advance(timedelta(minutes=1))
    assert create(client, ClientRequestToken=token(), **value) == first
    assert client("DescribeSecret", SecretId="db")["LastChangedDate"] == NOON


@pytest.mark.parametrize(
    "again",
    [
        {"SecretString": "other", "ClientRequestToken": token()},
        {"SecretBinary": b"v", "ClientRequestToken": token()},
        {"SecretString": "v", "ClientRequestToken": token(1)},
        {"ClientRequestToken": token()},
        {"SecretString": "v"},
    ],
)
def test_anything_else_under_a_taken_name_is_refused(client: Client, again: dict[str, Any]) -> None:
    create(client, SecretString="v", ClientRequestToken=token())
    assert refusal(lambda: create(client, **again)) == TAKEN


def test_a_secret_that_was_made_without_a_value_takes_its_name_too(client: Client) -> None:
    create(client)
    assert refusal(lambda: create(client)) == TAKEN


def test_the_same_name_in_another_region_or_account_is_another_secret(client: Client) -> None:
    other_region = client.elsewhere(region=Region("us-east-1"))
    other_account = client.elsewhere(account_id=AccountId("210987654321"))
    other_account = other_account.elsewhere(
        principal=client.principal.__class__(
            kind=client.principal.kind,
            arn="arn:aws:iam::210987654321:root",
            account_id=AccountId("210987654321"),
            principal_id="210987654321",
        )
    )
    clients = (client, other_region, other_account)
    for number, one in enumerate(clients):
        create(one, SecretString=f"{number}", ClientRequestToken=token())
    values = [one("GetSecretValue", SecretId="db")["SecretString"] for one in clients]
    assert values == ["0", "1", "2"]


def test_a_description_tags_and_nothing_else_are_described(client: Client) -> None:
    answer = create(
        client,
        Description="what it is",
        Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": ""}],
        SecretString="v",
        ClientRequestToken=token(),
    )
    assert client("DescribeSecret", SecretId="db") == {
        "ARN": answer["ARN"],
        "Name": "db",
        "Description": "what it is",
        "LastChangedDate": NOON,
        "CreatedDate": NOON,
        "Tags": [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "2"}],
        "VersionIdsToStages": {token(): ["AWSCURRENT"]},
    }


def test_an_empty_secret_is_described_by_what_it_has(client: Client) -> None:
    create(client, Description="", KmsKeyId="")
    assert client("DescribeSecret", SecretId="db").keys() == {
        "ARN",
        "Name",
        "LastChangedDate",
        "CreatedDate",
    }


@pytest.mark.parametrize(
    "key",
    [
        "",
        "alias/aws/secretsmanager",
        "aws/secretsmanager",
        f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/secretsmanager",
    ],
)
@pytest.mark.parametrize("value", [{}, {"SecretString": "v", "ClientRequestToken": token()}])
def test_the_managed_key_is_not_described_however_it_was_written(
    client: Client, key: str, value: dict[str, Any]
) -> None:
    create(client, KmsKeyId=key, **value)
    assert "KmsKeyId" not in client("DescribeSecret", SecretId="db")


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("11111111-1111-4111-8111-111111111111", "ResourceNotFoundException"),
        ("alias/absent", "ResourceNotFoundException"),
        (f"arn:aws:kms:us-east-1:{ACCOUNT}:key/x", "ResourceNotFoundException"),
        ("arn:aws:kms:nonsense", "InvalidParameterException"),
        ("arn:aws:secretsmanager:x:y:z", "InvalidParameterException"),
    ],
)
@pytest.mark.parametrize("value", [{}, {"SecretString": "v", "ClientRequestToken": token()}])
def test_a_key_that_cannot_be_used_is_refused_with_a_value_and_without(
    client: Client, key: str, code: str, value: dict[str, Any]
) -> None:
    assert refusal(lambda: create(client, KmsKeyId=key, **value))[0] == code
    assert refusal(lambda: client("DescribeSecret", SecretId="db"))[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "tags",
    [
        [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}],
        [{"Key": "aws:x", "Value": "1"}],
        [{"Key": "AWS:x", "Value": "1"}],
        [{"Value": "1"}],
        [{"Key": f"{number}", "Value": ""} for number in range(51)],
    ],
)
def test_tags_that_aws_refuses_are_refused(client: Client, tags: list[dict[str, str]]) -> None:
    assert refusal(lambda: create(client, Tags=tags))[0] == "InvalidParameterException"
    assert refusal(lambda: client("DescribeSecret", SecretId="db"))[0] == "ResourceNotFoundException"


def test_fifty_tags_with_keys_that_differ_in_case_are_kept(client: Client) -> None:
    tags = [{"Key": key, "Value": key} for key in ("Key", "key", *(f"{number}" for number in range(48)))]
    create(client, Tags=tags)
    found = client("DescribeSecret", SecretId="db")["Tags"]
    assert sorted(found, key=lambda tag: tag["Key"]) == sorted(tags, key=lambda tag: tag["Key"])


@pytest.mark.parametrize("name", ["a b", "naïve", "a:b", "a*", "x" * 513])
def test_names_that_aws_refuses_are_refused(client: Client, name: str) -> None:
    code, _ = refusal(lambda: create(client, Name=name))
    assert code in {"InvalidParameterException", "ValidationException"}


@pytest.mark.parametrize("name", ["a", "/a/b", "a!b", "x" * 512, "A_b+c=d.e@f-g", "db-abcdef"])
def test_names_that_aws_allows_are_found_by_name_full_and_partial_arn(client: Client, name: str) -> None:
    arn = create(client, Name=name, SecretString="v", ClientRequestToken=token())["ARN"]
    for secret_id in (name, arn):
        assert client("GetSecretValue", SecretId=secret_id)["ARN"] == arn
    assert client("GetSecretValue", SecretId=arn[:-7])["ARN"] == arn


def test_ids_that_name_no_secret_of_this_caller_find_nothing(client: Client) -> None:
    arn = create(client, SecretString="v", ClientRequestToken=token())["ARN"]
    for secret_id in (
        "absent",
        arn[:-1] + "!",
        arn[:-6] + "zzzzzz",
        "db-" + arn[-6:],
        arn.replace(REGION, "us-east-1"),
        "DB",
    ):
        assert refusal(lambda secret_id=secret_id: client("DescribeSecret", SecretId=secret_id)) == (  # type: ignore[misc]
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret.",
        )


def test_suffixes_differ(client: Client) -> None:
    arns = [create(client, Name=f"s{number}")["ARN"] for number in range(30)]
    assert len({arn[-6:] for arn in arns}) == 30
