"""The MAC of single staging labels, and the labels of many secrets at once, as lists show them.

That a secret has these labels and no others, its row says (`seals`); a label's own MAC tells which one was forged.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from sqlalchemy import select

from turnlock.errors import SealBroken
from turnlock.keys.alarms import broken
from turnlock.secrets.model import Secret
from turnlock.secrets.tables import staging_labels
from turnlock.storage import Unit


def label_mac(unit: Unit, arn: str, label: str, version_id: str) -> bytes:
    """Return the MAC that a staging label's row must have."""
    # No part can hold a NUL, so the joined text has one reading.
    return unit.keyring.mac("secret-label", f"{arn}\0{label}\0{version_id}".encode())


def check_label(unit: Unit, arn: str, label: str, version_id: str, mac: bytes) -> None:
    """Raise SealBroken, with a line in the log, unless a label is where this server put it."""
    if not hmac.compare_digest(label_mac(unit, arn, label, version_id), mac):
        broken(f"The staging label {label} of {arn}", owner=arn, part=label)


def labels_of(unit: Unit, found: Sequence[Secret]) -> list[Secret]:
    """Return the secrets of one account and Region with their labels, read in one query.

    A secret with a forged label comes without labels, and with a line in the log: one row does not hide an account's whole list,
    and whoever asks for the secret itself gets the error.
    """
    if not found:
        return []
    rows = unit.connection.execute(
        select(staging_labels).where(
            staging_labels.c.account_id == found[0].account_id,
            staging_labels.c.region == found[0].region,
            staging_labels.c.name.in_([secret.name for secret in found]),
        )
    ).all()
    by_name: dict[str, dict[str, str]] = {}
    forged: set[str] = set()
    arns = {secret.name: secret.arn for secret in found}
    for row in rows:
        try:
            check_label(unit, arns[row.name], row.label, row.version_id, row.mac)
        except SealBroken:
            forged.add(row.name)
        by_name.setdefault(row.name, {})[row.label] = row.version_id
    return [
        secret.evolve(labels={} if secret.name in forged else by_name.get(secret.name, {}))
        for secret in found
    ]
