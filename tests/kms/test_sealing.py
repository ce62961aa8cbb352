"""Envelope encryption, on both stores."""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, insert, select, update
from structlog.testing import capture_logs

from tests.support import NOON, StorePlace, fresh_keyring
from turnlock import kms, root_keys
from turnlock.core.arn import AccountId, Region
from turnlock.core.ports import RootKeyring
from turnlock.errors import (
    ConfigurationError,
    DecryptionFailure,
    EncryptionFailure,
    InvalidParameterException,
    ResourceNotFoundException,
    SealBroken,
    StoreError,
)
from turnlock.kms import KeyOwner, KeyState, KmsKey
from turnlock.kms.cryptography.materials import wrap_material
from turnlock.kms.model import SERVICE_REGION, Alias
from turnlock.kms.store import insert_material, save_alias, update_key
from turnlock.kms.tables import kms_aliases, kms_key_materials, kms_keys
from turnlock.root_keys.envelope import Envelope
from turnlock.storage import Database, Unit

ACCOUNT, OTHER_ACCOUNT = AccountId("123456789012"), AccountId("999999999999")
REGION, OTHER_REGION = Region("eu-central-1"), Region("eu-west-1")
OWNER = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:prod/db-AbCdEf"
PART = "5b1f2d6e-0000-4000-8000-000000000001"
VALUE = b"correct horse battery staple"


def seal(unit: Unit, plaintext: bytes = VALUE, owner: str = OWNER, part: str = PART) -> bytes:
    return kms.seal(unit, kms.managed_key(unit, ACCOUNT, REGION), plaintext, owner=owner, part=part)


def unseal(unit: Unit, blob: bytes, **changed: Any) -> bytes:
    place: dict[str, Any] = {"account_id": ACCOUNT, "region": REGION, "owner": OWNER, "part": PART, **changed}
    return kms.unseal(unit, place.pop("account_id"), place.pop("region"), blob, **place)


def broken(database: Database, work: Callable[[Unit], object]) -> list[dict[str, Any]]:
    """Assert that `work` meets a broken seal; return what was logged."""
    with capture_logs() as logged, pytest.raises(SealBroken):
        database.read(work)
    return [dict(line) for line in logged]


def test_what_was_sealed_is_unsealed_in_its_place(database: Database) -> None:
    blob = database.write(seal)
    assert VALUE not in blob
    assert blob.startswith(b"TLKE\x01")
    assert database.read(lambda unit: unseal(unit, blob)) == VALUE


@pytest.mark.parametrize("plaintext", [b"", b"\x00", b"x" * 65_536])
def test_values_of_every_allowed_size_come_back(database: Database, plaintext: bytes) -> None:
    blob = database.write(lambda unit: seal(unit, plaintext))
    assert database.read(lambda unit: unseal(unit, blob)) == plaintext


