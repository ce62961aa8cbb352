"""The tables of accounts, access keys and role sessions, and the queries on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    bindparam,
    delete,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from turnlock.accounts.model import LastUse
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Fence
from turnlock.storage import HotQuery, Moment, SealedRows, Unit, metadata, moment

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("mac", LargeBinary),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("access_key_id", String(32), primary_key=True, unique=True),
    Column("principal_arn", Text, nullable=False),
    Column("principal_id", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("last_used_at", Moment),
    Column("last_used_region", String(32)),
    Column("last_used_service", String(64)),
    Column("mac", LargeBinary),
    Index("ix_access_keys_principal", "account_id", "principal_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("access_key_id", String(32), primary_key=True, unique=True),
    Column("principal_arn", Text, nullable=False),
    Column("principal_id", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("token_digest", LargeBinary, nullable=False),
    Column("policy", Text),
    Column("issued_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    Column("fence_region", String(32)),
    Column("fence_lease", Text),
    Column("fence_number", BigInteger),
    Column("context", Text),
    Column("mac", LargeBinary),
)

ACCOUNT_ROWS: Final = SealedRows(accounts)
KEY_ROWS: Final = SealedRows(access_keys, free={"last_used_at", "last_used_region", "last_used_service"})
SESSION_ROWS: Final = SealedRows(sessions)

_ACCESS_KEY = HotQuery(select(access_keys).where(access_keys.c.access_key_id == bindparam("access_key_id")))
_ACCESS_KEYS_OF = HotQuery(
    select(access_keys)
    .where(
        access_keys.c.account_id == bindparam("account_id"),
        access_keys.c.principal_id == bindparam("principal_id"),
    )
    .order_by(access_keys.c.access_key_id)
)

_SESSION = HotQuery(select(sessions).where(sessions.c.access_key_id == bindparam("access_key_id")))
_KEY_COLUMNS: Final = tuple(column.name for column in access_keys.c)
_SESSION_COLUMNS: Final = tuple(column.name for column in sessions.c)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyRow:
    """One long-term access key."""

    account_id: AccountId
    access_key_id: str
    principal_arn: str
    """The owner's ARN when the key was made, for which the secret is sealed; a user may have another name by now."""
    principal_id: str
    active: bool
    sealed_secret: bytes = field(repr=False)
    created_at: datetime
    last_used: LastUse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One role session."""

    account_id: AccountId
    access_key_id: str
    principal_arn: str
    principal_id: str
    sealed_secret: bytes = field(default=b"", repr=False)
    token_digest: bytes = field(repr=False)
    """SHA-256 of the session token, which itself is kept nowhere."""
    policy: str | None
    issued_at: datetime
    expires_at: datetime
    fence: Fence | None
    context: str | None = None
    """What else the session carries (JSON, `sessions.SessionContext`); None for a hosted function's."""


def find_access_key(unit: Unit, access_key_id: str) -> AccessKeyRow | None:
    """Return a long-term access key, active or not, or None. Raises SealBroken for a row that was forged."""

    def read() -> AccessKeyRow | None:
        found = _ACCESS_KEY.rows(unit, {"access_key_id": access_key_id})
        return _access_key(unit, found[0]) if found else None

    return unit.derived(("access key", access_key_id), read)


def access_keys_of(unit: Unit, account_id: AccountId, principal_id: str) -> list[AccessKeyRow]:
    """Return the long-term keys of a user or of the root user, by id. Raises SealBroken."""
    return [
        _access_key(unit, row)
        for row in _ACCESS_KEYS_OF.rows(unit, {"account_id": account_id, "principal_id": principal_id})
    ]


def _access_key(unit: Unit, values: tuple[Any, ...]) -> AccessKeyRow:
    row = dict(zip(_KEY_COLUMNS, values, strict=True))
    KEY_ROWS.check(unit, row)
    used = None
    if row["last_used_at"] is not None:
        used = LastUse(
            at=moment(row["last_used_at"]), region=row["last_used_region"], service=row["last_used_service"]
        )
    return AccessKeyRow(
        account_id=row["account_id"],
        access_key_id=row["access_key_id"],
        principal_arn=row["principal_arn"],
        principal_id=row["principal_id"],
        active=bool(row["active"]),
        sealed_secret=row["sealed_secret"],
        created_at=moment(row["created_at"]),
        last_used=used,
    )


def find_session(unit: Unit, access_key_id: str) -> SessionRow | None:
    """Return a role session, expired or not, or None. Raises SealBroken for a row that was forged."""

    def read() -> SessionRow | None:
        found = _SESSION.rows(unit, {"access_key_id": access_key_id})
        return _session(unit, found[0]) if found else None

    return unit.derived(("session", access_key_id), read)


