"""The tags of secrets in their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, delete, select

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.indexing import reindex
from turnlock.secrets.model import Secret
from turnlock.secrets.tables import OWNER, secret_tags
from turnlock.storage import HotQuery, Unit

_TAGS = HotQuery(
    select(secret_tags.c.tag_key, secret_tags.c.tag_value)
    .where(*(secret_tags.c[name] == bindparam(name) for name in OWNER))
    .order_by(secret_tags.c.tag_key)
)


def find_tags(unit: Unit, secret: Secret) -> Mapping[str, str]:
    """Return one secret's tags: for whoever decides a request by them, and so may ask at each. Nobody changes them."""
    owner = (secret.account_id, secret.region, secret.name)
    return unit.derived(
        ("tags", *owner), lambda: dict(_TAGS.rows(unit, dict(zip(OWNER, owner, strict=True))))
    )


def save_tags(unit: Unit, secret: Secret, tags: Mapping[str, str]) -> None:
    """Make the secret's tags be exactly `tags`; the secret is as it is stored."""
    owner = {"account_id": secret.account_id, "region": secret.region, "name": secret.name}
    unit.connection.execute(
        delete(secret_tags).where(*(secret_tags.c[column] == value for column, value in owner.items()))
    )
    insert_tags(unit, secret, tags)
    reindex(unit, secret, tags)


def insert_tags(unit: Unit, secret: Secret, tags: Mapping[str, str]) -> None:
    """Insert the tags of a secret that has none; its terms are the caller's."""
    owner = {"account_id": secret.account_id, "region": secret.region, "name": secret.name}
    if tags:
        unit.connection.execute(
            secret_tags.insert(),
            [{**owner, "tag_key": key, "tag_value": value} for key, value in tags.items()],
        )


def tags_of(
    unit: Unit, account_id: AccountId, region: Region, names: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return the tags of several secrets, by name; names without tags are absent."""
    rows = unit.connection.execute(
        select(secret_tags.c.name, secret_tags.c.tag_key, secret_tags.c.tag_value)
        .where(
            secret_tags.c.account_id == account_id,
            secret_tags.c.region == region,
            secret_tags.c.name.in_(names),
        )
        .order_by(secret_tags.c.tag_key)
    )
    tags: dict[str, dict[str, str]] = {}
    for name, key, value in rows:
        tags.setdefault(name, {})[key] = value
    return tags