def lengths_before(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def naive_unseal(keyring: RootKeyring, sealed_material: bytes, blob: bytes) -> bytes:
    """Open a blob of ours by the words of the format alone."""
    start = 6 + blob[5]
    key_arn, number = blob[6:start], blob[start : start + 4]
    key_id, wrapped, body = key_arn[-36:], blob[start + 4 : start + 64], blob[start + 64 :]
    context = lengths_before(b"SecretARN", OWNER.encode(), b"SecretVersionId", PART.encode())
    place = lengths_before(b"kms-material", ACCOUNT.encode(), REGION.encode(), key_id, b"1")
    assert number == b"\x00\x00\x00\x01"
    material = keyring.unwrap(sealed_material, context=place)
    header = b"TLKC\x01" + blob[5:6] + key_arn + number
    aad = lengths_before(b"kms-ciphertext", header, place, context)
    data_key = AESGCM(material).decrypt(wrapped[:12], wrapped[12:], aad)
    aad = lengths_before(b"body", blob[: start + 64], context)
    return AESGCM(data_key).decrypt(body[:12], body[12:], aad)


def test_a_blob_is_sealed_exactly_as_its_format_says(store_place: StorePlace) -> None:
    database = store_place.open()
    blob = database.write(seal)
    sealed = database.read(
        lambda unit: unit.connection.execute(select(kms_key_materials.c.sealed)).scalar_one()
    )
    assert naive_unseal(store_place.keyring, sealed, blob) == VALUE


def test_equal_values_are_sealed_under_different_data_keys_and_nonces(database: Database) -> None:
    one, other = (Envelope.parse(database.write(seal)) for _ in range(2))
    assert one.wrapped_key != other.wrapped_key
    assert one.body[:12] != other.body[:12]
    assert one.body[12:] != other.body[12:]


def test_a_flipped_bit_at_every_position_breaks_the_seal_and_raises_an_alarm(database: Database) -> None:
    blob = database.write(seal)

    def flip_everywhere(unit: Unit) -> None:
        for position in range(len(blob)):
            changed = bytearray(blob)
            changed[position] ^= 1 << position % 8
            # A blob that names a key that never was cannot be told from one whose key was destroyed.
            with pytest.raises((SealBroken, DecryptionFailure)):
                unseal(unit, bytes(changed))

    with capture_logs() as logged:
        database.read(flip_everywhere)
    assert len(logged) == len(blob)
    assert {line["action"] for line in logged} == {"seal_broken"}


def test_a_data_key_of_kms_that_does_not_open_the_value_breaks_the_seal_and_raises_an_alarm(
    database: Database,
) -> None:
    blob, wrong = database.write(seal), bytes(32)

    def open_with(unit: Unit) -> bytes:
        return kms.taken_apart(unit, ACCOUNT, REGION, blob, owner=OWNER, part=PART).open_with(wrong)

    (line,) = broken(database, open_with)
    assert (line["action"], line["owner"], line["part"]) == ("seal_broken", OWNER, PART)


def test_bytes_after_a_blob_break_the_seal(database: Database) -> None:
    blob = database.write(seal)
    broken(database, lambda unit: unseal(unit, blob + b"\x00"))
    broken(database, lambda unit: unseal(unit, blob[:-1]))
    broken(database, lambda unit: unseal(unit, b""))


@pytest.mark.parametrize(
    "moved",
    [
        {"owner": OWNER[:-1] + "g"},
        {"part": PART[:-1] + "2"},
        {"owner": OWNER + PART[:1], "part": PART[1:]},
        {"account_id": OTHER_ACCOUNT},
        {"region": OTHER_REGION},
    ],
)
def test_a_blob_that_was_moved_breaks_the_seal(database: Database, moved: dict[str, Any]) -> None:
    blob = database.write(seal)
    # The other places have keys of their own, so that nothing but the binding refuses.
    database.write(lambda unit: kms.managed_key(unit, OTHER_ACCOUNT, REGION))
    database.write(lambda unit: kms.managed_key(unit, ACCOUNT, OTHER_REGION))
    broken(database, lambda unit: unseal(unit, blob, **moved))


def test_parts_of_two_blobs_cannot_be_put_together(database: Database) -> None:
    one, other = (Envelope.parse(database.write(seal)) for _ in range(2))
    mixed = Envelope(
        key_arn=one.key_arn, material_id=one.material_id, wrapped_key=one.wrapped_key, body=other.body
    )
    broken(database, lambda unit: unseal(unit, mixed.pack()))


def copy_key(unit: Unit, account_id: AccountId, region: Region) -> None:
    """Copy the rows of our managed key to another account or Region, as who can write the store would."""
    for table in (kms_keys, kms_key_materials):
        for row in unit.connection.execute(select(table)).mappings().all():
            unit.connection.execute(insert(table).values({**row, "account_id": account_id, "region": region}))


@pytest.mark.parametrize("place", [(OTHER_ACCOUNT, REGION), (ACCOUNT, OTHER_REGION)])
def test_key_rows_copied_to_another_account_or_region_open_nothing(
    database: Database, place: tuple[AccountId, Region]
) -> None:
    blob = database.write(seal)
    assert database.read(lambda unit: unseal(unit, blob)) == VALUE  # so that the material is kept open
    database.write(lambda unit: copy_key(unit, *place))
    broken(database, lambda unit: unseal(unit, blob, account_id=place[0], region=place[1]))


def test_materials_swapped_between_two_keys_open_nothing(database: Database) -> None:
    blob = database.write(seal)
    database.read(lambda unit: unseal(unit, blob))
    other = database.write(lambda unit: kms.managed_key(unit, ACCOUNT, OTHER_REGION))

    def swap(unit: Unit) -> None:
        rows = unit.connection.execute(
            select(kms_key_materials.c.region, kms_key_materials.c.sealed).order_by(
                kms_key_materials.c.region
            )
        ).all()
        for row, donor in zip(rows, reversed(rows), strict=True):
            unit.connection.execute(
                update(kms_key_materials)
                .where(kms_key_materials.c.region == row.region)
                .values(sealed=donor.sealed)
            )

    database.write(swap)
    broken(database, lambda unit: unseal(unit, blob))
    with pytest.raises(SealBroken):
        database.write(lambda unit: kms.seal(unit, other, VALUE, owner=OWNER, part=PART))


def test_a_forged_key_is_told_of_by_its_own_name_and_once(database: Database) -> None:
    blob = database.write(seal)
    database.write(
        lambda unit: unit.connection.execute(update(kms_keys).values(description="forged")).rowcount
    )
    (line,) = broken(database, lambda unit: unseal(unit, blob))
    assert line["row"] != f"What is sealed for {PART} of {OWNER}"


def test_a_blob_whose_material_is_gone_breaks_the_seal(database: Database) -> None:
    blob = database.write(seal)
    database.read(lambda unit: unseal(unit, blob))
    database.write(lambda unit: unit.connection.execute(delete(kms_key_materials)).rowcount)
    broken(database, lambda unit: unseal(unit, blob))


def test_another_root_key_opens_nothing(store_place: StorePlace) -> None:
    blob = store_place.open().write(seal)
    stranger = store_place.open(keyring=fresh_keyring())
    broken(stranger, lambda unit: unseal(unit, blob))


def test_the_alarm_names_the_place_and_no_bytes(database: Database) -> None:
    blob = database.write(seal)
    (line,) = broken(database, lambda unit: unseal(unit, blob, part="moved"))
    assert line == {
        "event": "what is stored is not what was written",
        "log_level": "error",
        "action": "seal_broken",
        "account_id": ACCOUNT,
        "region": REGION,
        "owner": OWNER,
        "part": "moved",
        "row": f"What is sealed for moved of {OWNER}",
    }


def set_state(database: Database, state: KeyState) -> None:
    def work(unit: Unit) -> None:
        update_key(unit, kms.managed_key(unit, ACCOUNT, REGION).evolve(state=state))

    database.write(work)


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_DELETION, KeyState.UNAVAILABLE])
def test_a_key_that_is_not_enabled_neither_opens_nor_seals_from_the_next_request_on(
    database: Database, state: KeyState
) -> None:
    blob = database.write(seal)
    assert database.read(lambda unit: unseal(unit, blob)) == VALUE
    set_state(database, state)
    with pytest.raises(DecryptionFailure):
        database.read(lambda unit: unseal(unit, blob))
    with pytest.raises(EncryptionFailure):
        database.write(seal)
    set_state(database, KeyState.ENABLED)
    assert database.read(lambda unit: unseal(unit, blob)) == VALUE


