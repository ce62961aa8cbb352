"""BatchGetSecretValue on each store, through the gate."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, Client, refusal, token
from turnlock import accounts
from turnlock.core.call import PrincipalKind, Session
from turnlock.secrets.tables import staging_labels

ONE_OF_TWO = ("InvalidParameterException", "You must include either Filters or SecretIdList, but not both.")


@pytest.fixture
def client(client: Client) -> Client:
    """A client with secrets `a0` to `a4` and `b0`, one of them binary; nothing recorded yet."""
    for number in range(5):
        value: Any = {"SecretBinary": b"\x00\xff"} if number == 3 else {"SecretString": f"value-{number}"}
        client("CreateSecret", Name=f"a{number}", ClientRequestToken=token(number), **value)
    client("CreateSecret", Name="b0", ClientRequestToken=token(9), SecretString="b")
    client.records.clear()
    client.answers.clear()
    return client


def batch(client: Client, **parameters: Any) -> dict[str, Any]:
    return client("BatchGetSecretValue", **parameters)


def by_name(*values: str) -> list[dict[str, Any]]:
    return [{"Key": "name", "Values": list(values)}]


def names(answer: dict[str, Any]) -> list[str]:
    return [one["Name"] for one in answer["SecretValues"]]


def test_each_value_is_what_get_secret_value_says(client: Client) -> None:
    answer = batch(client, SecretIdList=["a0", "a3"])
    for one in answer["SecretValues"]:
        alone = client("GetSecretValue", SecretId=one["Name"])
        assert {key: value for key, value in one.items() if value is not None} == alone
    assert names(answer) == ["a0", "a3"]
    assert answer["Errors"] == []
    assert b'"Errors":[]' in client.answers[0]


def test_secrets_are_named_by_arn_too_and_keep_their_order(client: Client) -> None:
    arn = client("DescribeSecret", SecretId="a2")["ARN"]
    assert names(batch(client, SecretIdList=["b0", arn, "a0"])) == ["b0", "a2", "a0"]


def test_what_cannot_be_read_stands_under_errors(client: Client) -> None:
    client("CreateSecret", Name="empty", ClientRequestToken=token(20))
    client("DeleteSecret", SecretId="a1")
    answer = batch(client, SecretIdList=["a0", "absent", "a1", "empty"])
    assert names(answer) == ["a0"]
    assert [(one["SecretId"], one["ErrorCode"]) for one in answer["Errors"]] == [
        ("absent", "ResourceNotFoundException"),
        ("a1", "InvalidRequestException"),
        ("empty", "ResourceNotFoundException"),
    ]
    assert answer["Errors"][0]["Message"] == "Secrets Manager can't find the specified secret."


def test_a_forged_label_spoils_its_own_secret_only(client: Client) -> None:
    forged = staging_labels.update().where(staging_labels.c.name == "a1").values(mac=b"x" * 32)
    client.database.write(lambda unit: unit.connection.execute(forged).rowcount)
    with capture_logs():
        answer = batch(client, SecretIdList=["a0", "a1"])
    assert names(answer) == ["a0"]
    assert [one["ErrorCode"] for one in answer["Errors"]] == ["InternalServiceError"]


def test_each_secret_has_a_record_of_its_own(client: Client) -> None:
    batch(client, SecretIdList=["a0", "absent"])
    assert [(one["eventName"], one["requestParameters"], one.get("errorCode")) for one in client.records] == [
        ("GetSecretValue", {"secretId": "a0"}, None),
        ("GetSecretValue", {"secretId": "absent"}, "ResourceNotFoundException"),
        ("BatchGetSecretValue", {"secretIdList": ["a0", "absent"]}, None),
    ]
    assert "value-0" not in str(client.records)


def test_each_secret_is_authorised_by_itself(client: Client) -> None:
    """A session that may batch, and read one secret alone."""
    arn = client("DescribeSecret", SecretId="a0")["ARN"]
    allowed = client.elsewhere(**session(("BatchGetSecretValue", "*"), ("GetSecretValue", arn)))
    answer = batch(allowed, SecretIdList=["a0", "a2", "absent"])
    assert names(answer) == ["a0"]
    assert [one["ErrorCode"] for one in answer["Errors"]] == ["AccessDeniedException"] * 2
    assert "secretsmanager:GetSecretValue on resource: a2" in answer["Errors"][0]["Message"]


def test_filters_need_the_right_to_list(client: Client) -> None:
    arn = client("DescribeSecret", SecretId="a0")["ARN"]
    grants = [("BatchGetSecretValue", "*"), ("GetSecretValue", arn)]
    code, sentence = refusal(lambda: batch(client.elsewhere(**session(*grants)), Filters=by_name("a")))
    assert (code, "secretsmanager:ListSecrets" in sentence) == ("AccessDeniedException", True)
    answer = batch(client.elsewhere(**session(*grants, ("ListSecrets", "*"))), Filters=by_name("a"))
    assert (names(answer), len(answer["Errors"])) == (["a0"], 4)


def session(*grants: tuple[str, str]) -> dict[str, Any]:
    """Return a role's session that may do these actions on these resources."""
    statements = ",".join(
        f'{{"Effect":"Allow","Action":"secretsmanager:{action}","Resource":"{resource}"}}'
        for action, resource in grants
    )
    policy = f'{{"Version":"2012-10-17","Statement":[{statements}]}}'
    principal = replace(
        accounts.root_principal(ACCOUNT),
        kind=PrincipalKind.ASSUMED_ROLE,
        arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s",
    )
    return {"principal": principal, "session": Session(access_key_id="ASIA", policy=policy, hosted=True)}


