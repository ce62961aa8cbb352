"""Leases with fencing numbers, on the database's clock.

Each change under a lease checks that nobody else claimed it since: that the fencing number is still the newest. The holder's
own clock plays no part. A holder that was stopped past its lease and wakes holds an old number, and each of its changes fails
(Kleppmann, "How to do distributed locking", 2016). The number is under a MAC; when the lease ends is not: a lease that ends too
early is claimed by another with a higher number.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Fence
from turnlock.errors import StaleFence
from turnlock.storage.schema import database_now, metadata
from turnlock.storage.sealed_rows import SealedRows
from turnlock.storage.unit import Unit

leases = Table(
    "leases",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("mac", LargeBinary),
)

LEASE_ROWS: Final = SealedRows(leases, free={"expires_at"})

_MICROS = 1_000_000


def claim(
    unit: Unit, account_id: AccountId, region: Region, name: str, *, holder: str, seconds: float
) -> Fence | None:
    """Take the lease if it is free or over, for `seconds` of the database's time; None when another holds it.

    Each successful claim has a higher fencing number than all before it, also after a release. Raises SealBroken for a lease whose
    number was forged.
    """
    insert = sqlite.insert if unit.dialect == "sqlite" else postgresql.insert
    until = database_now() + literal(int(seconds * _MICROS), BigInteger)
    place = {"account_id": account_id, "region": region, "name": name}
    here = [leases.c[column] == value for column, value in place.items()]
    before = unit.connection.execute(select(leases).where(*here)).mappings().first()
    if before is not None:
        LEASE_ROWS.check(unit, before)
    number = 1 if before is None else before["fence"] + 1
    row = LEASE_ROWS.sealed(unit, {**place, "holder": holder, "fence": number})
    statement = (
        insert(leases)
        .values(**row, expires_at=until)
        .on_conflict_do_update(
            index_elements=[leases.c.account_id, leases.c.region, leases.c.name],
            set_={"holder": holder, "fence": number, "mac": row["mac"], "expires_at": until},
            where=(leases.c.expires_at <= database_now()) & (leases.c.fence == number - 1),
        )
        .returning(leases.c.fence)
    )
    if unit.connection.execute(statement).first() is None:
        return None
    return Fence(account_id=account_id, region=region, lease=name, number=number)


def renew(unit: Unit, fence: Fence, *, seconds: float) -> bool:
    """Extend a lease that is still ours by `seconds` from now; False when it was claimed by another, or let go of.

    A heartbeat that comes after the release must not take the lease back: nobody would be there to release it again.
    """
    until = database_now() + literal(int(seconds * _MICROS), BigInteger)
    statement = update(leases).where(_ours(fence), leases.c.expires_at > 0).values(expires_at=until)
    return unit.connection.execute(statement).rowcount == 1


def release(unit: Unit, fence: Fence) -> None:
    """Let go of a lease that is still ours; its number stays used."""
    unit.connection.execute(update(leases).where(_ours(fence)).values(expires_at=0))


def require_current(unit: Unit, fence: Fence) -> None:
    """Raise StaleFence unless the fencing number is the newest of its lease, SealBroken where it was forged.

    In the same transaction as the change that it guards: the read row makes a concurrent claim conflict with it. A lease
    that has run out but was claimed by nobody is still current: nothing else can have happened under it.
    """
    here = (
        leases.c.account_id == fence.account_id,
        leases.c.region == fence.region,
        leases.c.name == fence.lease,
    )
    row = unit.connection.execute(select(leases).where(*here)).mappings().first()
    if row is None or row["fence"] != fence.number:
        raise StaleFence
    LEASE_ROWS.check(unit, row)


def forget(unit: Unit, account_id: AccountId, region: Region, name: str) -> None:
    """Delete a lease whose subject is gone for good, its fencing numbers with it."""
    unit.connection.execute(
        delete(leases).where(
            leases.c.account_id == account_id, leases.c.region == region, leases.c.name == name
        )
    )


def _ours(fence: Fence) -> ColumnElement[bool]:
    return (
        (leases.c.account_id == fence.account_id)
        & (leases.c.region == fence.region)
        & (leases.c.name == fence.lease)
        & (leases.c.fence == fence.number)
    )
