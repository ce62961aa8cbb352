"""Rows under a MAC: what is read is what was written, and what was forged stays forged."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, REGION
from tests.support import NOON
from turnlock.errors import SealBroken
from turnlock.secrets.tables import REPLICA_ROWS, VERSION_ROWS
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
