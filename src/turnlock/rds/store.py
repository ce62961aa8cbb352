"""Every query on the registry.

Rows carry a MAC: names, engine, endpoints, links and the managed secret decide where a master password goes. Whoever can write
the store cannot lead a rotation to another server unseen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from turnlock.core.arn import AccountId, Region
from turnlock.errors import SealBroken
from turnlock.rds.model import DbResource, Kind, Status
from turnlock.rds.tables import DATABASE_ROWS, OWNER, TAG_ROWS, database_tags, databases
from turnlock.root_keys import row_macs
from turnlock.storage import Unit

_FIELDS = (
    "resource_id",
    "engine",
    "master_username",
    "host",
    "reader_host",
    "port",
    "cluster_id",
    "writer",
    "source_id",
    "secret_arn",
    "local",
    "node_id",
    "engine_version",
    "status_message",
    "dbname",
    "created_at",
    "sealed_password",
    "sealed_internal",
)
"""The fields that are columns as they are."""


def insert(unit: Unit, resource: DbResource, tags: Mapping[str, str]) -> bool:
    """Insert a new resource with its tags; False when its identifier is taken."""
    try:
        with unit.savepoint():
            DATABASE_ROWS.insert(unit, _columns(resource))
    except IntegrityError:
        return False
    add_tags(unit, resource, tags)
    return True


def save(unit: Unit, resource: DbResource) -> None:
    """Write a resource as it now is."""
    unit.connection.execute(
        update(databases)
        .where(*_owner(databases, resource))
        .values(DATABASE_ROWS.sealed(unit, _columns(resource)))
    )


def remove(unit: Unit, resource: DbResource) -> None:
    """Delete a resource and its tags."""
    unit.connection.execute(delete(databases).where(*_owner(databases, resource)))


def find(unit: Unit, account_id: AccountId, region: Region, kind: Kind, identifier: str) -> DbResource | None:
    """Return a resource, or None. Raises SealBroken for a row that was not written by this server."""
    found = unit.connection.execute(
        select(databases).where(*_home(account_id, region, kind), databases.c.identifier == identifier)
    ).first()
    return None if found is None else _resource(unit, found)


def page(
    unit: Unit,
    account_id: AccountId,
    region: Region,
    kind: Kind,
    *,
    wanted: Mapping[str, Collection[str]],
    after: str,
    limit: int,
) -> list[DbResource]:
    """Return up to `limit` resources in the order of their identifiers, beginning behind `after`.

    `wanted` says, by column, which values a resource must have one of.
    """
    statement = (
        select(databases)
        .where(
            *_home(account_id, region, kind),
            databases.c.identifier > after,
            *(databases.c[column].in_(values) for column, values in wanted.items()),
        )
        .order_by(databases.c.identifier)
        .limit(limit)
    )
    return [_resource(unit, found) for found in unit.connection.execute(statement)]


def related(
    unit: Unit, account_id: AccountId, region: Region, identifiers: Collection[str]
) -> list[DbResource]:
    """Return the instances that are members of these clusters or replicas of these instances, by identifier."""
    names = list(identifiers)
    statement = (
        select(databases)
        .where(
            *_home(account_id, region, Kind.INSTANCE),
            or_(databases.c.cluster_id.in_(names), databases.c.source_id.in_(names)),
        )
        .order_by(databases.c.identifier)
    )
    return [_resource(unit, found) for found in unit.connection.execute(statement)]


def count_local(unit: Unit) -> int:
    """Return how many DB instances the deployment runs itself, in all accounts and Regions."""
    statement = select(func.count()).select_from(databases).where(databases.c.local)
    return int(unit.connection.execute(statement).scalar_one())


def local_instances(unit: Unit) -> list[DbResource]:
    """Return the DB instances that the deployment runs itself, in all accounts and Regions.

    A row that was not written by this server is left out, with a line in the log: it must not stop the others' servers.
    """
    rows = unit.connection.execute(select(databases).where(databases.c.local)).all()
    resources: list[DbResource] = []
    for found in rows:
        with suppress(SealBroken):
            resources.append(_resource(unit, found))
    return resources


def add_tags(unit: Unit, resource: DbResource, tags: Mapping[str, str]) -> None:
    """Add or overwrite tags."""
    if not tags:
        return
    remove_tags(unit, resource, tags)
    rows = [
        TAG_ROWS.sealed(unit, {**_names(resource), "tag_key": key, "tag_value": value})
        for key, value in tags.items()
    ]
    unit.connection.execute(database_tags.insert(), rows)


def remove_tags(unit: Unit, resource: DbResource, keys: Iterable[str]) -> None:
    """Remove tags; one that is not there is no error."""
    unit.connection.execute(
        delete(database_tags).where(*_owner(database_tags, resource), database_tags.c.tag_key.in_(list(keys)))
    )


def tags_of(unit: Unit, resources: Iterable[DbResource]) -> dict[str, dict[str, str]]:
    """Return the tags of resources of one kind in one account and Region, by identifier; policies decide by them.

    Raises SealBroken for a tag that this server did not write.
    """
    listed = list(resources)
    if not listed:
        return {}
    first = listed[0]
    statement = (
        select(database_tags)
        .where(
            database_tags.c.account_id == first.account_id,
            database_tags.c.region == first.region,
            database_tags.c.kind == first.kind.value,
            database_tags.c.identifier.in_([one.identifier for one in listed]),
        )
        .order_by(database_tags.c.tag_key)
    )
    tags: dict[str, dict[str, str]] = {}
    for row in unit.connection.execute(statement):
        TAG_ROWS.check(unit, row._mapping)  # noqa: SLF001 (SQLAlchemy's public name for it)
        tags.setdefault(row.identifier, {})[row.tag_key] = row.tag_value
    return tags


def _home(account_id: AccountId, region: Region, kind: Kind) -> tuple[ColumnElement[bool], ...]:
    return (
        databases.c.account_id == account_id,
        databases.c.region == region,
        databases.c.kind == kind.value,
    )


def _names(resource: DbResource) -> dict[str, str]:
    values = (resource.account_id, resource.region, resource.kind.value, resource.identifier)
    return dict(zip(OWNER, values, strict=True))


def _owner(table: Any, resource: DbResource) -> tuple[ColumnElement[bool], ...]:
    return tuple(table.c[name] == value for name, value in _names(resource).items())


def _columns(resource: DbResource) -> dict[str, object]:
    return {
        **_names(resource),
        **{name: getattr(resource, name) for name in _FIELDS},
        "status": resource.status.value,
        "settings": msgspec.json.encode(resource.settings).decode(),
    }


def _resource(unit: Unit, found: Any) -> DbResource:
    row = found._mapping  # noqa: SLF001 (SQLAlchemy's public name for it)
    DATABASE_ROWS.check(unit, row)
    decoded = {
        "kind": Kind(row["kind"]),
        "status": Status(row["status"]),
        "settings": msgspec.json.decode(row["settings"]),
    }
    return DbResource(**{**{name: value for name, value in row.items() if name != "mac"}, **decoded})


MACS: Final = row_macs(DATABASE_ROWS, TAG_ROWS)
"""What a rotation of the root key writes anew."""
