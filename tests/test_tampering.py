"""Whoever can write the store: what they change is an error and an alarm, and never another value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select, update
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, Client, services, token
from tests.kms.test_policies import policy
from tests.support import SettableClock
from turnlock.errors import ApiError
from turnlock.kms import seal_under, unseal
from turnlock.kms.tables import kms_aliases, kms_grants, kms_key_materials, kms_key_policies, kms_keys
from turnlock.secrets.tables import resource_policies, secret_versions, staging_labels
from turnlock.storage import Database, Unit

USER = f"arn:aws:iam::{ACCOUNT}:user/ann"
ALARMED = {"InternalServiceError", "DecryptionFailure"}
"""What a caller sees: nothing of what was found, or that the value cannot be decrypted."""


@pytest.fixture
def database(store_place: Any) -> Database:
    opened: Database = store_place.open(clock=SettableClock())
    return opened


@pytest.fixture
def kms(database: Database) -> Client:
    return Client(database=database, clock=SettableClock(), service=services()["kms"])


@pytest.fixture
def secrets(kms: Client) -> Client:
    """A client of Secrets Manager, where two secrets lie under a customer key, and one under the default one."""
    client = kms.elsewhere(service=services()["secretsmanager"], records=[])
    key = kms("CreateKey")["KeyMetadata"]["Arn"]
    for number, (name, named) in enumerate(
        (("one", {"KmsKeyId": key}), ("two", {"KmsKeyId": key}), ("three", {})), 1
    ):
        client("CreateSecret", Name=name, SecretString=name, ClientRequestToken=token(number), **named)
        client(
            "PutSecretValue", SecretId=name, SecretString=f"{name}-b", ClientRequestToken=token(10 + number)
        )
    client("PutResourcePolicy", SecretId="one", ResourcePolicy=policy(Action="secretsmanager:*"))
    return client


def write(database: Database, statement: Any) -> None:
    def work(unit: Unit) -> int:
        return unit.connection.execute(statement).rowcount

    assert database.write(work) != 0  # psycopg does not count what an INSERT added


def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    """Return a table's rows in the order of its key."""
    statement = select(table).order_by(*table.primary_key.columns)
    return database.read(lambda unit: [dict(row) for row in unit.connection.execute(statement).mappings()])


def at(table: Table, row: dict[str, Any]) -> list[Any]:
    return [table.c[column.name] == row[column.name] for column in table.primary_key.columns]


def alarmed(call: Callable[[], object]) -> None:
    """Assert that a call fails as what was tampered with must, with one alarm in the log, which names it."""
    with capture_logs() as logged, pytest.raises(ApiError) as caught:
        call()
    assert caught.value.code in ALARMED, caught.value.code
    assert [bool(line["row"]) for line in logged if line["action"] == "seal_broken"] == [True], logged


NEW = {
    "description": "another",
    "state": "Disabled",
    "key_owner": "AWS",
    "key_usage": "SIGN_VERIFY",
    "key_spec": "RSA_2048",
    "current_material": 2,
    "pending_days": 7,
    "rotation_days": 90,
    "tags": '{"team":"a"}',
}


@pytest.mark.parametrize("column", sorted(NEW))
def test_no_column_of_a_key_can_be_changed(kms: Client, column: str) -> None:
    key = kms("CreateKey")["KeyMetadata"]["Arn"]
    write(kms.database, update(kms_keys).values({column: NEW[column]}))
    alarmed(lambda: kms("DescribeKey", KeyId=key))
    alarmed(lambda: kms("Encrypt", KeyId=key, Plaintext=b"x"))


def test_a_disabled_key_is_not_enabled_by_another_keys_row(kms: Client) -> None:
    keys = [kms("CreateKey")["KeyMetadata"]["KeyId"] for _ in range(2)]
    kms("DisableKey", KeyId=keys[0])
    enabled = next(row for row in rows(kms.database, kms_keys) if row["key_id"] == keys[1])
    moved = {name: value for name, value in enabled.items() if name != "key_id"}
    write(kms.database, update(kms_keys).where(kms_keys.c.key_id == keys[0]).values(moved))
    alarmed(lambda: kms("Encrypt", KeyId=keys[0], Plaintext=b"x"))


