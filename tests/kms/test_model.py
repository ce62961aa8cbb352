"""Naming keys, and what a ciphertext is bound to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import NOON
from turnlock.core.arn import AccountId, Region
from turnlock.errors import ApiError, InvalidParameterException, ResourceNotFoundException
from turnlock.kms.model import (
    MANAGED_ALIAS,
    KeyOwner,
    KeyReference,
    KeyState,
    KmsKey,
    encryption_context,
    material_context,
    parse_kms_key_id,
)
from turnlock.root_keys import associated_data

ACCOUNT, REGION = AccountId("123456789012"), Region("eu-central-1")
OTHER = AccountId("999999999999")
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
HERE = f"arn:aws:kms:{REGION}:{ACCOUNT}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, KeyReference(account_id=ACCOUNT, alias_name=MANAGED_ALIAS)),
        ("", KeyReference(account_id=ACCOUNT, alias_name=MANAGED_ALIAS)),
        ("alias/aws/secretsmanager", KeyReference(account_id=ACCOUNT, alias_name=MANAGED_ALIAS)),
        (f"{HERE}:alias/aws/secretsmanager", KeyReference(account_id=ACCOUNT, alias_name=MANAGED_ALIAS)),
        ("alias/mine", KeyReference(account_id=ACCOUNT, alias_name="alias/mine")),
        (f"{HERE}:alias/mine", KeyReference(account_id=ACCOUNT, alias_name="alias/mine")),
        (KEY_ID, KeyReference(account_id=ACCOUNT, key_id=KEY_ID)),
        (f"{HERE}:key/{KEY_ID}", KeyReference(account_id=ACCOUNT, key_id=KEY_ID)),
        (f"arn:aws:kms:{REGION}:999999999999:key/{KEY_ID}", KeyReference(account_id=OTHER, key_id=KEY_ID)),
        (f"{HERE}:key/alias/x", KeyReference(account_id=ACCOUNT, key_id="alias/x")),
    ],
)
def test_every_way_to_name_a_key_is_read(text: str | None, expected: KeyReference) -> None:
    assert parse_kms_key_id(text, ACCOUNT, REGION) == expected


@pytest.mark.parametrize(
    "text",
    [
        "arn:",
        "arn:aws:kms",
        f"arn:aws:s3:::{KEY_ID}",
        f"{HERE}:{KEY_ID}",
        f"arn:aws:iam:{REGION}:{ACCOUNT}:key/x",
    ],
)
def test_an_arn_that_names_no_key_is_an_invalid_parameter(text: str) -> None:
    with pytest.raises(InvalidParameterException):
        parse_kms_key_id(text, ACCOUNT, REGION)


@pytest.mark.parametrize(
    "text",
    [
        f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/aws/secretsmanager",
        f"arn:aws-cn:kms:{REGION}:{ACCOUNT}:key/{KEY_ID}",
    ],
)
def test_a_key_of_another_region_or_partition_is_not_found(text: str) -> None:
    with pytest.raises(ResourceNotFoundException, match=r"not found|does not exist"):
        parse_kms_key_id(text, ACCOUNT, REGION)


@given(st.text(max_size=100) | st.text(max_size=60).map(lambda rest: f"arn:aws:kms:{rest}"))
def test_hostile_key_ids_are_read_or_refused_with_an_api_error(text: str) -> None:
    try:
        reference = parse_kms_key_id(text, ACCOUNT, REGION)
    except ApiError:
        return
    assert (reference.key_id is None) != (reference.alias_name is None)


def naive_split(joined: bytes) -> list[bytes]:
    parts = []
    while joined:
        length = int.from_bytes(joined[:4])
        parts.append(joined[4 : 4 + length])
        joined = joined[4 + length :]
    return parts


@given(st.lists(st.binary(max_size=20) | st.text(max_size=20)))
def test_joined_parts_can_be_taken_apart_again_and_so_have_one_reading(parts: list[bytes | str]) -> None:
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    assert naive_split(associated_data(*parts)) == encoded


@given(st.text(), st.text(), st.text(), st.text())
def test_two_contexts_are_equal_only_for_the_same_owner_and_part(
    owner: str, part: str, owner2: str, part2: str
) -> None:
    same = (owner, part) == (owner2, part2)
    assert (encryption_context(owner, part) == encryption_context(owner2, part2)) is same


def test_each_component_of_a_place_counts() -> None:
    other_account = material_context(AccountId("999999999999"), REGION, KEY_ID, 1)
    other_region = material_context(ACCOUNT, Region("eu-west-1"), KEY_ID, 1)
    other_key = material_context(ACCOUNT, REGION, "other", 1)
    other_number = material_context(ACCOUNT, REGION, KEY_ID, 2)
    here = material_context(ACCOUNT, REGION, KEY_ID, 1)
    assert len({here, other_account, other_region, other_key, other_number}) == 5


def test_a_state_that_this_release_does_not_know_is_unavailable() -> None:
    assert KeyState("PendingImport") is KeyState.UNAVAILABLE
    assert KeyState("Enabled") is KeyState.ENABLED


def test_a_key_knows_its_arn_in_every_partition() -> None:
    def arn(region: str) -> str:
        return KmsKey(
            account_id=ACCOUNT,
            region=Region(region),
            key_id=KEY_ID,
            state=KeyState.ENABLED,
            owner=KeyOwner.AWS,
            created_at=NOON,
        ).arn

    assert arn("eu-central-1") == f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/{KEY_ID}"
    assert arn("cn-north-1") == f"arn:aws-cn:kms:cn-north-1:{ACCOUNT}:key/{KEY_ID}"
