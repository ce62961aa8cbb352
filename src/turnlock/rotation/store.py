"""The table of rotations: one row a plan, one unfinished plan a secret."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    Text,
    and_,
    delete,
    false,
    func,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from turnlock.core.arn import AccountId, Region
from turnlock.errors import SealBroken
from turnlock.rotation.plan.states import Plan, PlanState, Purpose
from turnlock.rotation.runner.places import Target
from turnlock.secrets import Secret, SecretReference
from turnlock.storage import Moment, SealedRows, Unit, metadata
from turnlock.storage.leases import leases
from turnlock.storage.schema import database_now

KEPT: Final = timedelta(days=30)
"""How long a finished plan is kept, and so a repeated ClientRequestToken is recognised."""

_UNFINISHED = text("state = 'running'")

rotations = Table(
    "rotations",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("name", String(512), primary_key=True),
    Column("token", String(64), primary_key=True),
    Column("run", Integer, primary_key=True),
    Column("secret_arn", Text, nullable=False),
    Column("function_arn", Text, nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("plan", Text, nullable=False),
    Column("host_key", LargeBinary),
    Column("next_attempt_at", Moment, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("overdue_at", Moment),
    Column("mac", LargeBinary),
    Index(
        "uq_rotations_one_running",
        "account_id",
        "region",
        "name",
        unique=True,
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    ),
    Index("ix_rotations_due", "next_attempt_at", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
    Index("ix_rotations_overdue", "overdue_at", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
)


PLAN_ROWS: Final = SealedRows(rotations)

BROKEN_WAITS: Final = timedelta(hours=1)
"""How long a plan with a forged row is left out before the alarm is repeated."""


def lease_name(secret_name: str) -> str:
    """Return the name of the lease under which a secret's rotations run."""
    return f"rotation/{secret_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """A plan with its secret, its function and its database host."""

    account_id: AccountId
    region: Region
    name: str
    run: int
    """Counts the plans of one token: a cancelled rotation may be asked for again."""
    secret_arn: str
    function_arn: str
    plan: Plan
    host_key: bytes | None = field(default=None, repr=False)
    """A keyed hash of the database's host, None when the value names none. Rotations are limited for each host."""

    @property
    def lease(self) -> str:
        """The name of the lease under which this secret's rotations run."""
        return lease_name(self.name)

    @property
    def target(self) -> Target:
        """The function and the host: slowness is remembered for the pair."""
        return self.function_arn, self.host_key

    @property
    def reference(self) -> SecretReference:
        """The secret, by its full ARN: a new secret of the same name is another."""
        suffix = self.secret_arn[-6:]
        return SecretReference(account_id=self.account_id, region=self.region, name=self.name, suffix=suffix)


def insert_plan(unit: Unit, secret: Secret, function_arn: str, plan: Plan, host_key: bytes | None) -> None:
    """Insert a new plan, and delete plans that finished KEPT ago. The schema allows one unfinished plan a secret."""
    unit.connection.execute(
        delete(rotations).where(*_owner(secret), rotations.c.finished_at <= unit.now - KEPT)
    )
    earlier = unit.connection.execute(
        select(func.max(rotations.c.run)).where(*_owner(secret), rotations.c.token == plan.token)
    ).scalar()
    PLAN_ROWS.insert(
        unit,
        {
            "account_id": secret.account_id,
            "region": secret.region,
            "name": secret.name,
            "token": plan.token,
            "run": (earlier or 0) + 1,
            "secret_arn": secret.arn,
            "function_arn": function_arn,
            "host_key": host_key,
            "started_at": plan.started_at,
            **_columns(unit, plan, plan.next_attempt_at),
        },
    )


def save_plan(
    unit: Unit, row: PlanRow, plan: Plan, *, look_at: datetime, overdue_at: datetime | None = None
) -> None:
    """Write a plan as it now is; an unfinished one is looked at again at `look_at`.

    `overdue_at` is the end of the window that it waits for, when that is not its own any more.
    """
    columns = _columns(unit, plan, look_at)
    if overdue_at is not None and not plan.finished:
        columns["overdue_at"] = overdue_at
    PLAN_ROWS.change(unit, _key(row), **columns)


def find_unfinished(unit: Unit, secret: Secret) -> PlanRow | None:
    """Return the secret's unfinished plan, if it has one."""
    found = unit.connection.execute(
        select(rotations).where(*_owner(secret), rotations.c.state == "running")
    ).first()
    return None if found is None else _row(unit, found)


def find_row(unit: Unit, row: PlanRow) -> PlanRow | None:
    """Read one plan's row again."""
    found = unit.connection.execute(select(rotations).where(*_key(row))).first()
    return None if found is None else _row(unit, found)


