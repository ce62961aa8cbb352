"""Secrets under customer managed keys: who may seal and open, with what errors, and what the trail keeps of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, REGION, Client, refusal, services, token
from turnlock import accounts
from turnlock.core.arn import AccountId
from turnlock.core.call import Gate
from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    DecryptionFailure,
    DisabledException,
    ExpiredTokenException,
    InternalServiceError,
    InvalidCiphertextException,
    SealBroken,
)
from turnlock.kms import DESTROY, destroy, seal_field
from turnlock.root_keys.envelope import Envelope
from turnlock.secrets import SecretReference
from turnlock.secrets.store import find_secret, find_version
from turnlock.secrets.values.customer_keys import open_for
from turnlock.storage import Unit

OTHER = AccountId("999999999999")
DENIED = ("AccessDeniedException", "Access to KMS is not allowed")
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ADMINISTER = [
    "kms:Create*",
    "kms:Describe*",
    "kms:Get*",
    "kms:List*",
    "kms:Put*",
    "kms:Schedule*",
    "kms:Disable*",
]
DEFAULT_ACROSS = (
    "InvalidRequestException",
    "You can't access a secret from a different AWS account if you encrypt the secret with the default KMS service key.",
)


@pytest.fixture
def kms(client: Client) -> Client:
    return client.elsewhere(service=services()["kms"], records=[])


@pytest.fixture
def key(kms: Client) -> str:
    return new_key(kms)


def new_key(kms: Client, **asked: Any) -> str:
    arn: str = kms("CreateKey", **asked)["KeyMetadata"]["Arn"]
    return arn


def allow(actions: list[str] | str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": actions, "Resource": "*", **more}


def deny(action: str) -> dict[str, Any]:
    return {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"}


def put_policy(kms: Client, key: str, *statements: dict[str, Any]) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    kms("PutKeyPolicy", KeyId=key, Policy=policy)


def key_of(client: Client, version_id: str, name: str = "db") -> str:
    """Return the ARN of the key that a stored version lies under."""

    def work(unit: Unit) -> str:
        reference = SecretReference(account_id=ACCOUNT, region=REGION, name=name, suffix=None)
        secret = find_secret(unit, reference)
        assert secret is not None
        version = find_version(unit, secret, version_id)
        assert version is not None
        assert version.sealed is not None
        return Envelope.parse(version.sealed).key_arn

    return client.database.read(work)


def create(client: Client, key: str | None, value: str = "first", number: int = 1) -> dict[str, Any]:
    named = {} if key is None else {"KmsKeyId": key}
    return client("CreateSecret", Name="db", SecretString=value, ClientRequestToken=token(number), **named)


def test_a_value_under_a_customer_key_is_read_back(client: Client, key: str) -> None:
    create(client, key)
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "first"
    assert client("DescribeSecret", SecretId="db")["KmsKeyId"] == key
    assert key_of(client, token(1)) == key
    client("PutSecretValue", SecretId="db", SecretString="second", ClientRequestToken=token(2))
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "second"
    assert key_of(client, token(2)) == key


def test_each_use_of_the_key_is_the_callers_and_recorded_as_made_through_secrets_manager(
    client: Client, key: str
) -> None:
    """docs/aws-behaviour.md#kms-keys-of-secrets."""
    arn = create(client, key)["ARN"]
    client("GetSecretValue", SecretId="db")
    service = "secretsmanager.amazonaws.com"
    found = [record for record in client.records if record["eventSource"] == "kms.amazonaws.com"]
    assert [record["eventName"] for record in found] == [
        "GenerateDataKey",  # the key is tried out
        "Decrypt",
        "GenerateDataKey",
        "Decrypt",
    ]
    for record in found:
        assert record["userIdentity"]["arn"] == ROOT
        assert record["userIdentity"]["invokedBy"] == service
        assert (record["sourceIPAddress"], record["userAgent"]) == (service, service)
    contexts = [record["requestParameters"]["encryptionContext"] for record in found]
    trial = {"SecretARN": arn, "SecretVersionId": "RequestToValidateKeyAccess"}
    version = {"SecretARN": arn, "SecretVersionId": token(1)}
    assert contexts == [trial, trial, version, version]
    assert "plaintext" not in json.dumps(found).lower()


