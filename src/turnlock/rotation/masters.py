"""The master secret that a secret's rotations may read: one that a caller with the right to read it has named.

A secret's value may name a master secret (`masterarn`), and whoever may store a value may write any ARN there. So the
name gives no right. RotateSecret asks the gate whether its caller may read the master's value, and keeps the answer
here. A function's session policy names the master secret only while AWSCURRENT still names the same one.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, LargeBinary, String, Table, Text, delete, select
from sqlalchemy.sql.elements import ColumnElement

from turnlock import secrets
from turnlock.core.arn import Arn
from turnlock.core.call import Call
from turnlock.errors import AccessDeniedException, InvalidRequestException
from turnlock.rotation.values import current_value, text_member
from turnlock.secrets import Secret, parse_secret_id
from turnlock.storage import SealedRows, Unit, metadata

rotation_masters = Table(
    "rotation_masters",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("name", String(512), primary_key=True),
    Column("secret_arn", Text, nullable=False),
    Column("master_arn", Text, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

MASTER_ROWS: Final = SealedRows(rotation_masters)

_SENTENCE = "The secret's masterarn must be the ARN of another secret in the same account and Region."


def named_master(unit: Unit, secret: Secret) -> str | None:
    """Return the `masterarn` in the secret's AWSCURRENT value; None where there is none."""
    return text_member(current_value(unit, secret), "masterarn")


def allow_master(call: Call, unit: Unit, secret: Secret) -> None:
    """Let the secret's rotations read the master secret that its value names, if the caller may read it.

    A master that was allowed before stays allowed, whoever calls RotateSecret. InvalidRequestException for a name that
    is not the ARN of a secret of the same account and Region; AccessDeniedException where the caller may not read the
    master's value.
    """
    named = named_master(unit, secret)
    if named is None:
        _forget(unit, secret)
        return
    if named == _kept(unit, secret):
        return
    _require_neighbour(secret, named)
    call.gate.require("GetSecretValue", {"SecretId": named})
    found = secrets.find_secret(unit, parse_secret_id(named, secret.account_id, secret.region))
    if found is None or found.arn != named:
        raise InvalidRequestException(_SENTENCE)
    _forget(unit, secret)
    row = {
        "account_id": secret.account_id,
        "region": secret.region,
        "name": secret.name,
        "secret_arn": secret.arn,
        "master_arn": named,
    }
    MASTER_ROWS.insert(unit, row)


def note_master(call: Call, unit: Unit, secret: Secret) -> None:
    """Do as `allow_master`, and nothing where it would refuse. For functions with a role, which reads what the role may.

    The master is kept so that log lines and errors show none of its values.
    """
    try:
        allow_master(call, unit, secret)
    except (InvalidRequestException, AccessDeniedException):
        _forget(unit, secret)


def allowed_master(unit: Unit, secret: Secret) -> str | None:
    """Return the master secret that this secret's rotations may read now. Raises SealBroken on a row that was forged."""
    named = named_master(unit, secret)
    return named if named is not None and named == _kept(unit, secret) else None


def find_master(unit: Unit, secret: Secret) -> Secret | None:
    """Return the master secret that this secret's rotations may read now, if it is there."""
    named = allowed_master(unit, secret)
    if named is None:
        return None
    return secrets.find_secret(unit, parse_secret_id(named, secret.account_id, secret.region))


def _kept(unit: Unit, secret: Secret) -> str | None:
    row = unit.connection.execute(select(rotation_masters).where(*_key(secret))).mappings().first()
    if row is None:
        return None
    MASTER_ROWS.check(unit, row)
    return str(row["master_arn"]) if row["secret_arn"] == secret.arn else None


def _require_neighbour(secret: Secret, named: str) -> None:
    try:
        arn = Arn.parse(named)
    except ValueError:
        raise InvalidRequestException(_SENTENCE) from None
    home = (arn.service, arn.region, arn.account_id)
    if home != ("secretsmanager", secret.region, secret.account_id) or named == secret.arn:
        raise InvalidRequestException(_SENTENCE)


def _forget(unit: Unit, secret: Secret) -> None:
    unit.connection.execute(delete(rotation_masters).where(*_key(secret)))


def _key(secret: Secret) -> tuple[ColumnElement[bool], ...]:
    return (
        rotation_masters.c.account_id == secret.account_id,
        rotation_masters.c.region == secret.region,
        rotation_masters.c.name == secret.name,
    )