def test_materials_that_were_swapped_or_flipped_open_nothing(kms: Client) -> None:
    keys = [kms("CreateKey")["KeyMetadata"]["Arn"] for _ in range(2)]
    blob = kms("Encrypt", KeyId=keys[0], Plaintext=b"x")["CiphertextBlob"]
    one, other = rows(kms.database, kms_key_materials)
    for row, sealed in ((one, other["sealed"]), (other, one["sealed"])):
        statement = update(kms_key_materials).where(*at(kms_key_materials, row))
        write(kms.database, statement.values(sealed=sealed))
    with pytest.raises(ApiError):
        kms("Decrypt", CiphertextBlob=blob)
    flipped = bytes([one["sealed"][-1] ^ 1])
    write(kms.database, update(kms_key_materials).values(sealed=one["sealed"][:-1] + flipped))
    alarmed(lambda: kms("Encrypt", KeyId=keys[0], Plaintext=b"x"))
    alarmed(lambda: kms("Encrypt", KeyId=keys[1], Plaintext=b"x"))


def test_taking_the_newest_material_away_does_not_bring_the_older_one_back(kms: Client) -> None:
    key = kms("CreateKey")["KeyMetadata"]["Arn"]
    kms("RotateKeyOnDemand", KeyId=key)
    write(kms.database, delete(kms_key_materials).where(kms_key_materials.c.material_id == 2))
    alarmed(lambda: kms("Encrypt", KeyId=key, Plaintext=b"x"))


def test_an_alias_cannot_be_pointed_at_another_key(kms: Client) -> None:
    keys = [kms("CreateKey")["KeyMetadata"]["KeyId"] for _ in range(2)]
    kms("CreateAlias", AliasName="alias/a", TargetKeyId=keys[0])
    write(kms.database, update(kms_aliases).values(key_id=keys[1]))
    alarmed(lambda: kms("DescribeKey", KeyId="alias/a"))
    alarmed(lambda: kms("Encrypt", KeyId="alias/a", Plaintext=b"x"))


def test_a_key_policy_cannot_be_changed_or_exchanged(kms: Client) -> None:
    narrow = kms("CreateKey")["KeyMetadata"]["KeyId"]
    wide = kms("CreateKey", Policy=policy(Principal="*"))["KeyMetadata"]["KeyId"]
    wanted = next(row for row in rows(kms.database, kms_key_policies) if row["key_id"] == wide)
    of_narrow = update(kms_key_policies).where(kms_key_policies.c.key_id == narrow)
    write(kms.database, of_narrow.values(policy=wanted["policy"], mac=wanted["mac"]))
    alarmed(lambda: kms("Encrypt", KeyId=narrow, Plaintext=b"x"))
    assert kms("Encrypt", KeyId=wide, Plaintext=b"x")


def test_a_grant_cannot_be_widened_moved_or_made(kms: Client) -> None:
    keys = [kms("CreateKey")["KeyMetadata"]["KeyId"] for _ in range(2)]
    kms("CreateGrant", KeyId=keys[0], GranteePrincipal=USER, Operations=["DescribeKey"])
    (row,) = rows(kms.database, kms_grants)
    write(kms.database, update(kms_grants).values(body=row["body"].replace("DescribeKey", "Decrypt")))
    alarmed(lambda: kms("ListGrants", KeyId=keys[0]))
    write(kms.database, update(kms_grants).values(body=row["body"]))
    assert kms("ListGrants", KeyId=keys[0])["Grants"]
    write(kms.database, insert(kms_grants).values({**row, "key_id": keys[1]}))
    alarmed(lambda: kms("ListGrants", KeyId=keys[1]))


def version(database: Database, name: str, number: int) -> dict[str, Any]:
    return next(
        row
        for row in rows(database, secret_versions)
        if (row["name"], row["version_id"]) == (name, token(number))
    )


