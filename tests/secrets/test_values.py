"""GetSecretValue and PutSecretValue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.calling import Client, refusal, token
from tests.support import NOON
from turnlock.secrets import SecretReference, find_secret, put_placeholder
from turnlock.storage import Unit


@pytest.fixture
def client(client: Client) -> Client:
    """A client whose account has a secret `db` with one version, `token()`."""
    client("CreateSecret", Name="db", SecretString="v0", ClientRequestToken=token())
    return client


def put(client: Client, number: int, value: str | None = None, **parameters: Any) -> dict[str, Any]:
    return client(
        "PutSecretValue",
        **{
            "SecretId": "db",
            "ClientRequestToken": token(number),
            "SecretString": f"v{number}" if value is None else value,
            **parameters,
        },
    )


def get(client: Client, **parameters: Any) -> dict[str, Any]:
    return client("GetSecretValue", **{"SecretId": "db", **parameters})


def stages(client: Client) -> dict[str, list[str]]:
    found: dict[str, list[str]] = client("DescribeSecret", SecretId="db")["VersionIdsToStages"]
    return found


def placeholder(client: Client, number: int) -> None:
    """Make the empty AWSPENDING version of a rotation."""

    def work(unit: Unit) -> None:
        reference = SecretReference(
            account_id=client.account_id, region=client.region, name="db", suffix=None
        )
        secret = find_secret(unit, reference)
        assert secret is not None
        put_placeholder(unit, secret, token(number))

    client.database.write(work)


def test_a_put_makes_a_current_version_and_the_last_one_previous(client: Client) -> None:
    answer = put(client, 1)
    assert answer == {
        "ARN": answer["ARN"],
        "Name": "db",
        "VersionId": token(1),
        "VersionStages": ["AWSCURRENT"],
    }
    assert stages(client) == {token(0): ["AWSPREVIOUS"], token(1): ["AWSCURRENT"]}
    put(client, 2)
    assert stages(client) == {token(1): ["AWSPREVIOUS"], token(2): ["AWSCURRENT"]}


def test_a_version_without_labels_is_still_there_by_its_id(client: Client) -> None:
    for number in (1, 2):
        put(client, number)
    found = get(client, VersionId=token(0))
    assert found["SecretString"] == "v0"
    assert "VersionStages" not in found


def test_given_labels_are_taken_from_whoever_has_them_and_current_stays(client: Client) -> None:
    assert put(client, 1, VersionStages=["blue", "AWSPENDING"])["VersionStages"] == ["AWSPENDING", "blue"]
    put(client, 2, VersionStages=["blue"])
    assert stages(client) == {token(0): ["AWSCURRENT"], token(1): ["AWSPENDING"], token(2): ["blue"]}
    assert get(client)["SecretString"] == "v0"
    assert get(client, VersionStage="blue")["SecretString"] == "v2"


def test_the_first_version_is_current_whatever_labels_are_given(client: Client) -> None:
    client("CreateSecret", Name="empty")
    answer = put(client, 1, SecretId="empty", VersionStages=["blue"])
    assert answer["VersionStages"] == ["AWSCURRENT", "blue"]


def test_a_version_has_its_own_date(client: Client) -> None:
    client.clock.advance(timedelta(days=1))
    put(client, 1)
    assert get(client)["CreatedDate"] == NOON + timedelta(days=1)
    assert get(client, VersionStage="AWSPREVIOUS")["CreatedDate"] == NOON
    described = client("DescribeSecret", SecretId="db")
    assert (described["CreatedDate"], described["LastChangedDate"]) == (NOON, NOON + timedelta(days=1))


@pytest.mark.parametrize(
    "value",
    [
        {"SecretString": "ü€𝄞\n\t\x7f\u2028"},
        {"SecretString": " "},
        {"SecretString": "x" * 65_536},
        {"SecretBinary": bytes(range(256))},
        {"SecretBinary": b"\xff" * 65_536},
    ],
)
def test_values_come_back_as_they_were_in_the_member_they_came_in(
    client: Client, value: dict[str, Any]
) -> None:
    client("PutSecretValue", SecretId="db", ClientRequestToken=token(1), **value)
    found = get(client)
    assert {name: found[name] for name in ("SecretString", "SecretBinary") if name in found} == value


@pytest.mark.parametrize("value", [{"SecretString": "x" * 65_537}, {"SecretBinary": b"x" * 65_537}])
def test_a_value_over_the_models_limit_is_refused(client: Client, value: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="65536"):
        client("PutSecretValue", SecretId="db", ClientRequestToken=token(1), **value)


def test_a_text_whose_bytes_are_over_the_quota_is_refused(client: Client) -> None:
    """The model counts characters, the quota bytes (docs/aws-behaviour.md#versions)."""
    assert put(client, 1, "ü" * 32_768)["VersionId"] == token(1)
    assert refusal(lambda: put(client, 2, "ü" * 32_769))[0] == "LimitExceededException"
    assert get(client)["VersionId"] == token(1)


def test_the_same_token_and_value_again_change_nothing(client: Client) -> None:
    put(client, 1)
    put(client, 2)
    client.clock.advance(timedelta(days=1))
    again = put(client, 1)
    assert again["VersionStages"] == ["AWSPREVIOUS"]
    assert stages(client) == {token(1): ["AWSPREVIOUS"], token(2): ["AWSCURRENT"]}
    assert client("DescribeSecret", SecretId="db")["LastChangedDate"] == NOON


def test_the_same_token_with_another_value_is_refused(client: Client) -> None:
    arn = put(client, 1)["ARN"]
    expected = (
        "ResourceExistsException",
        (
            f"You can't use ClientRequestToken {token(1)} because that value is already in use for a version of secret"
            f" {arn}."
        ),
    )
    assert refusal(lambda: put(client, 1, "other")) == expected
    assert (
        refusal(
            lambda: client("PutSecretValue", SecretId="db", ClientRequestToken=token(1), SecretBinary=b"v1")
        )
        == expected
    )
    assert get(client)["SecretString"] == "v1"


def test_a_placeholder_is_filled_once(client: Client) -> None:
    placeholder(client, 1)
    client.clock.advance(timedelta(minutes=1))
    assert put(client, 1, VersionStages=["AWSPENDING"])["VersionStages"] == ["AWSPENDING"]
    assert get(client, VersionId=token(1), VersionStage="AWSPENDING")["SecretString"] == "v1"
    assert put(client, 1, VersionStages=["AWSPENDING"])["VersionStages"] == ["AWSPENDING"]
    assert refusal(lambda: put(client, 1, "other", VersionStages=["AWSPENDING"]))[0] == (
        "ResourceExistsException"
    )


def test_an_empty_placeholder_is_shown_and_has_no_value_by_any_address(client: Client) -> None:
    placeholder(client, 1)
    assert stages(client) == {token(0): ["AWSCURRENT"], token(1): ["AWSPENDING"]}
    by_id = {"VersionId": token(1)}
    for address in (by_id, {"VersionStage": "AWSPENDING"}, {**by_id, "VersionStage": "AWSPENDING"}):
        code, message = refusal(lambda address=address: get(client, **address))  # type: ignore[misc]
        assert code == "ResourceNotFoundException"
        assert "can't find the specified secret value" in message


def test_a_value_put_by_hand_frees_a_secret_whose_rotation_is_stuck(client: Client) -> None:
    placeholder(client, 1)
    put(client, 2)
    assert stages(client) == {token(0): ["AWSPREVIOUS"], token(2): ["AWSCURRENT"]}


def test_no_value_no_token_or_both_values_are_refused(client: Client) -> None:
    assert refusal(lambda: client("PutSecretValue", SecretId="db", ClientRequestToken=token(1))) == (
        "InvalidRequestException",
        "You must provide either SecretString or SecretBinary.",
    )
    assert (
        refusal(lambda: client.body("PutSecretValue", b'{"SecretId": "db", "SecretString": "v"}'))[0]
        == "InvalidRequestException"
    )
    assert refusal(lambda: put(client, 1, SecretBinary=b"v"))[0] == "InvalidParameterException"


def test_labels_are_limited_to_twenty(client: Client) -> None:
    put(client, 1, VersionStages=[f"label-{number}" for number in range(19)])
    assert refusal(lambda: put(client, 2, VersionStages=["one-more"]))[0] == "LimitExceededException"
    assert refusal(lambda: get(client, VersionId=token(2)))[0] == "ResourceNotFoundException"


def test_an_absent_label_or_version_is_named(client: Client) -> None:
    words = "Secrets Manager can't find the specified secret value for "
    for address, end in (
        ({"VersionStage": "blue"}, "staging label: blue"),
        ({"VersionStage": "AWSPENDING"}, "staging label: AWSPENDING"),
        ({"VersionId": token(9)}, f"VersionId: {token(9)}"),
        ({"VersionId": token(9), "VersionStage": "AWSCURRENT"}, f"VersionId: {token(9)}"),
    ):
        expected = ("ResourceNotFoundException", words + end)
        assert refusal(lambda address=address: get(client, **address)) == expected  # type: ignore[misc]


def test_id_and_label_together_must_name_one_version(client: Client) -> None:
    put(client, 1)
    assert get(client, VersionId=token(0), VersionStage="AWSPREVIOUS")["SecretString"] == "v0"
    for stage in ("AWSCURRENT", "blue"):
        assert refusal(lambda stage=stage: get(client, VersionId=token(0), VersionStage=stage)) == (  # type: ignore[misc]
            "InvalidRequestException",
            "You provided a VersionStage that is not associated to the provided VersionId.",
        )


def test_a_secret_that_is_scheduled_for_deletion_gives_and_takes_nothing(client: Client) -> None:
    client("DeleteSecret", SecretId="db")
    expected = (
        "InvalidRequestException",
        "You can't perform this operation on the secret because it was marked for deletion.",
    )
    assert refusal(lambda: get(client)) == expected
    assert refusal(lambda: put(client, 1)) == expected
    assert refusal(lambda: client("UpdateSecretVersionStage", SecretId="db", VersionStage="x")) == expected


def test_an_absent_secret_gives_and_takes_nothing(client: Client) -> None:
    expected = ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    assert refusal(lambda: get(client, SecretId="absent")) == expected
    assert refusal(lambda: put(client, 1, SecretId="absent")) == expected


def test_more_than_a_hundred_versions_shed_their_oldest_unlabelled_ones_after_a_day(client: Client) -> None:
    """docs/aws-behaviour.md#versions: never one that is labelled, nor one younger than 24 hours."""
    put(client, 1, VersionStages=["kept"])
    for number in range(2, 100):
        put(client, number)
    code, _ = refusal(lambda: put(client, 100))
    assert code == "LimitExceededException"
    assert get(client, VersionId=token(2))["SecretString"] == "v2"
    client.clock.advance(timedelta(hours=24, microseconds=1))
    put(client, 102)
    for number, there in ((0, False), (1, True), (2, True), (99, True), (100, False), (102, True)):
        if there:
            assert get(client, VersionId=token(number))["SecretString"] == f"v{number}"
        else:
            assert (
                refusal(lambda number=number: get(client, VersionId=token(number)))[0]  # type: ignore[misc]
                == "ResourceNotFoundException"
            )
