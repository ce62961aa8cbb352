"""Very many secrets, written as rows rather than through actions: what CreateSecret would leave, hundreds in a statement."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from tests.calling import Client, token
from tests.support import NOON
from turnlock.core.arn import AccountId, Region
from turnlock.secrets import Secret, store
from turnlock.secrets.labels.store import label_mac
from turnlock.secrets.listing.terms import as_text, terms_of
from turnlock.secrets.seals import Holds, digest, sealed
from turnlock.secrets.tables import secret_tags, secret_terms, secret_versions, secrets, staging_labels
from turnlock.secrets.tags.store import tags_mac
from turnlock.secrets.values.content import seal_version
from turnlock.storage import Unit

BATCH = 1_000
"""Secrets in one transaction."""

TEAMS, STAGES, REGIONS = 40, ("production", "staging", "test"), (Region("eu-west-1"), Region("us-east-1"))
RARE = 97
"""Every one of so many has what few have: it is deleted, or belongs to a service, or was read, or is a replica."""


def fill(client: Client, count: int) -> None:
    """Make `count` secrets in the client's account and Region, each with a value, two or three tags and a description."""
    for first in range(0, count, BATCH):
        client.database.write(partial(_write, client, range(first, min(count, first + BATCH))))


def name_of(number: int) -> str:
    """Return the name of one of them."""
    return f"{STAGES[number % 3]}/service-{number % 500}/database-{number}"


def tags_of(number: int) -> dict[str, str]:
    """Return its tags."""
    tags = {"Team": f"team{number % TEAMS}", "CostCenter": f"cc-{number % 7}"}
    return tags | ({"Migrated": "yes"} if number % 10 == 0 else {})


def _secret(client: Client, number: int) -> Secret:
    at = NOON + timedelta(seconds=random.Random(number).randrange(10**6))
    rare = number % RARE
    return Secret(
        account_id=AccountId(client.account_id),
        region=client.region,
        name=name_of(number),
        suffix="abcdef",
        description=f"Credentials of database {number} on host h{number % 1000}, kept for team{number % TEAMS}",
        created_at=at,
        last_changed_at=at + timedelta(hours=number % 50),
        last_accessed_at=at if rare == 0 or number % 2 else None,
        deleted_at=at if rare == 1 else None,
        deletion_at=at + timedelta(days=30) if rare == 1 else None,
        owning_service="rds" if rare == 2 else None,
        primary_region=REGIONS[number % 2] if rare == 3 else None,
    )


def _write(client: Client, numbers: Sequence[int], unit: Unit) -> None:
    rows: dict[Any, list[dict[str, object]]] = {}
    for number in numbers:
        for table, row in _rows(unit, _secret(client, number), number):
            rows.setdefault(table, []).append(row)
    for table in (secrets, secret_tags, secret_versions, staging_labels, secret_terms):
        unit.connection.execute(table.insert(), rows[table])


def _rows(unit: Unit, secret: Secret, number: int) -> Iterator[tuple[Any, dict[str, object]]]:
    tags, version_id = tags_of(number), token(number)
    owner = {"account_id": secret.account_id, "region": secret.region, "name": secret.name}
    terms = terms_of(secret, tags)
    holds = Holds(labels=digest({"AWSCURRENT": version_id}), tags=digest(tags))
    yield secrets, {**sealed(unit, store._row(secret), holds), "terms": as_text(terms)}
    mac = tags_mac(unit, secret.arn, tags)
    for key, value in tags.items():
        yield secret_tags, {**owner, "tag_key": key, "tag_value": value, "mac": mac}
    for term in terms:
        yield secret_terms, {**owner, "kind": term.kind, "term": term.text}
    version = seal_version(unit, secret, version_id, ("string", f"value {number}".encode()))
    yield (
        secret_versions,
        {
            **owner,
            "version_id": version_id,
            "kind": version.kind,
            "sealed": version.sealed,
            "created_at": unit.now,
        },
    )
    mac = label_mac(unit, secret.arn, "AWSCURRENT", version_id)
    yield staging_labels, {**owner, "label": "AWSCURRENT", "version_id": version_id, "mac": mac}
