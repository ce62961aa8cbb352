"""CreateKey to the end of a key's life, on both stores."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.calling import ACCOUNT, REGION, Client, refusal
from tests.support import SettableClock
from turnlock.kms import DESTROY, ROTATE, destroy, managed_key, rotate_due, seal_field
from turnlock.storage.outbox import Deliverer


def deliver(kms: Client) -> None:
    """Carry out the outbox's jobs that are due."""
    jobs = {DESTROY: destroy, ROTATE: rotate_due}
    Deliverer(kms.database, jobs, "tests").tick()


def state_of(kms: Client, key: str) -> str:
    state: str = kms("DescribeKey", KeyId=key)["KeyMetadata"]["KeyState"]
    return state


def test_a_new_key_is_enabled_and_described_as_it_was_made(kms: Client) -> None:
    made = kms("CreateKey", Description="d", Tags=[{"TagKey": "k", "TagValue": "v"}])["KeyMetadata"]
    assert kms("DescribeKey", KeyId=made["KeyId"])["KeyMetadata"] == made
    assert made["Arn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{made['KeyId']}"
    assert (made["KeyState"], made["Enabled"], made["KeyManager"]) == ("Enabled", True, "CUSTOMER")
    assert (made["KeySpec"], made["KeyUsage"], made["Origin"]) == (
        "SYMMETRIC_DEFAULT",
        "ENCRYPT_DECRYPT",
        "AWS_KMS",
    )
    assert made["EncryptionAlgorithms"] == ["SYMMETRIC_DEFAULT"]
    assert kms("ListResourceTags", KeyId=made["KeyId"])["Tags"] == [{"TagKey": "k", "TagValue": "v"}]


def test_keys_are_listed_in_pages(kms: Client) -> None:
    made = sorted(kms("CreateKey")["KeyMetadata"]["KeyId"] for _ in range(5))
    first = kms("ListKeys", Limit=3)
    assert (len(first["Keys"]), first["Truncated"]) == (3, True)
    second = kms("ListKeys", Limit=3, Marker=first["NextMarker"])
    assert second["Truncated"] is False
    assert [entry["KeyId"] for entry in first["Keys"] + second["Keys"]] == made
    assert refusal(lambda: kms("ListKeys", Marker="!"))[0] == "InvalidMarkerException"


def test_a_disabled_key_does_nothing_until_it_is_enabled(kms: Client, key: str) -> None:
    blob = kms("Encrypt", KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms("DisableKey", KeyId=key)
    assert state_of(kms, key) == "Disabled"
    assert refusal(lambda: kms("Decrypt", CiphertextBlob=blob)) == (
        "DisabledException",
        f"{key} is disabled.",
    )
    assert refusal(lambda: kms("GenerateDataKey", KeyId=key, KeySpec="AES_256"))[0] == "DisabledException"
    kms("EnableKey", KeyId=key)
    assert kms("Decrypt", CiphertextBlob=blob)["Plaintext"] == b"x"


def test_a_doomed_key_does_nothing_and_is_gone_when_its_days_are_over(
    kms: Client, key: str, clock: SettableClock
) -> None:
    kms("CreateAlias", AliasName="alias/doomed", TargetKeyId=key)
    blob = kms("Encrypt", KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    answer = kms("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    assert (answer["KeyState"], answer["PendingWindowInDays"]) == ("PendingDeletion", 7)
    assert answer["DeletionDate"] == clock.now() + timedelta(days=7)
    refused = (
        lambda: kms("Decrypt", CiphertextBlob=blob),
        lambda: kms("EnableKey", KeyId=key),
        lambda: kms("PutKeyPolicy", KeyId=key, Policy="{}"),
        lambda: kms("ScheduleKeyDeletion", KeyId=key),
    )
    assert [refusal(call)[0] for call in refused] == ["KMSInvalidStateException"] * 4
    clock.advance(timedelta(days=7, seconds=-1))
    deliver(kms)
    assert state_of(kms, key) == "PendingDeletion"
    clock.advance(timedelta(seconds=1))
    deliver(kms)
    assert refusal(lambda: kms("DescribeKey", KeyId=key))[0] == "NotFoundException"
    assert refusal(lambda: kms("Decrypt", CiphertextBlob=blob))[0] == "InvalidCiphertextException"
    assert kms("ListAliases")["Aliases"] == []


def test_a_deletion_that_was_cancelled_never_happens(kms: Client, key: str, clock: SettableClock) -> None:
    kms("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    assert kms("CancelKeyDeletion", KeyId=key)["KeyId"] == key
    assert state_of(kms, key) == "Disabled"
    clock.advance(timedelta(days=40))
    deliver(kms)
    assert state_of(kms, key) == "Disabled"
    assert refusal(lambda: kms("CancelKeyDeletion", KeyId=key))[0] == "KMSInvalidStateException"


@pytest.mark.parametrize("days", [1, 6, 31])
def test_a_waiting_period_has_7_to_30_days(kms: Client, key: str, days: int) -> None:
    call = refusal(lambda: kms("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=days))
    assert call[0] == "ValidationException"


@pytest.mark.parametrize(
    "asked",
    [
        {"Origin": "EXTERNAL"},
        {"MultiRegion": True},
        {"CustomKeyStoreId": "cks-1"},
        {"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"},
    ],
)
def test_a_key_that_this_server_cannot_keep_is_refused(kms: Client, asked: dict[str, object]) -> None:
    assert refusal(lambda: kms("CreateKey", **asked))[0] == "UnsupportedOperationException"


@pytest.mark.parametrize(
    "asked", [{"KeySpec": "RSA_2048"}, {"KeySpec": "HMAC_256", "KeyUsage": "SIGN_VERIFY"}]
)
def test_a_usage_must_fit_the_spec_and_be_said(kms: Client, asked: dict[str, str]) -> None:
    assert refusal(lambda: kms("CreateKey", **asked))[0] == "ValidationException"


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("DisableKey", {}),
        ("ScheduleKeyDeletion", {}),
        ("UpdateKeyDescription", {"Description": "mine now"}),
        ("PutKeyPolicy", {"Policy": "{}"}),
        ("TagResource", {"Tags": [{"TagKey": "k", "TagValue": "v"}]}),
        ("EnableKeyRotation", {}),
    ],
)
def test_nobody_changes_an_aws_managed_key(kms: Client, operation: str, more: dict[str, object]) -> None:
    managed = kms.database.write(lambda unit: managed_key(unit, ACCOUNT, REGION))
    assert refusal(lambda: kms(operation, KeyId=managed.key_id, **more))[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    "named", ["alias/aws/turnlock", "absent", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/absent"]
)
def test_what_is_not_there_is_not_found(kms: Client, named: str) -> None:
    kms.database.write(lambda unit: seal_field(unit, ACCOUNT, b"x", owner="o", part="p"))
    assert refusal(lambda: kms("DescribeKey", KeyId=named))[0] == "NotFoundException"


@pytest.mark.parametrize("named", ["arn:x", f"arn:aws:kms:{REGION}:{ACCOUNT}:grant/x"])
def test_what_is_no_key_arn_is_an_invalid_arn(kms: Client, named: str) -> None:
    assert refusal(lambda: kms("DescribeKey", KeyId=named))[0] == "InvalidArnException"


def test_an_alias_names_a_key_only_where_it_is_used(kms: Client, key: str) -> None:
    kms("CreateAlias", AliasName="alias/mine", TargetKeyId=key)
    assert kms("DescribeKey", KeyId="alias/mine")["KeyMetadata"]["Arn"] == key
    assert refusal(lambda: kms("DisableKey", KeyId="alias/mine"))[0] == "NotFoundException"


def test_tags_are_added_changed_and_removed(kms: Client, key: str) -> None:
    kms("TagResource", KeyId=key, Tags=[{"TagKey": k, "TagValue": "1"} for k in "abc"])
    kms("TagResource", KeyId=key, Tags=[{"TagKey": "a", "TagValue": "2"}])
    kms("UntagResource", KeyId=key, TagKeys=["b", "absent"])
    page = kms("ListResourceTags", KeyId=key, Limit=1)
    rest = kms("ListResourceTags", KeyId=key, Marker=page["NextMarker"])
    assert [(t["TagKey"], t["TagValue"]) for t in page["Tags"] + rest["Tags"]] == [("a", "2"), ("c", "1")]
    reserved = [{"TagKey": "aws:x", "TagValue": ""}]
    assert refusal(lambda: kms("TagResource", KeyId=key, Tags=reserved))[0] == "TagException"
    many = [{"TagKey": f"k{n}", "TagValue": ""} for n in range(50)]
    assert refusal(lambda: kms("TagResource", KeyId=key, Tags=many))[0] == "LimitExceededException"
