"""Seal the secrets of an old store, whose rows have no MAC: once, as they are.

A forger must not get a MAC by removing one. Labels got MACs of another purpose at the same time as secrets got theirs.
Hence

    1. If any secret has a MAC, or any label has one of today's purpose, the store was sealed before. A row without a MAC then lost
       it: it gets none, and reading it raises the alarm.
    2. A label, tags or a policy whose own MAC does not fit are not sealed. Reading them raises the alarm, as before.
    3. A secret that has versions has a label. One without a label lost it, and is not sealed.
    4. An old store has a label with a MAC of the old purpose. A store where no label has one is not old: its labels were removed.

A forger would need a label with a MAC of the old purpose, and would have to remove all labels written since.
"""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Table, bindparam, select, update

from turnlock.secrets.labels.store import label_mac
from turnlock.secrets.model import secret_arn
from turnlock.secrets.policy.store import policy_mac
from turnlock.secrets.seals import Holds, digest, sealed
from turnlock.secrets.tables import (
    OWNER,
    resource_policies,
    secret_tags,
    secret_versions,
    secrets,
    staging_labels,
)
from turnlock.secrets.tags.store import tags_mac
from turnlock.storage import Unit
from turnlock.storage.alarms import alarm

log = structlog.get_logger(__name__)

FORMER: Final = "staging-label"
"""The purpose of labels' MACs in a store from before."""

Owner = tuple[str, str, str]
Row = Mapping[str, Any]

_SEAL: Final = (
    update(secrets)
    .where(*(secrets.c[name] == bindparam(f"_{name}") for name in OWNER))
    .values(holds=bindparam("_holds"), mac=bindparam("_mac"))
)
_REMAKE: Final = (
    update(staging_labels)
    .where(
        *(staging_labels.c[name] == bindparam(f"_{name}") for name in OWNER),
        staging_labels.c.label == bindparam("_label"),
    )
    .values(mac=bindparam("_mac"))
)


def lacks_macs(unit: Unit) -> bool:
    """Tell whether any secret has no MAC: the store is old, or somebody removed the MAC."""
    found = select(secrets.c.name).where(secrets.c.mac.is_(None)).limit(1)
    return unit.connection.execute(found).first() is not None


def adopt(unit: Unit) -> int:
    """Seal the secrets of an old store; return how many.

    Returns None, with a line in the log, where some have lost their MAC. Harmless when another node was first.
    """
    if not lacks_macs(unit):
        return 0
    found = _by_owner(unit, secrets)
    arns = {owner: secret_arn(*owner, rows[0]["suffix"]) for owner, rows in found.items()}
    labels = _by_owner(unit, staging_labels)
    if _was_sealed(unit, arns, found, labels) or not _was_before(unit, arns, labels):
        alarm("A secret's row without a MAC", table=secrets.name)
        return 0
    tags, policies = _by_owner(unit, secret_tags), _by_owner(unit, resource_policies)
    lost = _with_versions(unit) - labels.keys()
    seals, remade = [], []
    for owner in found.keys() - lost:
        arn = arns[owner]
        good = [row for row in labels[owner] if _fits(row, _former_mac(unit, arn, row))]
        holds = Holds(
            labels=digest({row["label"]: row["version_id"] for row in good}),
            tags=_tags(unit, arn, tags[owner]),
            policy=_policy(unit, arn, policies[owner]),
        )
        written = sealed(unit, found[owner][0], holds)
        seals.append(_addressed(owner, _holds=written["holds"], _mac=written["mac"]))
        remade += [
            _addressed(owner, _label=row["label"], _mac=label_mac(unit, arn, row["label"], row["version_id"]))
            for row in good
        ]
    for statement, parameters in ((_SEAL, seals), (_REMAKE, remade)):
        if parameters:
            unit.connection.execute(statement, parameters)
    log.warning("secrets of a former release were sealed", action="secrets_sealed", count=len(seals))
    return len(seals)


def _was_sealed(
    unit: Unit,
    arns: Mapping[Owner, str],
    found: Mapping[Owner, Sequence[Row]],
    labels: Mapping[Owner, Sequence[Row]],
) -> bool:
    return any(row["mac"] is not None for rows in found.values() for row in rows) or any(
        _fits(row, label_mac(unit, arns[owner], row["label"], row["version_id"]))
        for owner, rows in labels.items()
        for row in rows
    )


def _was_before(unit: Unit, arns: Mapping[Owner, str], labels: Mapping[Owner, Sequence[Row]]) -> bool:
    return any(
        _fits(row, _former_mac(unit, arns[owner], row)) for owner, rows in labels.items() for row in rows
    )


def _former_mac(unit: Unit, arn: str, row: Row) -> bytes:
    return unit.keyring.mac(FORMER, f"{arn}\0{row['label']}\0{row['version_id']}".encode())


def _tags(unit: Unit, arn: str, rows: Sequence[Row]) -> str | None:
    tags = {row["tag_key"]: row["tag_value"] for row in rows}
    expected = tags_mac(unit, arn, tags)
    return digest(tags) if all(_fits(row, expected) for row in rows) else None


def _policy(unit: Unit, arn: str, rows: Sequence[Row]) -> str | None:
    texts = [row["policy"] for row in rows if _fits(row, policy_mac(unit, arn, row["policy"]))]
    return digest(texts[0]) if texts else None


def _fits(row: Row, expected: bytes) -> bool:
    return row["mac"] is not None and hmac.compare_digest(expected, bytes(row["mac"]))


def _by_owner(unit: Unit, table: Table) -> Mapping[Owner, list[Row]]:
    rows: defaultdict[Owner, list[Row]] = defaultdict(list)
    for row in unit.connection.execute(select(table)).mappings():
        rows[row["account_id"], row["region"], row["name"]].append(dict(row))
    return rows


def _with_versions(unit: Unit) -> set[Owner]:
    owners = select(*(secret_versions.c[name] for name in OWNER)).distinct()
    return {(row.account_id, row.region, row.name) for row in unit.connection.execute(owners)}


def _addressed(owner: Owner, **values: object) -> dict[str, object]:
    return {**{f"_{name}": value for name, value in zip(OWNER, owner, strict=True)}, **values}
