"""Rotation of key material: by period, on demand, and what older materials still open."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.calling import Client, refusal
from tests.kms.test_lifecycle import deliver
from tests.support import SettableClock


def kinds(kms: Client, key: str) -> list[str | None]:
    return [entry.get("RotationType") for entry in kms("ListKeyRotations", KeyId=key)["Rotations"]]


def sealed(kms: Client, key: str) -> bytes:
    blob: bytes = kms("Encrypt", KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    return blob


def test_after_a_rotation_new_material_encrypts_and_all_decrypt(kms: Client, key: str) -> None:
    blobs = [sealed(kms, key)]
    for _ in range(2):
        assert kms("RotateKeyOnDemand", KeyId=key)["KeyId"] == key
        blobs.append(sealed(kms, key))
    opened = [kms("Decrypt", CiphertextBlob=blob) for blob in blobs]
    assert {one["Plaintext"] for one in opened} == {b"x"}
    assert len({one["KeyMaterialId"] for one in opened}) == 3
    current = kms("DescribeKey", KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    assert opened[-1]["KeyMaterialId"] == current
    assert kinds(kms, key) == ["ON_DEMAND", "ON_DEMAND"]
    everything = kms("ListKeyRotations", KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    assert [entry["KeyMaterialState"] for entry in everything] == ["CURRENT", "NON_CURRENT", "NON_CURRENT"]
    assert [entry["KeyMaterialId"] for entry in everything] == [
        one["KeyMaterialId"] for one in reversed(opened)
    ]


def test_a_period_brings_a_rotation_each_time_it_is_over(kms: Client, key: str, clock: SettableClock) -> None:
    kms("EnableKeyRotation", KeyId=key, RotationPeriodInDays=90)
    status = kms("GetKeyRotationStatus", KeyId=key)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 90)
    assert status["NextRotationDate"] == clock.now() + timedelta(days=90)
    clock.advance(timedelta(days=89))
    deliver(kms)
    assert kinds(kms, key) == []
    for rotations in (1, 2):
        clock.advance(timedelta(days=90))
        deliver(kms)
        deliver(kms)
        assert kinds(kms, key) == ["AUTOMATIC"] * rotations
    kms("DisableKeyRotation", KeyId=key)
    assert kms("GetKeyRotationStatus", KeyId=key)["KeyRotationEnabled"] is False
    clock.advance(timedelta(days=200))
    deliver(kms)
    assert kinds(kms, key) == ["AUTOMATIC"] * 2


def test_a_disabled_key_is_rotated_when_it_is_enabled_again(
    kms: Client, key: str, clock: SettableClock
) -> None:
    kms("EnableKeyRotation", KeyId=key, RotationPeriodInDays=90)
    kms("DisableKey", KeyId=key)
    clock.advance(timedelta(days=100))
    deliver(kms)
    assert kinds(kms, key) == []
    assert refusal(lambda: kms("RotateKeyOnDemand", KeyId=key))[0] == "DisabledException"
    kms("EnableKey", KeyId=key)
    deliver(kms)
    assert kinds(kms, key) == ["AUTOMATIC"]


def test_another_period_moves_the_next_date_and_the_same_one_does_not(
    kms: Client, key: str, clock: SettableClock
) -> None:
    kms("EnableKeyRotation", KeyId=key)
    first = kms("GetKeyRotationStatus", KeyId=key)
    assert first["RotationPeriodInDays"] == 365
    clock.advance(timedelta(days=10))
    kms("EnableKeyRotation", KeyId=key)
    assert kms("GetKeyRotationStatus", KeyId=key) == first
    kms("EnableKeyRotation", KeyId=key, RotationPeriodInDays=100)
    moved = kms("GetKeyRotationStatus", KeyId=key)
    assert moved["NextRotationDate"] == clock.now() + timedelta(days=100)


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "HMAC_256"])
def test_keys_that_cannot_be_rotated_say_that_they_are_not(kms: Client, spec: str) -> None:
    """Terraform's `aws_kms_key` asks it of every key."""
    usage = "GENERATE_VERIFY_MAC" if spec.startswith("HMAC") else "SIGN_VERIFY"
    made = kms("CreateKey", KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
    status = kms("GetKeyRotationStatus", KeyId=made["KeyId"])
    assert status == {"KeyId": made["Arn"], "KeyRotationEnabled": False}


@pytest.mark.parametrize("operation", ["EnableKeyRotation", "RotateKeyOnDemand", "ListKeyRotations"])
def test_only_symmetric_keys_are_rotated(kms: Client, operation: str) -> None:
    key = kms("CreateKey", KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    assert refusal(lambda: kms(operation, KeyId=key))[0] == "UnsupportedOperationException"


def test_a_key_is_rotated_on_demand_a_bounded_number_of_times(kms: Client, key: str) -> None:
    for _ in range(25):
        kms("RotateKeyOnDemand", KeyId=key)
    assert refusal(lambda: kms("RotateKeyOnDemand", KeyId=key))[0] == "LimitExceededException"
    page = kms("ListKeyRotations", KeyId=key, Limit=20)
    rest = kms("ListKeyRotations", KeyId=key, Marker=page["NextMarker"])
    assert (len(page["Rotations"]), len(rest["Rotations"])) == (20, 5)
