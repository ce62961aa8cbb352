"""Queries on secrets, versions and labels.

A secret is read with its labels in one query. Each label has a MAC over (ARN, label, version id); the secret's row has
one over itself and all its labels (`seals`). A label that was moved or removed in the store is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec
from sqlalchemy import and_, bindparam, delete, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from turnlock.errors import SealBroken
from turnlock.secrets.labels.store import check_label, label_mac
from turnlock.secrets.listing.indexing import forget as forget_terms
from turnlock.secrets.listing.indexing import found_otherwise, index_new, reindex
from turnlock.secrets.model import Labels, Rotation, Secret, SecretReference, Version, is_name
from turnlock.secrets.seals import Holds, digest, hold, holds_of, read_holds, remember, sealed
from turnlock.secrets.tables import (
    OWNER,
    SEALED_COLUMNS,
    VERSION_ROWS,
    owned_by,
    owner_of,
    secret_versions,
    secrets,
    staging_labels,
)
from turnlock.secrets.tags.store import insert_tags, tags_of
from turnlock.storage import HotQuery, Unit, moment
from turnlock.storage.alarms import broken

_FIND = HotQuery(
    select(*SEALED_COLUMNS, staging_labels.c.label, staging_labels.c.version_id, staging_labels.c.mac)
    .select_from(
        secrets.outerjoin(
            staging_labels,
            and_(*(secrets.c[name] == staging_labels.c[name] for name in OWNER)),
        )
    )
    .where(*(secrets.c[name] == bindparam(name) for name in OWNER))
)

_VERSION_COLUMNS = tuple(column.name for column in secret_versions.c)
_VERSION = HotQuery(
    select(secret_versions).where(
        *(secret_versions.c[name] == bindparam(name) for name in OWNER),
        secret_versions.c.version_id == bindparam("version_id"),
    )
)


def find_secret(unit: Unit, reference: SecretReference) -> Secret | None:
    """Return the secret that a reference names, with its labels, or None. Raises SealBroken on what was forged."""
    if not is_name(reference.name):
        return None
    key = ("secret", reference.account_id, reference.region, reference.name)
    if key not in unit.memo:
        unit.memo[key] = unit.derived(key, lambda: _read_secret(unit, reference))
    found: Secret | None = unit.memo[key]
    if found is None or reference.suffix not in (None, found.suffix):
        return None
    return found


def insert_secret(unit: Unit, secret: Secret, tags: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Insert a new secret with its tags, without labels or versions; False when its name is taken."""
    holds = Holds(tags=digest(tags))
    try:
        with unit.savepoint():
            terms = index_new(unit, secret, tags)
            unit.connection.execute(secrets.insert().values(**sealed(unit, _row(secret), holds), terms=terms))
    except IntegrityError:
        return False
    insert_tags(unit, secret, tags)
    _forget(unit, secret)
    remember(unit, secret, holds)
    return True


def update_secret(unit: Unit, secret: Secret) -> None:
    """Write the secret's own columns (not its labels) as they now are."""
    indexed = not found_otherwise(unit, secret)
    columns = sealed(unit, _row(secret), holds_of(unit, secret))
    unit.connection.execute(update(secrets).where(*owned_by(secrets, secret)).values(columns))
    if not indexed:
        tags = tags_of(unit, secret.account_id, secret.region, [secret.name])
        reindex(unit, secret, tags.get(secret.name, {}))
    _forget(unit, secret)


def delete_secret(unit: Unit, secret: Secret) -> None:
    """Delete a secret with its versions, labels and tags, for good."""
    forget_terms(unit, secret)
    unit.connection.execute(delete(secrets).where(*owned_by(secrets, secret)))
    _forget(unit, secret)
    remember(unit, secret, None)


def save_labels(unit: Unit, secret: Secret, labels: Labels) -> Secret:
    """Write the secret's labels, only those that differ; return the secret with them."""
    gone = [label for label, version_id in secret.labels.items() if labels.get(label) != version_id]
    if gone:
        unit.connection.execute(
            delete(staging_labels).where(*owned_by(staging_labels, secret), staging_labels.c.label.in_(gone))
        )
    added = [
        {
            **owner_of(secret),
            "label": label,
            "version_id": version_id,
            "mac": label_mac(unit, secret.arn, label, version_id),
        }
        for label, version_id in labels.items()
        if secret.labels.get(label) != version_id
    ]
    if added:
        unit.connection.execute(staging_labels.insert(), added)
    if gone or added:
        hold(unit, secret, labels=digest(dict(labels)))
    _forget(unit, secret)
    return secret.evolve(labels=dict(labels))


