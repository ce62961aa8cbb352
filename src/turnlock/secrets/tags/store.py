"""The table of tags, under a MAC.

Policies decide by tags. Each row has a MAC over all tags of its secret, and the secret's row has their digest
(`seals`). A tag that was changed, moved, added or removed in the store is noticed, and so is the removal of all.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, delete, select

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.listing.indexing import reindex
from turnlock.secrets.model import Secret
from turnlock.secrets.seals import EMPTIED, digest, hold, holds_of, shown_holds
from turnlock.secrets.tables import OWNER, named, naming, owned_by, owner_of, secret_tags, secrets
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

_HOLDS_OF_MANY = HotQuery(select(secrets.c.name, secrets.c.holds).where(*named(secrets)))


def find_tags(unit: Unit, secret: Secret) -> Mapping[str, str]:
    """Return one secret's tags, read once for each unit. Callers must not change the result.

    Raises SealBroken on tags that this server did not write.
    """
    return unit.derived(("tags", *owner_of(secret).values()), lambda: _read(unit, secret))


def save_tags(unit: Unit, secret: Secret, tags: Mapping[str, str]) -> None:
    """Set the secret's tags; the secret is as it is stored."""
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
    """Insert the tags of a secret that has none. The caller writes its terms and its digest."""
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


def emptied_of(unit: Unit, account_id: AccountId, region: Region, names: Sequence[str]) -> frozenset[str]:
    """Return which of several secrets had tags and have none any more, to be shown. MACs are not checked."""
    rows = _HOLDS_OF_MANY.fresh(unit, naming(unit, account_id, region, names)) if names else ()
    return frozenset(name for name, holds in rows if shown_holds(holds).tags == EMPTIED)


def tags_mac(unit: Unit, secret_arn: str, tags: Mapping[str, str]) -> bytes:
    """Return the MAC that each row of a secret's tags must have; it covers all its tags."""
    return unit.keyring.mac("secret-tags", json.dumps([secret_arn, sorted(tags.items())]).encode())


def tags_of(
    unit: Unit, account_id: AccountId, region: Region, names: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return the tags of several secrets, by name, to be shown; names without tags are absent. MACs are not checked."""
    asked = naming(unit, account_id, region, names)
    tags: dict[str, dict[str, str]] = {}
    for name, key, value in _TAGS_OF_MANY.fresh(unit, asked):
        tags.setdefault(name, {})[key] = value
    return tags