def _session(unit: Unit, values: tuple[Any, ...]) -> SessionRow:
    row = dict(zip(_SESSION_COLUMNS, values, strict=True))
    SESSION_ROWS.check(unit, row)
    return SessionRow(
        account_id=row["account_id"],
        access_key_id=row["access_key_id"],
        principal_arn=row["principal_arn"],
        principal_id=row["principal_id"],
        sealed_secret=row["sealed_secret"],
        token_digest=row["token_digest"],
        policy=row["policy"],
        issued_at=moment(row["issued_at"]),
        expires_at=moment(row["expires_at"]),
        fence=_fence(row["account_id"], row["fence_region"], row["fence_lease"], row["fence_number"]),
        context=row["context"],
    )


def insert_account(unit: Unit, account_id: AccountId) -> bool:
    """Insert an account; False when it is there already."""
    dialect_insert = sqlite.insert if unit.dialect == "sqlite" else postgresql.insert
    statement = (
        dialect_insert(accounts)
        .values(ACCOUNT_ROWS.sealed(unit, {"account_id": account_id, "created_at": unit.now}))
        .on_conflict_do_nothing()
        .returning(accounts.c.account_id)
    )
    return unit.connection.execute(statement).first() is not None


def account_ids(unit: Unit) -> list[AccountId]:
    """Return the ids of all accounts, sorted. Raises SealBroken for a row that was forged."""
    rows = unit.connection.execute(select(accounts).order_by(accounts.c.account_id)).mappings().all()
    for row in rows:
        ACCOUNT_ROWS.check(unit, row)
    return [row["account_id"] for row in rows]


def account_created_at(unit: Unit, account_id: AccountId) -> datetime:
    """Return when an account was made. Raises SealBroken for a row that was forged."""
    found = select(accounts).where(accounts.c.account_id == account_id)
    row = unit.connection.execute(found).mappings().one()
    ACCOUNT_ROWS.check(unit, row)
    created_at: datetime = row["created_at"]
    return created_at


def insert_access_key(unit: Unit, row: AccessKeyRow) -> None:
    """Insert a long-term access key."""
    KEY_ROWS.insert(
        unit,
        {
            "account_id": row.account_id,
            "access_key_id": row.access_key_id,
            "principal_arn": row.principal_arn,
            "principal_id": row.principal_id,
            "active": row.active,
            "sealed_secret": row.sealed_secret,
            "created_at": row.created_at,
        },
    )


def set_access_key_active(unit: Unit, row: AccessKeyRow, *, active: bool) -> None:
    """Let a long-term key open what its owner may, or nothing."""
    KEY_ROWS.change(unit, _is(row), active=active)


def delete_access_key(unit: Unit, row: AccessKeyRow) -> None:
    """Delete a long-term key."""
    unit.connection.execute(delete(access_keys).where(*_is(row)))


def _is(row: AccessKeyRow) -> tuple[ColumnElement[bool], ...]:
    return (
        access_keys.c.account_id == row.account_id,
        access_keys.c.access_key_id == row.access_key_id,
    )


def insert_session(unit: Unit, row: SessionRow) -> None:
    """Insert a role session."""
    SESSION_ROWS.insert(
        unit,
        {
            "account_id": row.account_id,
            "access_key_id": row.access_key_id,
            "principal_arn": row.principal_arn,
            "principal_id": row.principal_id,
            "sealed_secret": row.sealed_secret,
            "token_digest": row.token_digest,
            "policy": row.policy,
            "issued_at": row.issued_at,
            "expires_at": row.expires_at,
            "context": row.context,
            **_fence_columns(row.fence),
        },
    )


def update_fence(unit: Unit, access_key_id: str, fence: Fence) -> bool:
    """Give a session another fence of its own account; False when there is no such session."""
    here = (sessions.c.access_key_id == access_key_id, sessions.c.account_id == fence.account_id)
    return SESSION_ROWS.change(unit, here, **_fence_columns(fence))


def delete_session(unit: Unit, access_key_id: str) -> None:
    """Delete a session, if it is there."""
    unit.connection.execute(delete(sessions).where(sessions.c.access_key_id == access_key_id))


def delete_sessions_expired_by(unit: Unit, at: datetime) -> int:
    """Delete the sessions that expired at or before `at`; return how many."""
    return unit.connection.execute(delete(sessions).where(sessions.c.expires_at <= at)).rowcount


def _fence(account_id: AccountId, region: str | None, lease: str | None, number: int | None) -> Fence | None:
    if region is None or lease is None or number is None:
        return None
    return Fence(account_id=account_id, region=Region(region), lease=lease, number=number)


def _fence_columns(fence: Fence | None) -> dict[str, Any]:
    return {
        "fence_region": fence.region if fence else None,
        "fence_lease": fence.lease if fence else None,
        "fence_number": fence.number if fence else None,
    }