def find_version(unit: Unit, secret: Secret, version_id: str) -> Version | None:
    """Return one version, sealed value included, or None. Raises SealBroken on what was forged."""
    owner = (secret.account_id, secret.region, secret.name)
    return unit.derived(("version", *owner, version_id), lambda: _read_version(unit, owner, version_id))


def _read_version(unit: Unit, owner: tuple[str, str, str], version_id: str) -> Version | None:
    parameters = {**dict(zip(OWNER, owner, strict=True)), "version_id": version_id}
    for values in _VERSION.rows(unit, parameters):
        row = dict(zip(_VERSION_COLUMNS, values, strict=True))
        VERSION_ROWS.check(unit, row)
        return Version(
            version_id=version_id,
            created_at=moment(row["created_at"]),
            kind=row["kind"],
            sealed=row["sealed"],
            last_accessed_at=_maybe(row["last_accessed_at"]),
        )
    return None


def insert_version(unit: Unit, secret: Secret, version: Version) -> None:
    """Insert a version, or a placeholder (kind and sealed None)."""
    VERSION_ROWS.insert(unit, _version_row(secret, version))


def fill_version(unit: Unit, secret: Secret, version: Version) -> None:
    """Give a placeholder its value; a version that has one is never written again."""
    filled = unit.connection.execute(
        update(secret_versions)
        .where(
            *owned_by(secret_versions, secret),
            secret_versions.c.version_id == version.version_id,
            secret_versions.c.kind.is_(None),
        )
        .values(VERSION_ROWS.sealed(unit, _version_row(secret, version)))
    ).rowcount
    if filled != 1:
        raise SealBroken("A version's content never changes.")


def _version_row(secret: Secret, version: Version) -> dict[str, object]:
    return {
        **owner_of(secret),
        "version_id": version.version_id,
        "kind": version.kind,
        "sealed": version.sealed,
        "kms_key_id": secret.kms_key_id,
        "created_at": version.created_at,
    }


def delete_version(unit: Unit, secret: Secret, version_id: str) -> None:
    """Delete one version; its labels must be gone."""
    unit.connection.execute(
        delete(secret_versions).where(
            *owned_by(secret_versions, secret), secret_versions.c.version_id == version_id
        )
    )
    _forget(unit, secret)


def reseal_version(unit: Unit, secret: Secret, version: Version) -> None:
    """Write a version's value as it is sealed under the secret's key of now; its content stays."""
    here = (*owned_by(secret_versions, secret), secret_versions.c.version_id == version.version_id)
    VERSION_ROWS.change(unit, here, sealed=version.sealed, kms_key_id=secret.kms_key_id)


def version_ids(unit: Unit, secret: Secret) -> list[str]:
    """Return the ids of all versions, oldest first."""
    statement = (
        select(secret_versions.c.version_id)
        .where(*owned_by(secret_versions, secret))
        .order_by(secret_versions.c.created_at, secret_versions.c.version_id)
    )
    return list(unit.connection.execute(statement).scalars())


def rotating_within(
    unit: Unit, begins: datetime, ends: datetime, limit: int, *, behind: tuple[datetime, str] | None = None
) -> list[tuple[datetime, SecretReference]]:
    """Return the living secrets whose rotation starts in a span, with that moment, in its order; rows are not verified.

    A page begins after the (moment, name) where the last one ended.
    """
    place = tuple_(secrets.c.rotation_starts_at, secrets.c.name)
    statement = (
        select(secrets.c.account_id, secrets.c.region, secrets.c.name, secrets.c.rotation_starts_at)
        .where(
            secrets.c.rotation_starts_at > begins,
            secrets.c.rotation_starts_at <= ends,
            secrets.c.rotation_enabled.is_(True),
            secrets.c.deleted_at.is_(None),
            *(() if behind is None else (place > behind,)),
        )
        .order_by(secrets.c.rotation_starts_at, secrets.c.name)
        .limit(limit)
    )
    return [
        (
            row.rotation_starts_at,
            SecretReference(account_id=row.account_id, region=row.region, name=row.name, suffix=None),
        )
        for row in unit.connection.execute(statement)
    ]