def last_plan(unit: Unit, secret: Secret, token: str) -> PlanRow | None:
    """Return the newest plan to rotate or test with a token, finished or not."""
    found = unit.connection.execute(
        select(rotations)
        .where(
            *_owner(secret),
            rotations.c.token == token,
            rotations.c.secret_arn == secret.arn,
            rotations.c.purpose != Purpose.DISCARD.value,
        )
        .order_by(rotations.c.run.desc())
        .limit(1)
    ).first()
    return None if found is None else _row(unit, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Among:
    """Which of the plans that are due are wanted.

    The query leaves the rest out, not the caller: thousands of plans that wait for one host must not hide one that
    waits for another host.
    """

    passing_over: Collection[bytes] = ()
    """Hosts whose plans are left out."""
    but: Collection[Target] = ()
    """Pairs of function and host whose plans are left out."""
    only: Collection[Target] | None = None
    """Pairs to which the plans are limited; None for all."""
    newest_first: bool = False
    """Whether the plan that became due last comes first."""


def any_runnable(unit: Unit, now: datetime, among: Among = Among()) -> bool:
    """Tell whether `runnable` would look at a plan: one indexed row, unread."""
    return unit.connection.execute(_runnable(now, 1, among)).first() is not None


def runnable(unit: Unit, now: datetime, limit: int, among: Among = Among()) -> list[PlanRow]:
    """Return unfinished plans that are due and whose lease nobody holds, the longest due first; in a unit that writes."""
    return _whole(unit, _runnable(now, limit, among))


def any_overdue(unit: Unit, now: datetime) -> bool:
    """Tell whether `overdue` would look at a plan: one indexed row, unread."""
    return unit.connection.execute(_overdue(now, 1)).first() is not None


def overdue(unit: Unit, now: datetime, limit: int) -> list[PlanRow]:
    """Return unfinished plans without a holder whose window is over, the longest over first; in a unit that writes."""
    return _whole(unit, _overdue(now, limit))


def _runnable(now: datetime, limit: int, among: Among) -> Select[Any]:
    due = rotations.c.next_attempt_at
    return (
        select(rotations)
        .select_from(rotations.outerjoin(leases, _leased()))
        .where(
            rotations.c.state == "running",
            rotations.c.next_attempt_at <= now,
            (leases.c.expires_at.is_(None)) | (leases.c.expires_at <= database_now()),
            (rotations.c.host_key.is_(None)) | rotations.c.host_key.not_in(list(among.passing_over)),
            *(not_(_is_of(target)) for target in among.but),
            *(() if among.only is None else (or_(false(), *map(_is_of, among.only)),)),
        )
        .order_by(due.desc() if among.newest_first else due)
        .limit(limit)
    )


def _overdue(now: datetime, limit: int) -> Select[Any]:
    return (
        select(rotations)
        .select_from(rotations.outerjoin(leases, _leased()))
        .where(
            rotations.c.state == "running",
            rotations.c.overdue_at <= now,
            (leases.c.expires_at.is_(None)) | (leases.c.expires_at <= database_now()),
        )
        .order_by(rotations.c.overdue_at)
        .limit(limit)
    )


def busy_hosts(unit: Unit) -> dict[bytes, int]:
    """Return how many rotations are being carried out against each host, on all nodes."""
    statement = (
        select(rotations.c.host_key, func.count())
        .select_from(rotations.join(leases, _leased()))
        .where(
            rotations.c.state == "running",
            rotations.c.host_key.is_not(None),
            leases.c.expires_at > database_now(),
        )
        .group_by(rotations.c.host_key)
    )
    return {bytes(host): count for host, count in unit.connection.execute(statement)}


def _is_of(target: Target) -> ColumnElement[bool]:
    function_arn, host_key = target
    same_host = rotations.c.host_key.is_(None) if host_key is None else rotations.c.host_key == host_key
    # A comparison with NULL is neither true nor false, and would keep a plan without a host out of both lists.
    return and_(rotations.c.function_arn == function_arn, func.coalesce(same_host, false()))


def _leased() -> ColumnElement[bool]:
    return and_(
        leases.c.account_id == rotations.c.account_id,
        leases.c.region == rotations.c.region,
        leases.c.name == "rotation/" + rotations.c.name,
    )


def _key(row: PlanRow) -> tuple[ColumnElement[bool], ...]:
    return (
        rotations.c.account_id == row.account_id,
        rotations.c.region == row.region,
        rotations.c.name == row.name,
        rotations.c.token == row.plan.token,
        rotations.c.run == row.run,
    )


def _owner(secret: Secret) -> tuple[ColumnElement[bool], ...]:
    return (
        rotations.c.account_id == secret.account_id,
        rotations.c.region == secret.region,
        rotations.c.name == secret.name,
    )


def _columns(unit: Unit, plan: Plan, look_at: datetime) -> dict[str, object]:
    return {
        "purpose": plan.purpose.value,
        "state": plan.state.value if plan.finished else PlanState.RUNNING.value,
        "plan": msgspec.json.encode(plan).decode(),
        "next_attempt_at": look_at,
        "finished_at": unit.now if plan.finished else None,
        "overdue_at": None if plan.finished else plan.window_closes_at,
    }


def _whole(unit: Unit, statement: Select[Any]) -> list[PlanRow]:
    """Return the plans that a statement finds, leaving out forged ones.

    A forged plan gets a later time, so that it does not keep the others waiting. Its MAC still does not fit.
    """
    plans = []
    for found in unit.connection.execute(statement).all():
        try:
            plans.append(_row(unit, found))
        except SealBroken:
            later = unit.now + BROKEN_WAITS
            here = (rotations.c[key.name] == getattr(found, key.name) for key in rotations.primary_key)
            unit.connection.execute(
                update(rotations).where(*here).values(next_attempt_at=later, overdue_at=later)
            )
    return plans


def _row(unit: Unit, found: Any) -> PlanRow:
    """Return a plan's row as a value. Raises SealBroken for one that this server did not write."""
    PLAN_ROWS.check(unit, found._mapping)  # noqa: SLF001 (SQLAlchemy's public name for it)
    return PlanRow(
        account_id=found.account_id,
        region=found.region,
        name=found.name,
        run=found.run,
        secret_arn=found.secret_arn,
        function_arn=found.function_arn,
        plan=msgspec.json.decode(found.plan, type=Plan),
        host_key=None if found.host_key is None else bytes(found.host_key),
    )