def add_material(unit: Unit, key: KmsKey) -> None:
    rotated = key.evolve(current_material=key.current_material + 1)
    update_key(unit, rotated)
    insert_material(
        unit, rotated, sealed=wrap_material(unit, rotated, unit.entropy.bytes(32)), rotation_type="ON_DEMAND"
    )


def test_the_newest_material_seals_and_older_ones_open(database: Database) -> None:
    old = database.write(seal)
    key = database.write(lambda unit: kms.managed_key(unit, ACCOUNT, REGION))
    database.write(lambda unit: add_material(unit, key))
    new = database.write(seal)
    assert [Envelope.parse(blob).material_id for blob in (old, new)] == [1, 2]
    assert [database.read(lambda unit, blob=blob: unseal(unit, blob)) for blob in (old, new)] == [VALUE] * 2  # type: ignore[misc]


def test_the_managed_key_is_made_once_for_each_account_and_region(database: Database) -> None:
    places = [(ACCOUNT, REGION), (ACCOUNT, OTHER_REGION), (OTHER_ACCOUNT, REGION)]
    made = [database.write(lambda unit, place=place: kms.managed_key(unit, *place)) for place in places * 2]  # type: ignore[misc]
    assert made[:3] == made[3:]
    assert len({key.key_id for key in made}) == 3
    assert made[0].state is KeyState.ENABLED
    assert made[0].owner is KeyOwner.AWS
    assert made[0].arn == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{made[0].key_id}"


def test_two_nodes_that_need_the_managed_key_at_once_end_up_with_one(store_place: StorePlace) -> None:
    nodes = [store_place.open() for _ in range(3)]
    barrier = Barrier(len(nodes))

    def need(node: Database) -> str:
        barrier.wait(timeout=60)
        return node.write(lambda unit: kms.managed_key(unit, ACCOUNT, REGION).key_id)

    with ThreadPoolExecutor(len(nodes)) as pool:
        assert len(set(pool.map(need, nodes))) == 1
    for table in (kms_keys, kms_key_materials, kms_aliases):
        rows = nodes[0].read(lambda unit, table=table: unit.connection.execute(select(table)).all())  # type: ignore[misc]
        assert len(rows) == 1


def test_a_unit_that_cannot_write_makes_no_key_but_finds_one(database: Database) -> None:
    with pytest.raises(StoreError, match="cannot write"):
        database.read(lambda unit: kms.managed_key(unit, ACCOUNT, REGION))
    made = database.write(lambda unit: kms.managed_key(unit, ACCOUNT, REGION))
    assert database.read(lambda unit: kms.managed_key(unit, ACCOUNT, REGION)) == made


def test_a_key_that_was_made_in_a_unit_that_failed_is_not_remembered(database: Database) -> None:
    def undone(unit: Unit) -> None:
        with unit.savepoint():
            kms.managed_key(unit, ACCOUNT, REGION)
            raise LookupError

    def work(unit: Unit) -> None:
        with pytest.raises(LookupError):
            undone(unit)
        again = kms.managed_key(unit, ACCOUNT, REGION)
        assert unit.connection.execute(select(kms_keys.c.key_id)).scalars().all() == [again.key_id]

    database.write(work)