def test_the_default_key_is_used_without_a_call_of_kms(client: Client) -> None:
    create(client, None)
    client("GetSecretValue", SecretId="db")
    assert {record["eventSource"] for record in client.records} == {"secretsmanager.amazonaws.com"}


def disable(kms: Client, key: str) -> None:
    kms("DisableKey", KeyId=key)


def doom(kms: Client, key: str) -> None:
    kms("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)


@pytest.mark.parametrize("end", [disable, doom])
def test_a_key_that_cannot_be_used_neither_opens_nor_seals_from_the_next_request_on(
    client: Client, kms: Client, key: str, end: Callable[[Client, str], None]
) -> None:
    create(client, key)
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "first"
    end(kms, key)
    assert refusal(lambda: client("GetSecretValue", SecretId="db"))[0] == "DecryptionFailure"
    put = refusal(
        lambda: client("PutSecretValue", SecretId="db", SecretString="x", ClientRequestToken=token(2))
    )
    assert put[0] == "EncryptionFailure"
    made = refusal(lambda: client("CreateSecret", Name="other", KmsKeyId=key, ClientRequestToken=token(3)))
    assert made[0] == "EncryptionFailure"
    assert client("ListSecrets")["SecretList"][0]["Name"] == "db"


def test_a_value_whose_key_was_destroyed_is_lost_and_says_so(
    client: Client, kms: Client, key: str, clock: Any
) -> None:
    create(client, key)
    doom(kms, key)
    clock.advance(timedelta(days=8))

    def destroyed(unit: Unit) -> None:
        payload = seal_field(
            unit, ACCOUNT, json.dumps(key.rpartition("/")[2]).encode(), owner=DESTROY, part=REGION
        )
        destroy(unit, ACCOUNT, REGION, payload)

    client.database.write(destroyed)
    assert refusal(lambda: client("GetSecretValue", SecretId="db"))[0] == "DecryptionFailure"


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (InternalServiceError(), InternalServiceError),
        (InvalidCiphertextException(), SealBroken),
        (DisabledException(), DecryptionFailure),
        (ExpiredTokenException(), DecryptionFailure),
        (AccessDeniedException(), AccessDeniedException),
    ],
)
def test_what_kms_answers_to_a_read_becomes_secrets_managers_own_error(
    client: Client, key: str, answer: ApiError, raised: type[Exception]
) -> None:
    """A fault stays a fault, and a data key that was changed in the store is no fault of the key's."""
    create(client, key)

    def read(unit: Unit) -> None:
        here = SecretReference(account_id=ACCOUNT, region=REGION, name="db", suffix=None)
        secret = find_secret(unit, here)
        assert secret is not None
        version = find_version(unit, secret, token(1))
        assert version is not None
        call = structs.replace(
            client.call("GetSecretValue"), gate=Gate(nested=lambda _operation, _request: answer)
        )
        with pytest.raises(raised) as caught:
            open_for(call, unit, secret, version)
        assert type(caught.value) is raised

    with capture_logs() as logged:
        client.database.read(read)
    assert [line["action"] for line in logged] == (["seal_broken"] if raised is SealBroken else [])


def test_who_may_not_decrypt_may_not_read(client: Client, kms: Client, key: str) -> None:
    create(client, key)
    put_policy(kms, key, allow("kms:*"), deny("kms:Decrypt"))
    assert refusal(lambda: client("GetSecretValue", SecretId="db")) == DENIED
    repeated = {"SecretId": "db", "SecretString": "first", "ClientRequestToken": token(1)}
    assert refusal(lambda: client("PutSecretValue", **repeated)) == DENIED
    batch = client("BatchGetSecretValue", SecretIdList=["db"])
    assert [(one["ErrorCode"], one["Message"]) for one in batch["Errors"]] == [DENIED]
    put_policy(kms, key, allow("kms:*"))
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "first"


def test_who_may_not_make_data_keys_may_not_write(client: Client, kms: Client, key: str) -> None:
    create(client, key)
    put_policy(kms, key, allow("kms:*"), deny("kms:GenerateDataKey"))
    put = refusal(
        lambda: client("PutSecretValue", SecretId="db", SecretString="x", ClientRequestToken=token(2))
    )
    assert put == DENIED
    assert (
        refusal(lambda: client("CreateSecret", Name="x", KmsKeyId=key, ClientRequestToken=token(3))) == DENIED
    )
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "first"