def due_for_rotation(unit: Unit, now: datetime, limit: int) -> list[SecretReference]:
    """Return the living secrets whose rotation is due, the longest due first; rows are not verified, so none can fail."""
    statement = (
        select(secrets.c.account_id, secrets.c.region, secrets.c.name)
        .where(
            secrets.c.rotation_starts_at <= now,
            secrets.c.rotation_enabled.is_(True),
            secrets.c.deleted_at.is_(None),
        )
        .order_by(secrets.c.rotation_starts_at)
        .limit(limit)
    )
    return [
        SecretReference(account_id=row.account_id, region=row.region, name=row.name, suffix=None)
        for row in unit.connection.execute(statement)
    ]


def postpone_rotation(unit: Unit, reference: SecretReference, until: datetime) -> None:
    """Set when a secret's rotation starts, without reading the secret: its row may be the one that cannot be read."""
    owner = {"account_id": reference.account_id, "region": reference.region, "name": reference.name}
    unit.connection.execute(
        update(secrets)
        .where(*(secrets.c[name] == value for name, value in owner.items()))
        .values(rotation_starts_at=until)
    )
    unit.memo.pop(("secret", *owner.values()), None)


def secret_of(values: Sequence[Any]) -> Secret:
    """Make a Secret, labels aside, from SECRET_COLUMNS in their order, moments in microseconds."""
    return Secret(
        account_id=values[0],
        region=values[1],
        name=values[2],
        suffix=values[3],
        description=values[4],
        kms_key_id=values[5],
        created_at=moment(values[6]),
        last_changed_at=moment(values[7]),
        last_accessed_at=_maybe(values[8]),
        deleted_at=_maybe(values[10]),
        deletion_at=_maybe(values[11]),
        rotation=_NO_ROTATION
        if values[12] is None
        else Rotation(
            enabled=bool(values[12]),
            function_arn=values[13],
            rules=_decoded(values[14]),
            last_rotated_at=_maybe(values[9]),
            next_rotation_at=_maybe(values[15]),
            opens_at=_maybe(values[16]),
            starts_at=_maybe(values[17]),
        ),
        secret_type=values[18],
        owning_service=values[19],
        external_metadata=_decoded(values[20]),
        external_role_arn=values[21],
        primary_region=values[22],
    )


_NO_ROTATION = Rotation()


def _read_secret(unit: Unit, reference: SecretReference) -> Secret | None:
    """Read a secret with its labels, verifying the MAC of each label and that none is missing."""
    owner = (reference.account_id, reference.region, reference.name)
    rows = _FIND.rows(unit, dict(zip(OWNER, owner, strict=True)))
    if not rows:
        return None
    secret, holds = secret_of(rows[0]), read_holds(unit, rows[0])
    labels: dict[str, str] = {}
    for row in rows:
        label, version_id, mac = row[-3:]
        if label is not None:
            check_label(unit, secret.arn, label, version_id, mac)
            labels[label] = version_id
    if digest(labels) != holds.labels:
        broken(f"The staging labels of {secret.arn}", "are not those that it has", owner=secret.arn)
    return secret.evolve(labels=labels)


def _row(secret: Secret) -> dict[str, object]:
    rotation = secret.rotation
    return {
        "account_id": secret.account_id,
        "region": secret.region,
        "name": secret.name,
        "suffix": secret.suffix,
        "description": secret.description,
        "kms_key_id": secret.kms_key_id,
        "created_at": secret.created_at,
        "last_changed_at": secret.last_changed_at,
        "last_accessed_at": secret.last_accessed_at,
        "deleted_at": secret.deleted_at,
        "deletion_at": secret.deletion_at,
        "rotation_enabled": rotation.enabled,
        "rotation_function_arn": rotation.function_arn,
        "rotation_rules": _encoded(rotation.rules),
        "last_rotated_at": rotation.last_rotated_at,
        "next_rotation_at": rotation.next_rotation_at,
        "rotation_opens_at": rotation.opens_at,
        "rotation_starts_at": rotation.starts_at,
        "secret_type": secret.secret_type,
        "owning_service": secret.owning_service,
        "external_metadata": _encoded(secret.external_metadata),
        "external_role_arn": secret.external_role_arn,
        "primary_region": secret.primary_region,
    }


def _forget(unit: Unit, secret: Secret) -> None:
    unit.memo.pop(("secret", secret.account_id, secret.region, secret.name), None)


def _encoded(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _decoded(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def _maybe(value: int | None) -> datetime | None:
    return None if value is None else moment(value)
