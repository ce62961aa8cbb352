"""The tags of secrets in their table, under a MAC.

Policies decide by tags. Each row carries the MAC of all tags of its secret, and the secret's own row names them together (`seals`), so
that whoever can write the store can neither change, move, add nor remove one unseen, nor all of them.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, delete, select

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.indexing import reindex
from turnlock.secrets.model import Secret
from turnlock.secrets.seals import EMPTIED, digest, hold, holds_of
from turnlock.secrets.tables import OWNER, named, naming, owned_by, owner_of, secret_tags
from turnlock.storage import HotQuery, Unit
from turnlock.storage.alarms import broken

_TAGS = HotQuery(
    select(secret_tags.c.tag_key, secret_tags.c.tag_value, secret_tags.c.mac)
    .where(*(secret_tags.c[name] == bindparam(name) for name in OWNER))
    .order_by(secret_tags.c.tag_key)
)
_TAGS_OF_MANY = HotQuery(
    select(secret_tags.c.name, secret_tags.c.tag_key, secret_tags.c.tag_value)
    .where(*named(secret_tags))
    .order_by(secret_tags.c.tag_key)
)


def find_tags(unit: Unit, secret: Secret) -> Mapping[str, str]:
    """Return one secret's tags: for whoever decides a request by them, and so may ask at each. Nobody changes them.

    Raises SealBroken on tags that this server did not write.
    """
    return unit.derived(("tags", *owner_of(secret).values()), lambda: _read(unit, secret))


def save_tags(unit: Unit, secret: Secret, tags: Mapping[str, str]) -> None:
    """Make the secret's tags be exactly `tags`; the secret is as it is stored."""
    none = None if holds_of(unit, secret).tags is None else EMPTIED
    unit.connection.execute(delete(secret_tags).where(*owned_by(secret_tags, secret)))
    insert_tags(unit, secret, tags)
    hold(unit, secret, tags=digest(dict(tags)) or none)
    reindex(unit, secret, tags)


def were_emptied(unit: Unit, secret: Secret) -> bool:
    """Tell whether a secret had tags and has none any more."""
    key = ("emptied", *owner_of(secret).values())
    return unit.derived(key, lambda: holds_of(unit, secret).tags == EMPTIED)


def insert_tags(unit: Unit, secret: Secret, tags: Mapping[str, str]) -> None:
    """Insert the tags of a secret that has none; its terms, and that it has them, are the caller's to write."""
    if tags:
        shared = {**owner_of(secret), "mac": tags_mac(unit, secret.arn, tags)}
        unit.connection.execute(
            secret_tags.insert(),
            [{**shared, "tag_key": key, "tag_value": value} for key, value in tags.items()],
        )


def _read(unit: Unit, secret: Secret) -> dict[str, str]:
    rows = _TAGS.rows(unit, owner_of(secret))
    tags = {key: value for key, value, _ in rows}
    expected = tags_mac(unit, secret.arn, tags) if rows else b""
    if not all(mac is not None and hmac.compare_digest(expected, bytes(mac)) for _, _, mac in rows):
        broken(f"A tag of {secret.arn}", owner=secret.arn)
    if digest(tags) != (holds_of(unit, secret).tags or None):
        broken(f"The tags of {secret.arn}", "are not those that it has", owner=secret.arn)
    return tags


def tags_mac(unit: Unit, secret_arn: str, tags: Mapping[str, str]) -> bytes:
    """Return the MAC that each row of a secret's tags must have: it covers them all."""
    return unit.keyring.mac("secret-tags", json.dumps([secret_arn, sorted(tags.items())]).encode())


def tags_of(
    unit: Unit, account_id: AccountId, region: Region, names: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return the tags of several secrets, by name, to be shown; names without tags are absent. Their MAC is not asked."""
    asked = naming(unit, account_id, region, names)
    tags: dict[str, dict[str, str]] = {}
    for name, key, value in _TAGS_OF_MANY.fresh(unit, asked):
        tags.setdefault(name, {})[key] = value
    return tags
