"""What a secret is and what it has, under one MAC in its row: what was taken away leaves a trace, and what is old does not fit.

The row holds a digest of the secret's staging labels, of its tags and of its resource policy, and a MAC over these digests and over
every column that decides something. So whoever can write the store can neither remove one of them unseen nor put back what it
once was; only all of a secret together, as it once was, still fits.

    1. Whoever writes a secret's columns writes them as `sealed` gives them.
    2. Whoever changes what a secret has says so with `hold`, in the same unit.
    3. Whoever reads what a secret has, or that it has nothing, goes by `holds_of`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, select, update

from turnlock.secrets.model import Secret, secret_arn
from turnlock.secrets.tables import OWNER, SEALED_COLUMNS, SECRET_COLUMNS, owned_by, owner_of, secrets
from turnlock.storage import HotQuery, Unit, micros
from turnlock.storage.alarms import broken

_UNCOVERED: Final = frozenset({"last_accessed_at", "rotation_starts_at"})
"""Columns that are written without the rest being read; all that hangs on them is when a rotation begins."""

_COVERED: Final = tuple(column.name for column in SECRET_COLUMNS if column.name not in _UNCOVERED)
_covered = itemgetter(*(n for n, column in enumerate(SECRET_COLUMNS) if column.name not in _UNCOVERED))

_ROW: Final = HotQuery(select(*SEALED_COLUMNS).where(*(secrets.c[name] == bindparam(name) for name in OWNER)))


EMPTIED: Final = ""
"""Stands for the digest of tags that were there and are gone."""


class Holds(msgspec.Struct, frozen=True, omit_defaults=True):
    """Digests of what a secret has; None for what it has none of."""

    labels: str | None = None
    tags: str | None = None
    """None where there never were any; EMPTIED once the last is gone: DescribeSecret tells the two apart, as AWS does."""
    policy: str | None = None


def digest(held: Mapping[str, str] | str | None) -> str | None:
    """Return the digest by which a row names labels, tags or a policy; None for none."""
    if not held:
        return None
    return hashlib.sha256(msgspec.json.encode(held, order="deterministic")).hexdigest()


def sealed(unit: Unit, columns: Mapping[str, Any], holds: Holds) -> dict[str, Any]:
    """Return a row's columns, ready to be written, with what its secret has and the MAC over both."""
    held = msgspec.json.encode(holds).decode()
    return {**columns, "holds": held, "mac": row_mac(unit, {**columns, "holds": held})}


def row_mac(unit: Unit, row: Mapping[str, Any]) -> bytes:
    """Return the MAC that a secret's row must have."""
    return _mac(unit, [row[name] for name in _COVERED], row["holds"])


def read_holds(unit: Unit, row: Sequence[Any]) -> Holds:
    """Return what a row, SEALED_COLUMNS first, says that its secret has. Raises SealBroken on one that was forged."""
    held, mac = row[len(SECRET_COLUMNS)], row[len(SECRET_COLUMNS) + 1]
    if mac is None or not hmac.compare_digest(_mac(unit, _covered(row), held), bytes(mac)):
        arn = secret_arn(*row[:4])
        broken(f"The row of {arn}", owner=arn)
    holds = msgspec.json.decode(held, type=Holds)
    unit.memo["holds", *row[:3]] = holds
    return holds


def holds_of(unit: Unit, secret: Secret) -> Holds:
    """Return what a secret's row says that it has now; nothing where there is no row. Raises SealBroken."""
    key = ("holds", secret.account_id, secret.region, secret.name)
    if key not in unit.memo:
        rows = _ROW.rows(unit, owner_of(secret))
        unit.memo[key] = read_holds(unit, rows[0]) if rows else Holds()
    found: Holds = unit.memo[key]
    return found


def hold(unit: Unit, secret: Secret, **parts: str | None) -> None:
    """Write down what a secret has from now on: the digests of the parts that changed, by their names in Holds.

    Raises SealBroken where the row is not what was written before, so that nothing forged becomes good.
    """
    row = _ROW.rows(unit, owner_of(secret))[0]
    holds = msgspec.structs.replace(read_holds(unit, row), **parts)
    held = msgspec.json.encode(holds).decode()
    unit.connection.execute(
        update(secrets)
        .where(*owned_by(secrets, secret))
        .values(holds=held, mac=_mac(unit, _covered(row), held))
    )
    remember(unit, secret, holds)


def remember(unit: Unit, secret: Secret, holds: Holds | None) -> None:
    """Let the unit know what it has just written into a secret's row; None when the row is gone."""
    key = ("holds", secret.account_id, secret.region, secret.name)
    if holds is None:
        unit.memo.pop(key, None)
    else:
        unit.memo[key] = holds


def _mac(unit: Unit, values: Sequence[Any], held: str) -> bytes:
    return unit.keyring.mac("secret", msgspec.json.encode([*map(_plain, values), held]))


def _plain(value: object) -> object:
    """Return a column's value as both stores' drivers give it or take it: moments as microseconds, truth as a number."""
    if isinstance(value, datetime):
        return micros(value)
    return int(value) if isinstance(value, bool) else value