def test_the_managed_key_is_found_under_each_of_its_names(database: Database) -> None:
    made = database.write(lambda unit: kms.managed_key(unit, ACCOUNT, REGION))
    here = f"arn:aws:kms:{REGION}:{ACCOUNT}"
    names = [None, "", kms.MANAGED_ALIAS, f"{here}:{kms.MANAGED_ALIAS}", made.key_id, made.arn]

    def resolve(unit: Unit) -> list[KmsKey]:
        return [kms.resolve_key(unit, ACCOUNT, REGION, name) for name in names]

    assert database.read(resolve) == [made] * len(names)


def test_resolving_no_key_makes_the_managed_one_on_first_use(database: Database) -> None:
    made = database.write(lambda unit: kms.resolve_key(unit, ACCOUNT, REGION, None))
    assert database.read(lambda unit: kms.managed_key(unit, ACCOUNT, REGION)) == made


def test_a_customers_alias_is_followed(database: Database) -> None:
    made = database.write(lambda unit: kms.managed_key(unit, ACCOUNT, REGION))
    alias = Alias(
        account_id=ACCOUNT,
        region=REGION,
        name="alias/mine",
        key_id=made.key_id,
        created_at=NOON,
        updated_at=NOON,
    )
    database.write(lambda unit: save_alias(unit, alias))
    assert database.read(lambda unit: kms.resolve_key(unit, ACCOUNT, REGION, "alias/mine")) == made
    with pytest.raises(ResourceNotFoundException):
        database.read(lambda unit: kms.resolve_key(unit, ACCOUNT, OTHER_REGION, "alias/mine"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alias/absent", f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/absent is not found."),
        ("absent", f"Key 'arn:aws:kms:{REGION}:{ACCOUNT}:key/absent' does not exist"),
        ("alias/aws/turnlock", f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/turnlock is not found."),
    ],
)
def test_a_key_that_is_not_there_is_named_as_kms_names_it(
    database: Database, name: str, message: str
) -> None:
    database.write(lambda unit: kms.seal_field(unit, ACCOUNT, b"x", owner="o", part="p"))
    with pytest.raises(ResourceNotFoundException) as caught:
        database.read(lambda unit: kms.resolve_key(unit, ACCOUNT, REGION, name))
    assert caught.value.message == message


def test_a_malformed_key_arn_is_an_invalid_parameter(database: Database) -> None:
    with pytest.raises(InvalidParameterException):
        database.read(lambda unit: kms.resolve_key(unit, ACCOUNT, REGION, "arn:aws:kms:x"))


def test_own_fields_are_sealed_under_the_service_key_of_their_account(database: Database) -> None:
    blob = database.write(lambda unit: kms.seal_field(unit, ACCOUNT, VALUE, owner="o", part="p"))

    def read(unit: Unit) -> bytes:
        return kms.unseal_field(unit, ACCOUNT, blob, owner="o", part="p")

    assert database.read(read) == VALUE
    regions = database.read(lambda unit: unit.connection.execute(select(kms_keys.c.region)).scalars().all())
    assert regions == [SERVICE_REGION]
    broken(database, lambda unit: kms.unseal_field(unit, OTHER_ACCOUNT, blob, owner="o", part="p"))
    broken(database, lambda unit: kms.unseal_field(unit, ACCOUNT, blob, owner="p", part="o"))
    broken(database, lambda unit: kms.unseal(unit, ACCOUNT, REGION, blob, owner="o", part="p"))


def test_a_store_is_checked_for_keys_and_for_the_root_key_that_opens_them(store_place: StorePlace) -> None:
    ours, strangers = store_place.open(), store_place.open(keyring=fresh_keyring())
    keyless = store_place.open(keyring=root_keys.NoKeyring())
    assert not keyless.read(kms.holds_keys)
    strangers.read(kms.check_root_key)
    ours.write(lambda unit: kms.managed_key(unit, ACCOUNT, REGION))
    assert keyless.read(kms.holds_keys)
    ours.read(kms.check_root_key)
    with pytest.raises(ConfigurationError, match="does not open this store"):
        strangers.read(kms.check_root_key)


def test_a_value_is_opened_with_one_query(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = database.write(seal)
    statements: list[str] = []

    class Counting:
        def __init__(self, driver: Any) -> None:
            self._driver = driver

        def execute(self, sql: str, arguments: object) -> Any:
            statements.append(sql)
            return self._driver.execute(sql, arguments)

    def work(unit: Unit) -> bytes:
        unit.driver = Counting(unit.driver)
        return unseal(unit, blob)

    assert database.read(work) == VALUE
    assert len(statements) == 1
