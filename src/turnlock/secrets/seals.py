"""The MAC of a secret's row, which covers its labels, tags and policy too.

The row holds a digest of the secret's staging labels, of its tags and of its resource policy. A MAC covers these
digests and every column that decides something. Whoever can write the store can therefore neither remove a label, tag
or policy nor put an older one back without being noticed. Only all of a secret together, as it once was, still
verifies.

    1. Code that writes a secret's columns writes what `sealed` returns.
    2. Code that changes labels, tags or the policy calls `hold` in the same unit.
    3. Code that reads them, or reads that there are none, compares them with `holds_of`.
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
"""Columns outside the MAC, written without reading the rest: they only say when a rotation begins."""

_COVERED: Final = tuple(column.name for column in SECRET_COLUMNS if column.name not in _UNCOVERED)
_covered = itemgetter(*(n for n, column in enumerate(SECRET_COLUMNS) if column.name not in _UNCOVERED))

_ROW: Final = HotQuery(select(*SEALED_COLUMNS).where(*(secrets.c[name] == bindparam(name) for name in OWNER)))


EMPTIED: Final = ""
"""The digest after the last tag was removed."""


class Holds(msgspec.Struct, frozen=True, omit_defaults=True):
    """Digests of a secret's labels, tags and policy; None where there are none."""

    labels: str | None = None
    tags: str | None = None
    """None where there never were tags, EMPTIED after the last one went: DescribeSecret shows the difference, as AWS does."""
    policy: str | None = None


def digest(held: Mapping[str, str] | str | None) -> str | None:
    """Return the digest by which a row names labels, tags or a policy; None for none."""
    if not held:
        return None
    return hashlib.sha256(msgspec.json.encode(held, order="deterministic")).hexdigest()


def sealed(unit: Unit, columns: Mapping[str, Any], holds: Holds) -> dict[str, Any]:
    """Return a row's columns with the digests and the MAC, ready to be written."""
    held = msgspec.json.encode(holds).decode()
    return {**columns, "holds": held, "mac": row_mac(unit, {**columns, "holds": held})}


def row_mac(unit: Unit, row: Mapping[str, Any]) -> bytes:
    """Return the MAC that a secret's row must have."""
    return _mac(unit, [row[name] for name in _COVERED], row["holds"])


def read_holds(unit: Unit, row: Sequence[Any]) -> Holds:
    """Return the digests in a row whose first columns are SEALED_COLUMNS. Raises SealBroken on a forged row."""
    held, mac = row[len(SECRET_COLUMNS)], row[len(SECRET_COLUMNS) + 1]
    if mac is None or not hmac.compare_digest(_mac(unit, _covered(row), held), bytes(mac)):
        arn = secret_arn(*row[:4])
        broken(f"The row of {arn}", owner=arn)
    holds = msgspec.json.decode(held, type=Holds)
    unit.memo["holds", *row[:3]] = holds
    return holds


def shown_holds(held: str | None) -> Holds:
    """Return the digests in a row's column `holds`, to be shown: nothing has checked the row's MAC."""
    return msgspec.json.decode(held, type=Holds) if held else Holds()


def holds_of(unit: Unit, secret: Secret) -> Holds:
    """Return the digests in a secret's row, empty where there is no row. Raises SealBroken."""
    key = ("holds", secret.account_id, secret.region, secret.name)
    if key not in unit.memo:
        rows = _ROW.rows(unit, owner_of(secret))
        unit.memo[key] = read_holds(unit, rows[0]) if rows else Holds()
    found: Holds = unit.memo[key]
    return found


def hold(unit: Unit, secret: Secret, **parts: str | None) -> None:
    """Write new digests of the parts that changed, by their names in Holds.

    Raises SealBroken where the row's MAC does not fit: a forged row must not get a good MAC.
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
    """Keep in the unit what it has just written into a secret's row; None when the row is gone."""
    key = ("holds", secret.account_id, secret.region, secret.name)
    if holds is None:
        unit.memo.pop(key, None)
    else:
        unit.memo[key] = holds


def _mac(unit: Unit, values: Sequence[Any], held: str) -> bytes:
    return unit.keyring.mac("secret", msgspec.json.encode([*map(_plain, values), held]))


def _plain(value: object) -> object:
    """Return a column's value in a form that is the same for both stores: moments as microseconds, booleans as numbers."""
    if isinstance(value, datetime):
        return micros(value)
    return int(value) if isinstance(value, bool) else value