def put(database: Database, row: dict[str, Any], **values: Any) -> None:
    write(database, update(secret_versions).where(*at(secret_versions, row)).values(values))


@pytest.mark.parametrize(
    ("name", "number"), [("one", 11), ("three", 13)], ids=["customer key", "default key"]
)
def test_a_flipped_byte_of_a_value_is_an_alarm_wherever_it_is(
    secrets: Client, name: str, number: int
) -> None:
    row = version(secrets.database, name, number)
    positions = range(0, len(row["sealed"]), 9)
    for position in positions:
        changed = bytearray(row["sealed"])
        changed[position] ^= 1 << position % 8
        put(secrets.database, row, sealed=bytes(changed))
        alarmed(lambda: secrets("GetSecretValue", SecretId=name))
    put(secrets.database, row, sealed=row["sealed"])
    assert secrets("GetSecretValue", SecretId=name)["SecretString"] == f"{name}-b"
    assert len(positions) > 15


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (("one", 11), ("two", 12)),
        (("one", 11), ("one", 1)),
        (("three", 13), ("one", 11)),
        (("one", 11), ("three", 13)),
    ],
    ids=["another secret's", "an older version's", "a customer key's", "the default key's"],
)
def test_a_value_in_anothers_place_is_an_alarm(
    secrets: Client, wanted: tuple[str, int], taken: tuple[str, int]
) -> None:
    row, donor = version(secrets.database, *wanted), version(secrets.database, *taken)
    put(secrets.database, row, sealed=donor["sealed"])
    alarmed(lambda: secrets("GetSecretValue", SecretId=wanted[0]))


def test_a_version_that_was_moved_to_another_secret_is_an_alarm(secrets: Client) -> None:
    donor = version(secrets.database, "two", 12)
    write(secrets.database, insert(secret_versions).values({**donor, "name": "one"}))
    alarmed(lambda: secrets("GetSecretValue", SecretId="one", VersionId=token(12)))


def test_a_label_that_was_moved_is_an_alarm(secrets: Client) -> None:
    of_one = (staging_labels.c.name == "one", staging_labels.c.label == "AWSCURRENT")
    write(secrets.database, update(staging_labels).where(*of_one).values(version_id=token(1)))
    alarmed(lambda: secrets("GetSecretValue", SecretId="one"))
    assert secrets("GetSecretValue", SecretId="two")["SecretString"] == "two-b"


def test_a_resource_policy_that_was_changed_is_an_alarm(secrets: Client) -> None:
    write(secrets.database, update(resource_policies).values(policy=policy(Principal="*")))
    alarmed(lambda: secrets("GetResourcePolicy", SecretId="one"))
    alarmed(lambda: secrets("GetSecretValue", SecretId="one"))


def test_the_kind_of_a_value_cannot_be_changed(secrets: Client) -> None:
    put(secrets.database, version(secrets.database, "three", 13), kind="binary")
    alarmed(lambda: secrets("GetSecretValue", SecretId="three"))


def test_a_value_under_a_data_key_of_ones_own_is_an_alarm(kms: Client, secrets: Client) -> None:
    """Who may use a customer key, and write the store, seals a value for the right place; its row was not written by this server."""
    row = version(secrets.database, "one", 11)
    arn, key = (secrets("DescribeSecret", SecretId="one")[name] for name in ("ARN", "KmsKeyId"))
    context = {"SecretARN": arn, "SecretVersionId": token(11)}
    made = kms("GenerateDataKey", KeyId=key, KeySpec="AES_256", EncryptionContext=context)

    def seal(unit: Unit) -> bytes:
        return seal_under(
            unit, made["Plaintext"], made["CiphertextBlob"], b"FORGED", owner=arn, part=token(11)
        )

    forged = secrets.database.read(seal)
    opened = secrets.database.read(
        lambda unit: unseal(unit, ACCOUNT, secrets.region, forged, owner=arn, part=token(11))
    )
    assert opened == b"FORGED"
    put(secrets.database, row, sealed=forged)
    alarmed(lambda: secrets("GetSecretValue", SecretId="one"))
