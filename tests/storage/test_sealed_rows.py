"""Rows under a MAC: what is read is what was written, and what was forged stays forged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, REGION, Client, token
from tests.support import NOON, SettableClock
from turnlock import kms
from turnlock.errors import SealBroken
from turnlock.kms.rewrapping import FORMER
from turnlock.kms.tables import KEY_ROWS, kms_keys
from turnlock.root_key_rotation import MACS
from turnlock.secrets.tables import REPLICA_ROWS, VERSION_ROWS, secret_versions
from turnlock.storage import Database, Unit
from turnlock.storage.leases import LEASE_ROWS, claim, leases, release, require_current

ROW: dict[str, Any] = {
    "account_id": ACCOUNT,
    "region": REGION,
    "name": "a",
    "replica_region": "us-east-1",
    "kms_key_id": None,
    "status": "InSync",
    "status_message": None,
    "overwrite": False,
    "generation": 3,
}


def test_a_mac_is_the_same_in_whichever_form_values_come(database: Database) -> None:
    def work(unit: Unit) -> None:
        version = {"account_id": ACCOUNT, "region": REGION, "name": "a", "version_id": "v", "kind": "string"}
        row = {**version, "sealed": b"xyz", "kms_key_id": None, "created_at": NOON}
        raw = {**row, "sealed": memoryview(b"xyz"), "created_at": 1795435200000000, "last_accessed_at": 5}
        assert VERSION_ROWS.mac(unit.keyring, row) == VERSION_ROWS.mac(unit.keyring, raw)
        assert REPLICA_ROWS.mac(unit.keyring, ROW) == REPLICA_ROWS.mac(unit.keyring, {**ROW, "overwrite": 0})
        assert REPLICA_ROWS.mac(unit.keyring, ROW) != VERSION_ROWS.mac(unit.keyring, row)

    database.read(work)


@pytest.mark.parametrize("column", sorted(ROW))
def test_each_covered_column_and_its_absence_change_the_mac(database: Database, column: str) -> None:
    def work(unit: Unit) -> None:
        usual = REPLICA_ROWS.mac(unit.keyring, ROW)
        for value in ("other", None, 7):
            if value != ROW[column]:
                assert REPLICA_ROWS.mac(unit.keyring, {**ROW, column: value}) != usual

    database.read(work)


def test_a_change_writes_one_row_checks_it_before_and_tells_when_there_is_none(database: Database) -> None:
    here = (leases.c.name == "a",)

    def make(unit: Unit) -> None:
        claim(unit, ACCOUNT, REGION, "a", holder="x", seconds=60)
        assert LEASE_ROWS.change(unit, here, fence=7)
        assert not LEASE_ROWS.change(unit, (leases.c.name == "b",), fence=7)
        LEASE_ROWS.check(unit, unit.connection.execute(select(leases)).mappings().one())
        unit.connection.execute(update(leases).values(holder="y"))

    database.write(make)
    with capture_logs() as logged, pytest.raises(SealBroken):
        database.write(lambda unit: LEASE_ROWS.change(unit, here, holder="x"))
    assert [line["table"] for line in logged] == ["leases"]


def test_a_fencing_number_that_was_put_back_is_no_authority(database: Database) -> None:
    def lease(unit: Unit) -> Any:
        fence = claim(unit, ACCOUNT, REGION, "a", holder="x", seconds=60)
        assert fence is not None
        release(unit, fence)
        return fence

    old = database.write(lease)
    database.write(lease)
    database.write(lambda unit: unit.connection.execute(update(leases).values(fence=old.number)))
    with capture_logs(), pytest.raises(SealBroken):
        database.read(lambda unit: require_current(unit, old))
    with capture_logs(), pytest.raises(SealBroken):
        database.write(lease)


def _former(unit: Unit) -> None:
    """Make of the store what a release would have left in which these rows had no MAC."""
    for one in MACS:
        if one.sealed_rows is not None and one.table.c.mac.nullable:
            unit.connection.execute(update(one.table).values(mac=None))
    for row in unit.connection.execute(select(kms_keys)).mappings().all():
        mac = KEY_ROWS.mac(unit.keyring, row, FORMER)
        unit.connection.execute(update(kms_keys).where(kms_keys.c.key_id == row["key_id"]).values(mac=mac))


def test_a_store_from_before_is_sealed_once_and_never_again(database: Database) -> None:
    client = Client(database=database, clock=SettableClock(NOON + timedelta(days=1)))
    client("CreateSecret", Name="a", SecretString="value", ClientRequestToken=token())
    assert not database.read(kms.lacks_row_macs)
    database.write(_former)
    with capture_logs(), pytest.raises(Exception, match="server side"):
        client("GetSecretValue", SecretId="a")
    assert database.read(kms.lacks_row_macs)
    with capture_logs() as logged:
        assert database.write(lambda unit: kms.seal_former(unit, MACS)) == 2  # the key and the version
        assert database.write(lambda unit: kms.seal_former(unit, MACS)) == 0
    assert [line["action"] for line in logged] == ["rows_sealed"]
    assert client("GetSecretValue", SecretId="a")["SecretString"] == "value"
    database.write(lambda unit: unit.connection.execute(update(secret_versions).values(mac=None)))
    assert database.write(lambda unit: kms.seal_former(unit, MACS)) == 0
    with capture_logs(), pytest.raises(Exception, match="server side"):
        client("GetSecretValue", SecretId="a")


def test_a_former_key_that_was_forged_gets_no_mac(database: Database) -> None:
    client = Client(database=database, clock=SettableClock())
    client("CreateSecret", Name="a", SecretString="value", ClientRequestToken=token())

    def work(unit: Unit) -> None:
        _former(unit)
        row = unit.connection.execute(select(kms_keys)).mappings().one()
        unit.connection.execute(insert(kms_keys).values({**row, "key_id": "forged"}))
        kms.seal_former(unit, MACS)
        rows = unit.connection.execute(select(kms_keys)).mappings().all()
        assert [KEY_ROWS.fits(unit.keyring, one) for one in rows if one["key_id"] == "forged"] == [False]

    database.write(work)
