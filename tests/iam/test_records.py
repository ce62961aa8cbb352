"""Rows under a MAC: every bit of them counts, and so does where they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Row, Table, select, update

from tests.iam.calling import ACCOUNT, OTHER, READ, Caller
from tests.sampling import examples
from tests.support import NOON
from turnlock.accounts.entities.store import IDENTITIES, POLICIES, VERSIONS_KEPT
from turnlock.errors import EntityAlreadyExistsException, SealBroken
from turnlock.iam.login_profiles import PROFILES, LoginProfile
from turnlock.iam.mfa.store import DEVICES
from turnlock.iam.providers.store import PROVIDERS
from turnlock.root_keys.records import Records

KEPT: dict[str, Records[Any]] = {
    records.table.name: records
    for records in (IDENTITIES, POLICIES, VERSIONS_KEPT, PROFILES, DEVICES, PROVIDERS)
}


@pytest.fixture
def filled(iam: Caller) -> Caller:
    """The root user, with one row in each table."""
    iam("CreateUser", UserName="ann")
    iam("CreatePolicy", PolicyName="p", PolicyDocument=READ)
    profile = LoginProfile(account_id=ACCOUNT, user_id="AIDA", created_at=NOON, hash="$argon2id$")
    iam.database.write(lambda unit: PROFILES.insert(unit, profile, taken=EntityAlreadyExistsException()))
    iam("CreateVirtualMFADevice", VirtualMFADeviceName="phone")
    iam("CreateOpenIDConnectProvider", Url="https://idp.example.com")
    return iam


def only_row(iam: Caller, table: Table) -> Row[Any]:
    return iam.database.read(lambda unit: unit.connection.execute(select(table)).one())


def put(iam: Caller, table: Table, **columns: object) -> None:
    iam.database.write(lambda unit: unit.connection.execute(update(table).values(**columns)))


def read(iam: Caller, name: str) -> list[object]:
    return iam.database.read(KEPT[name].all)


def flipped(value: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(value))


@settings(
    max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_flipped_bit_in_any_row_is_noticed(filled: Caller, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(KEPT)))
    table, row = KEPT[name].table, only_row(filled, KEPT[name].table)
    assert len(read(filled, name)) == 1
    of_mac = data.draw(st.booleans())
    whole = bytes(row.mac) if of_mac else row.body.encode()
    changed = flipped(whole, data.draw(st.integers(0, 8 * len(whole) - 1)))
    # Seven bits keep a text a text; NUL is none that PostgreSQL takes.
    change: dict[str, object] = {"mac": changed} if of_mac else {"body": _text(changed, row.body)}
    put(filled, table, **change)
    with pytest.raises(SealBroken):
        read(filled, name)
    put(filled, table, body=row.body, mac=row.mac)


def _text(changed: bytes, instead: str) -> str:
    try:
        text = changed.decode("ascii").replace("\0", "\x01")
    except UnicodeDecodeError:
        text = instead + " "
    return text


@pytest.mark.parametrize("name", KEPT)
def test_a_row_of_another_account_is_noticed(filled: Caller, name: str) -> None:
    put(filled, KEPT[name].table, account_id=OTHER)
    with pytest.raises(SealBroken):
        read(filled, name)


@pytest.mark.parametrize("name", KEPT)
def test_every_column_that_finds_a_row_is_compared_with_it(filled: Caller, name: str) -> None:
    table = KEPT[name].table
    others: dict[type, Callable[[Any], object]] = {
        str: lambda value: f"{value}x"[-5:],
        int: lambda value: value + 1,
    }
    for column in table.columns:
        before = getattr(only_row(filled, table), column.name)
        if column.name in {"body", "mac", "account_id"} or before is None:
            continue
        put(filled, table, **{column.name: others[type(before)](before)})
        with pytest.raises(SealBroken):
            read(filled, name)
        put(filled, table, **{column.name: before})
    assert len(read(filled, name)) == 1


def test_a_row_of_one_table_is_none_of_another(filled: Caller) -> None:
    device = only_row(filled, DEVICES.table)
    put(filled, PROFILES.table, body=device.body, mac=device.mac)
    with pytest.raises(SealBroken):
        read(filled, "login_profiles")
    assert ACCOUNT in device.body
