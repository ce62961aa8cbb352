"""The table of rehearsals, one row for each secret, and which secrets are rehearsed next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Column,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from turnlock import kms, secrets
from turnlock.secrets import Secret, SecretReference
from turnlock.storage import Moment, Unit, metadata

AHEAD: Final = timedelta(hours=24)
"""How long before its window a rotation is rehearsed, and how long a rehearsal counts."""

_PAGE: Final = 500
"""Secrets that are looked at together."""

_ASKED_FOR = text("requested_at IS NOT NULL")

rehearsals = Table(
    "rehearsals",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("name", String(512), primary_key=True),
    Column("secret_arn", Text, nullable=False),
    Column("requested_at", Moment),
    Column("done_at", Moment),
    Column("sealed_report", LargeBinary),
    Index("ix_rehearsals_requested", "requested_at", sqlite_where=_ASKED_FOR, postgresql_where=_ASKED_FOR),
)


class Finding(msgspec.Struct, frozen=True):
    """The result of one check."""

    check: str
    outcome: str
    """`ok`, `warning` (somebody should look) or `problem` (the rotation would fail)."""
    words: str


class Report(msgspec.Struct, frozen=True):
    """What one rehearsal found."""

    findings: Sequence[Finding]
    would: str
    """What the rotation would do, in a sentence."""

    @property
    def problems(self) -> list[Finding]:
        """Return why the rotation would fail; empty when it would not."""
        return [finding for finding in self.findings if finding.outcome == "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A secret to rehearse."""

    reference: SecretReference
    requested: bool
    """Whether somebody asked for it; else it is a nightly one."""


def read_report(answer: Any) -> Report:
    """Read a function's answer to `rehearse`, parsed JSON; a malformed one gives a report with one problem."""
    try:
        return msgspec.convert(answer, type=Report)
    except msgspec.ValidationError:
        return failed_report("The function's answer to rehearse could not be read.")


def failed_report(words: str) -> Report:
    """Return the report of a rehearsal that could not be carried out."""
    return Report(findings=[Finding("rehearsal", "problem", words)], would="Nothing is known.")


def ask(unit: Unit, secret: Secret) -> None:
    """Ask for a rehearsal of a secret's rotation; the next tick of any node carries it out."""
    _forget_another(unit, secret)
    asked = unit.connection.execute(
        update(rehearsals).where(*_key(secret)).values(requested_at=unit.now)
    ).rowcount
    if not asked:
        unit.connection.execute(insert(rehearsals).values(**_names(secret), requested_at=unit.now))


def save(unit: Unit, secret: Secret, report: Report) -> None:
    """Store a report, sealed because it names users and hosts."""
    _forget_another(unit, secret)
    sealed = kms.seal_field(
        unit, secret.account_id, msgspec.json.encode(report), owner=secret.arn, part="rehearsal"
    )
    values = {"requested_at": None, "done_at": unit.now, "sealed_report": sealed}
    if not unit.connection.execute(update(rehearsals).where(*_key(secret)).values(**values)).rowcount:
        unit.connection.execute(insert(rehearsals).values(**_names(secret), **values))


def latest(unit: Unit, secret: Secret) -> tuple[datetime, Report] | None:
    """Return the last rehearsal and when it was done; None while one is asked for, or there was none."""
    row = unit.connection.execute(select(rehearsals).where(*_key(secret))).first()
    if row is None or row.secret_arn != secret.arn or row.requested_at is not None or row.done_at is None:
        return None
    opened = kms.unseal_field(
        unit, secret.account_id, bytes(row.sealed_report), owner=secret.arn, part="rehearsal"
    )
    return row.done_at, msgspec.json.decode(opened, type=Report)


def requested(unit: Unit, limit: int) -> list[Turn]:
    """Return the rehearsals that somebody asked for, the oldest request first."""
    statement = (
        select(rehearsals.c.account_id, rehearsals.c.region, rehearsals.c.name)
        .where(rehearsals.c.requested_at.is_not(None))
        .order_by(rehearsals.c.requested_at)
        .limit(limit)
    )
    return [_turn(row, requested=True) for row in unit.connection.execute(statement)]


def nightly(unit: Unit, limit: int) -> list[Turn]:
    """Return secrets that rotate within AHEAD and were not rehearsed in that time, the next one first."""
    turns: list[Turn] = []
    behind: tuple[datetime, str] | None = None
    while len(turns) < limit:
        found = secrets.rotating_within(unit, unit.now, unit.now + AHEAD, _PAGE, behind=behind)
        done = _done_lately(unit, [reference for _, reference in found])
        turns += [
            Turn(reference=reference, requested=False) for _, reference in found if reference not in done
        ]
        if len(found) < _PAGE:
            break
        behind = (found[-1][0], found[-1][1].name)
    return turns[:limit]


def _done_lately(unit: Unit, references: Sequence[SecretReference]) -> set[SecretReference]:
    statement = select(rehearsals.c.account_id, rehearsals.c.region, rehearsals.c.name).where(
        rehearsals.c.name.in_([reference.name for reference in references]),
        rehearsals.c.done_at > unit.now - AHEAD,
    )
    return {_turn(row, requested=False).reference for row in unit.connection.execute(statement)}


def _turn(row: Any, *, requested: bool) -> Turn:
    reference = SecretReference(account_id=row.account_id, region=row.region, name=row.name, suffix=None)
    return Turn(reference=reference, requested=requested)


def forget(unit: Unit, reference: SecretReference) -> None:
    """Delete the rehearsals of a secret that is gone."""
    unit.connection.execute(
        delete(rehearsals).where(
            rehearsals.c.account_id == reference.account_id,
            rehearsals.c.region == reference.region,
            rehearsals.c.name == reference.name,
        )
    )


def _forget_another(unit: Unit, secret: Secret) -> None:
    """Delete the row of an earlier secret of the same name."""
    unit.connection.execute(delete(rehearsals).where(*_key(secret), rehearsals.c.secret_arn != secret.arn))


def _names(secret: Secret) -> dict[str, str]:
    return {
        "account_id": secret.account_id,
        "region": secret.region,
        "name": secret.name,
        "secret_arn": secret.arn,
    }


def _key(secret: Secret) -> tuple[ColumnElement[bool], ...]:
    return (
        rehearsals.c.account_id == secret.account_id,
        rehearsals.c.region == secret.region,
        rehearsals.c.name == secret.name,
    )
