"""Aliases, on both stores."""

from __future__ import annotations

import pytest

from tests.calling import ACCOUNT, REGION, Client, refusal
from turnlock.kms import MANAGED_ALIAS, managed_key


def test_an_alias_is_made_moved_listed_and_deleted(kms: Client, key: str) -> None:
    other = kms("CreateKey")["KeyMetadata"]["KeyId"]
    kms("CreateAlias", AliasName="alias/app/db", TargetKeyId=key)
    (entry,) = kms("ListAliases")["Aliases"]
    assert entry["AliasArn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/app/db"
    assert entry["TargetKeyId"] == key.rpartition("/")[2]
    kms("UpdateAlias", AliasName="alias/app/db", TargetKeyId=other)
    assert kms("DescribeKey", KeyId="alias/app/db")["KeyMetadata"]["KeyId"] == other
    assert kms("ListAliases", KeyId=key)["Aliases"] == []
    kms("DeleteAlias", AliasName="alias/app/db")
    assert refusal(lambda: kms("DescribeKey", KeyId="alias/app/db"))[0] == "NotFoundException"
    assert refusal(lambda: kms("DeleteAlias", AliasName="alias/app/db"))[0] == "NotFoundException"
    assert kms("DescribeKey", KeyId=other)["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_name_is_given_once(kms: Client, key: str) -> None:
    kms("CreateAlias", AliasName="alias/one", TargetKeyId=key)
    taken = refusal(lambda: kms("CreateAlias", AliasName="alias/one", TargetKeyId=key))
    assert taken == (
        "AlreadyExistsException",
        f"An alias with the name arn:aws:kms:{REGION}:{ACCOUNT}:alias/one already exists",
    )


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("alias/aws/mine", "InvalidAliasNameException"),
        ("alias/aws/secretsmanager", "InvalidAliasNameException"),
        ("alias/a:b", "InvalidAliasNameException"),
        ("alias/", "InvalidAliasNameException"),
        ("mine", "ValidationException"),
    ],
)
@pytest.mark.parametrize("operation", ["CreateAlias", "UpdateAlias"])
def test_a_reserved_or_malformed_name_is_refused(
    kms: Client, key: str, name: str, code: str, operation: str
) -> None:
    assert refusal(lambda: kms(operation, AliasName=name, TargetKeyId=key))[0] == code


def test_the_managed_alias_can_be_neither_moved_nor_deleted(kms: Client, key: str) -> None:
    managed = kms.database.write(lambda unit: managed_key(unit, ACCOUNT, REGION))
    assert refusal(lambda: kms("DeleteAlias", AliasName=MANAGED_ALIAS))[0] == "InvalidAliasNameException"
    on_managed = refusal(lambda: kms("CreateAlias", AliasName="alias/x", TargetKeyId=managed.key_id))
    assert on_managed[0] == "AccessDeniedException"


def test_an_alias_moves_only_to_a_key_of_the_same_kind(kms: Client, key: str) -> None:
    hmac = kms("CreateKey", KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    kms("CreateAlias", AliasName="alias/kind", TargetKeyId=key)
    moved = refusal(lambda: kms("UpdateAlias", AliasName="alias/kind", TargetKeyId=hmac))
    assert moved[0] == "ValidationException"


def test_aliases_are_listed_in_pages(kms: Client, key: str) -> None:
    names = [f"alias/n{number}" for number in range(5)]
    for name in names:
        kms("CreateAlias", AliasName=name, TargetKeyId=key)
    first = kms("ListAliases", Limit=2)
    rest = kms("ListAliases", Marker=first["NextMarker"])
    assert [entry["AliasName"] for entry in first["Aliases"] + rest["Aliases"]] == names
    of_key = kms("ListAliases", KeyId=key, Limit=4)
    assert (len(of_key["Aliases"]), of_key["Truncated"]) == (4, True)