def test_filters_find_the_living_by_pages(client: Client) -> None:
    client("DeleteSecret", SecretId="a4")
    found: list[str] = []
    following: dict[str, Any] = {}
    for _ in range(10):
        page = batch(client, Filters=by_name("a"), MaxResults=2, **following)
        assert len(page["SecretValues"]) <= 2
        found += names(page)
        if "NextToken" not in page:
            break
        following = {"NextToken": page["NextToken"]}
    assert sorted(found) == ["a0", "a1", "a2", "a3"]


def test_a_page_of_filters_has_at_most_twenty(client: Client) -> None:
    for number in range(25):
        client("CreateSecret", Name=f"many{number}", ClientRequestToken=token(100 + number), SecretString="v")
    page = batch(client, Filters=by_name("many"))
    assert len(page["SecretValues"]) == 20
    rest = batch(client, Filters=by_name("many"), NextToken=page["NextToken"])
    assert len({*names(page), *names(rest)}) == 25


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ONE_OF_TWO),
        ({"Filters": []}, ONE_OF_TWO),
        ({"SecretIdList": ["a0"], "Filters": [{"Key": "name", "Values": ["a"]}]}, ONE_OF_TWO),
        (
            {"SecretIdList": ["a0"], "MaxResults": 1},
            ("InvalidParameterException", "To use MaxResults or NextToken, you must also use Filters."),
        ),
        (
            {"SecretIdList": ["a0"], "NextToken": "x"},
            ("InvalidParameterException", "To use MaxResults or NextToken, you must also use Filters."),
        ),
    ],
)
def test_ids_and_filters_exclude_each_other(
    client: Client, parameters: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert refusal(lambda: batch(client, **parameters)) == expected


def test_bad_filters_and_tokens_are_the_whole_calls_error(client: Client) -> None:
    assert (
        refusal(lambda: batch(client, Filters=by_name("a"), NextToken="x"))[0] == "InvalidNextTokenException"
    )
    assert refusal(lambda: batch(client, Filters=[{"Key": "name"}]))[0] == "InvalidParameterException"
    assert refusal(lambda: batch(client, SecretIdList=["x"] * 21))[0] == "ValidationException"
