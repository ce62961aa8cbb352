"""The tables of this room with a MAC under the root key: a rotation of the root key makes them anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Select, Table, and_, select

from turnlock.root_keys import RootMacs, row_macs
from turnlock.secrets.labels.store import label_mac
from turnlock.secrets.model import secret_arn
from turnlock.secrets.policy.store import policy_mac
from turnlock.secrets.seals import row_mac
from turnlock.secrets.tables import (
    OWNER,
    REPLICA_ROWS,
    VERSION_ROWS,
    resource_policies,
    secret_tags,
    secrets,
    staging_labels,
)
from turnlock.secrets.tags.store import tags_mac
from turnlock.storage import Unit


def _label_mac(unit: Unit, row: Mapping[str, Any]) -> bytes:
    return label_mac(unit, _arn(row), row["label"], row["version_id"])


def _policy_mac(unit: Unit, row: Mapping[str, Any]) -> bytes:
    return policy_mac(unit, _arn(row), row["policy"])


def _tags_mac(unit: Unit, row: Mapping[str, Any]) -> bytes:
    """Return the MAC of a tag's row, which covers the secret's other tags too."""
    here = [secret_tags.c[name] == row[name] for name in OWNER]
    statement = select(secret_tags.c.tag_key, secret_tags.c.tag_value).where(*here)
    tags = {one.tag_key: one.tag_value for one in unit.connection.execute(statement)}
    return tags_mac(unit, _arn(row), tags)


def _with_suffix(table: Table) -> Select[Any]:
    of_secret = and_(*(table.c[name] == secrets.c[name] for name in OWNER))
    return select(*table.c, secrets.c.suffix).join(secrets, of_secret)


def _arn(row: Mapping[str, Any]) -> str:
    return secret_arn(row["account_id"], row["region"], row["name"], row["suffix"])


MACS: Final = (
    RootMacs(table=secrets, mac_of=row_mac),
    RootMacs(table=staging_labels, mac_of=_label_mac, rows=_with_suffix(staging_labels)),
    RootMacs(table=secret_tags, mac_of=_tags_mac, rows=_with_suffix(secret_tags)),
    *row_macs(VERSION_ROWS, REPLICA_ROWS),
    RootMacs(table=resource_policies, mac_of=_policy_mac, rows=_with_suffix(resource_policies)),
)
