"""Resource policies on each store, through the gate."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, REGION, Client, refusal, token
from tests.secrets.test_batch import session
from tests.support import NOON, SettableClock, StorePlace
from turnlock import accounts
from turnlock.secrets import SecretChanged
from turnlock.secrets.tables import resource_policies

SYNTAX = "This resource policy contains a syntax error."
PUBLIC = "This resource policy grants broad access to your secret."
PRINCIPAL = "This resource policy contains an unsupported principal."
LOCK_OUT = "Your requested changes will not allow you to manage this secret in the future."


def policy(principal: Any = None, **changes: Any) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": principal or {"AWS": "123456789012"},
        "Action": "secretsmanager:GetSecretValue",
        "Resource": "*",
        **changes,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def client(client: Client) -> Client:
    """A client with a secret `db`; nothing recorded yet."""
    client("CreateSecret", Name="db", ClientRequestToken=token())
    client.records.clear()
    return client


def put(client: Client, text: str, **parameters: Any) -> dict[str, Any]:
    return client("PutResourcePolicy", **{"SecretId": "db", "ResourcePolicy": text, **parameters})


def get(client: Client, **parameters: Any) -> dict[str, Any]:
    return client("GetResourcePolicy", **{"SecretId": "db", **parameters})


def delete(client: Client, **parameters: Any) -> dict[str, Any]:
    return client("DeleteResourcePolicy", **{"SecretId": "db", **parameters})


def validate(client: Client, text: str, **parameters: Any) -> dict[str, Any]:
    return client("ValidateResourcePolicy", ResourcePolicy=text, **parameters)


def changed_at(client: Client) -> Any:
    return client("DescribeSecret", SecretId="db")["LastChangedDate"]


def test_a_policy_comes_back_letter_for_letter_until_it_is_deleted(client: Client) -> None:
    text = " " + policy().replace(",", " ,\n") + "\t"
    named = put(client, text)
    assert named.keys() == {"ARN", "Name"}
    assert get(client) == {**named, "ResourcePolicy": text}
    put(client, policy(Sid="other"))
    assert get(client)["ResourcePolicy"] == policy(Sid="other")
    assert delete(client) == named
    assert get(client) == named
    assert delete(client) == named


def test_only_a_real_change_counts_as_one(client: Client, clock: SettableClock) -> None:
    hour = timedelta(hours=1)
    clock.advance(hour)
    put(client, policy())
    assert changed_at(client) == NOON + hour
    clock.advance(hour)
    put(client, policy())
    assert changed_at(client) == NOON + hour
    delete(client)
    clock.advance(hour)
    delete(client)
    assert changed_at(client) == NOON + 2 * hour


def test_the_only_name_is_default(client: Client) -> None:
    named = put(client, policy(), PolicyName="default")
    assert named["PolicyName"] == "default"
    assert get(client, PolicyName="default")["PolicyName"] == "default"
    assert refusal(lambda: put(client, policy(), PolicyName="x"))[0] == "InvalidParameterException"
    assert refusal(lambda: get(client, PolicyName="x"))[0] == "ResourceNotFoundException"
    assert refusal(lambda: delete(client, PolicyName="x"))[0] == "InvalidParameterException"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", SYNTAX),
        (policy(Effect="Maybe"), SYNTAX),
        (policy().replace('"Effect"', '"Effect": "Deny", "Effect"'), SYNTAX),
        (policy({"AWS": "nobody"}), "This resource policy contains an unsupported principal."),
        (policy({"Service": "nobody"}), "This resource policy contains an invalid service principal."),
    ],
)
def test_a_malformed_policy_is_refused(client: Client, text: str, sentence: str) -> None:
    code, message = refusal(lambda: put(client, text))
    assert code == "MalformedPolicyDocumentException"
    assert message.startswith(sentence)
    assert "ResourcePolicy" not in get(client)


def test_the_size_is_limited(client: Client) -> None:
    fitting = policy(Sid="x" * (20_480 - len(policy(Sid=""))))
    assert len(fitting) == 20_480
    put(client, fitting)
    assert refusal(lambda: put(client, fitting + " "))[0] == "ValidationException"


def test_public_policies_are_blocked_when_asked(client: Client) -> None:
    code, message = refusal(lambda: put(client, policy("*"), BlockPublicPolicy=True))
    assert (code, message) == ("PublicPolicyException", PUBLIC)
    put(client, policy("*", Condition={"StringEquals": {"aws:SourceVpc": "vpc-1"}}), BlockPublicPolicy=True)
    put(client, policy("*"))
    assert get(client)["ResourcePolicy"] == policy("*")


def test_absent_and_doomed_secrets(client: Client) -> None:
    assert refusal(lambda: put(client, policy(), SecretId="absent"))[0] == "ResourceNotFoundException"
    put(client, policy())
    client("DeleteSecret", SecretId="db")
    for call in (lambda: put(client, policy()), lambda: get(client), lambda: delete(client)):
        assert refusal(call)[0] == "InvalidRequestException"
    client("RestoreSecret", SecretId="db")
    assert get(client)["ResourcePolicy"] == policy()


def test_a_policy_that_was_edited_or_moved_in_the_store_is_never_shown(client: Client) -> None:
    client("CreateSecret", Name="other", ClientRequestToken=token())
    put(client, policy())
    put(client, policy("*"), SecretId="other")
    table = resource_policies
    for change in (
        table.update().where(table.c.name == "db").values(policy=policy("*")),
        table.update().where(table.c.name == "db").values(mac=b"x" * 32),
    ):
        client.database.write(lambda unit, change=change: unit.connection.execute(change).rowcount)  # type: ignore[misc]
        with capture_logs():
            assert refusal(lambda: get(client))[0] == "InternalServiceError"


def test_replicas_hear_of_a_changed_policy(store_place: StorePlace, clock: SettableClock) -> None:
    heard: list[SecretChanged] = []
    database = store_place.open(
        clock=clock, subscribers={SecretChanged: (lambda _unit, event: heard.append(event),)}
    )
    client = Client(database=database, clock=clock)
    client("CreateSecret", Name="db", ClientRequestToken=token())
    heard.clear()
    put(client, policy())
    delete(client)
    delete(client)
    assert len(heard) == 2


def test_a_good_policy_passes(client: Client) -> None:
    passed = {"PolicyValidationPassed": True, "ValidationErrors": []}
    assert validate(client, policy()) == validate(client, policy(), SecretId="db") == passed


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("nonsense", [SYNTAX]),
        (policy("*"), [PUBLIC]),
        (policy("*", Effect="Deny", Action="*"), [LOCK_OUT]),
        (
            policy({"AWS": ["nobody", "*"], "Service": "nobody"}),
            [
                "This resource policy contains an unsupported principal.",
                "This resource policy contains an invalid service principal.",
                PUBLIC,
            ],
        ),
    ],
)
def test_all_that_is_wrong_is_said(client: Client, text: str, sentences: list[str]) -> None:
    answer = validate(client, text, SecretId="db")
    assert answer["PolicyValidationPassed"] is False
    found = [one["ErrorMessage"] for one in answer["ValidationErrors"]]
    assert [message[: len(sentence)] for message, sentence in zip(found, sentences, strict=True)] == sentences
    assert all(one["CheckName"] for one in answer["ValidationErrors"])
    assert "ResourcePolicy" not in get(client)


def test_validation_of_an_absent_secret(client: Client) -> None:
    assert refusal(lambda: validate(client, policy(), SecretId="absent"))[0] == "ResourceNotFoundException"


def test_who_validates_must_be_allowed_to_put(client: Client) -> None:
    arn = client("DescribeSecret", SecretId="db")["ARN"]
    half = client.elsewhere(**session(("ValidateResourcePolicy", arn), ("ValidateResourcePolicy", "*")))
    for own in ({"SecretId": "db"}, {}):
        code, message = refusal(lambda own=own: validate(half, policy(), **own))  # type: ignore[misc]
        assert (code, "secretsmanager:PutResourcePolicy" in message) == ("AccessDeniedException", True)
    assert [record["eventName"] for record in half.records[-1:]] == ["ValidateResourcePolicy"]
    whole = client.elsewhere(**session(("ValidateResourcePolicy", arn), ("PutResourcePolicy", arn)))
    assert validate(whole, policy(), SecretId="db")["PolicyValidationPassed"] is True


def test_creating_with_tags_needs_the_right_to_tag(client: Client) -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:new-??????"
    half = client.elsewhere(**session(("CreateSecret", arn)))
    tags = [{"Key": "k", "Value": "v"}]
    code, message = refusal(lambda: half("CreateSecret", Name="new", Tags=tags))
    assert (code, "secretsmanager:TagResource" in message) == ("AccessDeniedException", True)
    whole = client.elsewhere(**session(("CreateSecret", arn), ("TagResource", arn)))
    whole("CreateSecret", Name="new", Tags=tags)


def test_the_record_names_the_policy(client: Client) -> None:
    put(client, policy())
    (record,) = client.records
    assert record["requestParameters"] == {"secretId": "db", "resourcePolicy": policy()}


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("arn:aws:iam::123456789012:user/absent", False),
        ("arn:aws:iam::123456789012:role/absent", False),
        ("arn:aws:sts::123456789012:assumed-role/absent/s", False),
        ("arn:aws:iam::123456789012:root", True),
        ("arn:aws:iam::999999999999:role/of-an-account-that-is-elsewhere", True),
        ("AIDAGONEGONEGONEGONE", True),
    ],
)
def test_who_is_named_of_this_deployment_must_be_there(client: Client, name: str, there: bool) -> None:
    client.database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    document = policy({"AWS": name})
    findings = validate(client, document)["ValidationErrors"]
    assert [one["ErrorMessage"] for one in findings] == ([] if there else [PRINCIPAL])
    if there:
        put(client, document)
    else:
        assert refusal(lambda: put(client, document)) == ("MalformedPolicyDocumentException", PRINCIPAL)
