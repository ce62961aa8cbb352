"""KMS's daily operations, and secrets under a customer key, through boto3 and the `aws` command; on two workers, on each store."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.conftest import Served, new_database
from tests.conftest import STORES
from tests.processes import REGION, Client, ServerProcess

pytestmark = pytest.mark.slow

ACCOUNT = "123456789012"


@pytest.fixture(scope="module", params=STORES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    database = new_database(request, "turnlock_kms") if request.param == "postgresql" else None
    data_dir = tmp_path_factory.mktemp("kms") / "turnlock"
    options = ("--regions", REGION, "--workers", "2")
    with ServerProcess(data_dir, database=database, options=options) as process:
        yield Served(process=process, workers=2)


@pytest.fixture(scope="module")
def kms(served: Served) -> Client:
    return served.client("kms")


@pytest.fixture(scope="module")
def secrets(served: Served) -> Client:
    return served.client()


@pytest.fixture
def key(kms: Client) -> str:
    arn: str = kms.create_key(Description="a test's")["KeyMetadata"]["Arn"]
    return arn


def refused(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def code_of(call: Callable[[], object]) -> str:
    return refused(call)[0]


def new_user(served: Served, *actions: str) -> dict[str, str]:
    """Make a user who may do this everywhere; return the variables of its access key."""
    iam, name = served.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}


def test_the_daily_operations_of_a_key(kms: Client, key: str) -> None:
    alias = f"alias/{uuid.uuid4().hex[:8]}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    context = {"app": "shop"}
    blob = kms.encrypt(KeyId=alias, Plaintext=b"hello", EncryptionContext=context)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"hello"
    assert code_of(lambda: kms.decrypt(CiphertextBlob=blob)) == "InvalidCiphertextException"
    data_key = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    assert kms.decrypt(CiphertextBlob=data_key["CiphertextBlob"])["Plaintext"] == data_key["Plaintext"]
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=180)
    kms.rotate_key_on_demand(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"hello"
    assert kms.get_key_rotation_status(KeyId=key)["RotationPeriodInDays"] == 180
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "team", "TagValue": "a"}])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "team", "TagValue": "a"}]
    listed = [one for page in kms.get_paginator("list_aliases").paginate() for one in page["Aliases"]]
    assert (alias, key.rpartition("/")[2]) in {(one["AliasName"], one["TargetKeyId"]) for one in listed}
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["Enabled"] is True


def test_signatures_and_macs(kms: Client) -> None:
    signing = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    asked = {"KeyId": signing, "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = kms.sign(**asked)["Signature"]
    assert kms.verify(Signature=signature, **asked)["SignatureValid"]
    hmac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    mac = kms.generate_mac(KeyId=hmac, Message=b"m", MacAlgorithm="HMAC_SHA_256")["Mac"]
    assert kms.verify_mac(KeyId=hmac, Message=b"m", MacAlgorithm="HMAC_SHA_256", Mac=mac)["MacValid"]


def test_the_command_makes_uses_and_lists_keys(served: Served, tmp_path: Path) -> None:
    def aws(*arguments: str) -> dict[str, Any]:
        done = served.aws("kms", *arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout)) if done.stdout else {}

    key = aws("create-key", "--description", "by hand")["KeyMetadata"]["KeyId"]
    (tmp_path / "plain").write_bytes(b"hello")
    sealed = aws("encrypt", "--key-id", key, "--plaintext", f"fileb://{tmp_path / 'plain'}")
    (tmp_path / "blob").write_bytes(base64.b64decode(sealed["CiphertextBlob"]))
    opened = aws("decrypt", "--ciphertext-blob", f"fileb://{tmp_path / 'blob'}")
    assert base64.b64decode(opened["Plaintext"]) == b"hello"
    assert key in {entry["KeyId"] for entry in aws("list-keys")["Keys"]}
    assert "kms:*" in aws("get-key-policy", "--key-id", key)["Policy"]


def test_a_policy_that_locks_its_caller_out_is_refused_unless_that_is_meant(kms: Client, key: str) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "kms:Describe*",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    code, message = refused(lambda: kms.put_key_policy(KeyId=key, Policy=policy))
    assert (code, message) == (
        "MalformedPolicyDocumentException",
        "The new key policy will not allow you to update the key policy in the future.",
    )
    kms.put_key_policy(KeyId=key, Policy=policy, BypassPolicyLockoutSafetyCheck=True)
    assert code_of(lambda: kms.encrypt(KeyId=key, Plaintext=b"x")) == "AccessDeniedException"
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key


def test_a_grant_lets_a_user_in_until_it_is_revoked(served: Served, kms: Client, key: str) -> None:
    variables = new_user(served, "sts:GetCallerIdentity")
    arn = served.client("sts", **variables).get_caller_identity()["Arn"]
    theirs = served.client("kms", **variables)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert code_of(lambda: theirs.decrypt(CiphertextBlob=blob)) == "AccessDeniedException"
    grant = kms.create_grant(KeyId=key, GranteePrincipal=arn, Operations=["Decrypt"])
    assert theirs.decrypt(CiphertextBlob=blob, GrantTokens=[grant["GrantToken"]])["Plaintext"] == b"x"
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    assert code_of(lambda: theirs.decrypt(CiphertextBlob=blob)) == "AccessDeniedException"


def test_nobody_uses_the_default_key_directly(served: Served, kms: Client, secrets: Client) -> None:
    secrets.create_secret(Name=f"s-{uuid.uuid4().hex[:8]}", SecretString="v")
    described = kms.describe_key(KeyId="alias/aws/secretsmanager")["KeyMetadata"]
    assert described["KeyManager"] == "AWS"
    assert code_of(lambda: kms.encrypt(KeyId=described["KeyId"], Plaintext=b"x")) == "AccessDeniedException"
    assert code_of(lambda: kms.disable_key(KeyId=described["KeyId"])) == "AccessDeniedException"


def test_a_secret_under_a_customer_key(served: Served, kms: Client, secrets: Client, key: str) -> None:
    name = f"s-{uuid.uuid4().hex[:8]}"
    secrets.create_secret(Name=name, SecretString="first", KmsKeyId=key)
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "first"
    reader = served.client(**new_user(served, "secretsmanager:*"))
    denied = refused(lambda: reader.get_secret_value(SecretId=name))
    assert denied == ("AccessDeniedException", "Access to KMS is not allowed")
    allowed = served.client(**new_user(served, "secretsmanager:*", "kms:Decrypt"))
    assert allowed.get_secret_value(SecretId=name)["SecretString"] == "first"
    kms.disable_key(KeyId=key)
    assert code_of(lambda: secrets.get_secret_value(SecretId=name)) == "DecryptionFailure"
    assert code_of(lambda: secrets.put_secret_value(SecretId=name, SecretString="x")) == "EncryptionFailure"
    kms.enable_key(KeyId=key)
    other = kms.create_key()["KeyMetadata"]["Arn"]
    secrets.update_secret(SecretId=name, KmsKeyId=other)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "first"
    kms.schedule_key_deletion(KeyId=other, PendingWindowInDays=7)
    assert code_of(lambda: secrets.get_secret_value(SecretId=name)) == "DecryptionFailure"