def test_a_policy_can_let_a_key_be_used_through_secrets_manager_alone(
    client: Client, kms: Client, key: str
) -> None:
    through = {"StringEquals": {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}}
    put_policy(kms, key, allow(ADMINISTER), allow(["kms:Decrypt", "kms:GenerateDataKey"], Condition=through))
    create(client, key)
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "first"
    direct = refusal(lambda: kms("GenerateDataKey", KeyId=key, KeySpec="AES_256"))
    assert direct[0] == "AccessDeniedException"


def test_a_policy_can_let_a_key_be_used_for_one_secret_alone(client: Client, kms: Client, key: str) -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:db-*"
    only = {"StringLike": {"kms:EncryptionContext:SecretARN": arn}}
    put_policy(kms, key, allow(ADMINISTER), allow(["kms:Decrypt", "kms:GenerateDataKey"], Condition=only))
    create(client, key)
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "first"
    assert (
        refusal(lambda: client("CreateSecret", Name="x", KmsKeyId=key, ClientRequestToken=token(3))) == DENIED
    )


def test_another_key_seals_the_labelled_versions_anew(client: Client, kms: Client, key: str) -> None:
    create(client, None)
    client("PutSecretValue", SecretId="db", SecretString="second", ClientRequestToken=token(2))
    client("UpdateSecret", SecretId="db", KmsKeyId=key)
    assert [key_of(client, token(number)) for number in (1, 2)] == [key, key]
    other = new_key(kms)
    client("UpdateSecret", SecretId="db", KmsKeyId=other)
    assert [key_of(client, token(number)) for number in (1, 2)] == [other, other]
    disable(kms, key)
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "second"
    assert client("GetSecretValue", SecretId="db", VersionStage="AWSPREVIOUS")["SecretString"] == "first"
    client("UpdateSecret", SecretId="db", KmsKeyId="")
    assert key_of(client, token(1)) not in {key, other}
    assert "KmsKeyId" not in client("DescribeSecret", SecretId="db")


def test_without_the_right_to_encrypt_old_versions_stay_under_the_old_key(
    client: Client, kms: Client, key: str
) -> None:
    """docs/aws-behaviour.md#kms-keys-of-secrets."""
    create(client, key)
    other = new_key(kms)
    put_policy(kms, other, allow("kms:*"), deny("kms:Encrypt"))
    client("UpdateSecret", SecretId="db", KmsKeyId=other)
    assert key_of(client, token(1)) == key
    client("PutSecretValue", SecretId="db", SecretString="second", ClientRequestToken=token(2))
    assert key_of(client, token(2)) == other
    assert client("GetSecretValue", SecretId="db", VersionStage="AWSPREVIOUS")["SecretString"] == "first"


def test_a_key_that_the_caller_may_not_use_is_refused_and_nothing_changes(
    client: Client, kms: Client, key: str
) -> None:
    create(client, key)
    other = new_key(kms)
    put_policy(kms, other, allow("kms:*"), deny("kms:GenerateDataKey"))
    assert refusal(lambda: client("UpdateSecret", SecretId="db", KmsKeyId=other)) == DENIED
    assert client("DescribeSecret", SecretId="db")["KmsKeyId"] == key


def test_only_a_symmetric_key_seals(client: Client, kms: Client) -> None:
    rsa = new_key(kms, KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    assert refusal(lambda: create(client, rsa))[0] == "EncryptionFailure"


def stranger_to(client: Client) -> Client:
    """Return the root user of another account."""
    return client.elsewhere(principal=accounts.root_principal(OTHER), account_id=OTHER, records=[])


def let_in(client: Client, action: str) -> str:
    """Let the other account do this with the secret; return the secret's ARN."""
    statement = {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": action, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn: str = client("PutResourcePolicy", SecretId="db", ResourcePolicy=policy)["ARN"]
    return arn


def test_another_account_reads_only_what_its_key_lets_it(client: Client, kms: Client, key: str) -> None:
    create(client, key)
    arn = let_in(client, "secretsmanager:GetSecretValue")
    stranger = stranger_to(client)
    assert refusal(lambda: stranger("GetSecretValue", SecretId=arn)) == DENIED
    put_policy(kms, key, allow("kms:*"), allow("kms:Decrypt", Principal={"AWS": OTHER}))
    assert stranger("GetSecretValue", SecretId=arn)["SecretString"] == "first"


def test_another_account_cannot_use_the_default_key(client: Client) -> None:
    create(client, None)
    arn = let_in(client, "secretsmanager:*SecretValue")
    stranger = stranger_to(client)
    assert refusal(lambda: stranger("GetSecretValue", SecretId=arn)) == DEFAULT_ACROSS
    put = {"SecretId": arn, "SecretString": "x", "ClientRequestToken": token(2)}
    assert refusal(lambda: stranger("PutSecretValue", **put)) == DEFAULT_ACROSS


def test_another_account_does_not_read_a_version_that_was_left_under_the_default_key(
    client: Client, kms: Client, key: str
) -> None:
    """The secret has a customer key by now, which lets the other account in; the version that nothing names any more has not."""
    create(client, None, number=1)
    for number in (2, 3):
        put = {"SecretString": f"value {number}", "ClientRequestToken": token(number)}
        client("PutSecretValue", SecretId="db", **put)
    client("UpdateSecret", SecretId="db", KmsKeyId=key, ClientRequestToken=token(4))
    put_policy(kms, key, allow("kms:*"), allow("kms:*", Principal={"AWS": OTHER}))
    arn = let_in(client, "secretsmanager:GetSecretValue")
    stranger = stranger_to(client)
    assert stranger("GetSecretValue", SecretId=arn)["SecretString"] == "value 3"
    assert refusal(lambda: stranger("GetSecretValue", SecretId=arn, VersionId=token(1))) == DEFAULT_ACROSS
    assert client("GetSecretValue", SecretId=arn, VersionId=token(1))["SecretString"] == "first"


@pytest.mark.parametrize("value", [{}, {"SecretString": "theirs"}])
def test_another_account_does_not_put_a_secret_back_under_the_default_key(
    client: Client, kms: Client, key: str, value: dict[str, str]
) -> None:
    """The secret's key lets the other account in, and the default key, which it asks for instead, lets in nobody else."""
    create(client, key)
    put_policy(kms, key, allow("kms:*"), allow("kms:*", Principal={"AWS": OTHER}))
    arn = let_in(client, "secretsmanager:*Secret*")
    asked = {"SecretId": arn, "KmsKeyId": "alias/aws/secretsmanager", "ClientRequestToken": token(2), **value}
    assert refusal(lambda: stranger_to(client)("UpdateSecret", **asked)) == DEFAULT_ACROSS
    assert key_of(client, token(1)) == key


def test_a_secret_can_lie_under_another_accounts_key(client: Client, kms: Client) -> None:
    theirs = kms.elsewhere(principal=accounts.root_principal(OTHER), account_id=OTHER)
    key = new_key(theirs)
    assert refusal(lambda: create(client, key)) == DENIED
    root = f"arn:aws:iam::{OTHER}:root"
    put_policy(
        theirs, key, allow("kms:*", Principal={"AWS": root}), allow(["kms:Decrypt", "kms:GenerateDataKey"])
    )
    create(client, key, number=4)
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "first"
    assert key_of(client, token(4)) == key


def test_a_copy_is_promised_only_to_who_may_open_the_original(here: Any, home: Client) -> None:
    kms = home.elsewhere(service=services()["kms"])
    key = new_key(kms)
    home("CreateSecret", Name="db", SecretString="v", KmsKeyId=key, ClientRequestToken=token(1))
    put_policy(kms, key, allow("kms:*"), deny("kms:Decrypt"))
    wanted = {"SecretId": "db", "AddReplicaRegions": [{"Region": "eu-west-1"}]}
    assert refusal(lambda: home("ReplicateSecretToRegions", **wanted)) == DENIED
    put_policy(kms, key, allow("kms:*"))
    assert home("ReplicateSecretToRegions", **wanted)["ReplicationStatus"][0]["Status"] == "InProgress"
