"""The MAC of one staging label, and the labels of many secrets at once for lists.

The secret's row says that it has these labels and no others (`seals`). A label's own MAC says which one was forged.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from sqlalchemy import select

from turnlock.errors import SealBroken
from turnlock.secrets.model import Secret
from turnlock.secrets.tables import named, naming, staging_labels
from turnlock.storage import HotQuery, Unit
from turnlock.storage.alarms import broken

_LABELS_OF_MANY = HotQuery(
    select(
        staging_labels.c.name, staging_labels.c.label, staging_labels.c.version_id, staging_labels.c.mac
    ).where(*named(staging_labels))
)


def label_mac(unit: Unit, arn: str, label: str, version_id: str) -> bytes:
    """Return the MAC that a staging label's row must have."""
    # No part can hold a NUL, so the joined text has one reading.
    return unit.keyring.mac("secret-label", f"{arn}\0{label}\0{version_id}".encode())


def check_label(unit: Unit, arn: str, label: str, version_id: str, mac: bytes) -> None:
    """Raise SealBroken, with a line in the log, unless the label's MAC fits."""
    if not hmac.compare_digest(label_mac(unit, arn, label, version_id), mac):
        broken(f"The staging label {label} of {arn}", owner=arn, part=label)


def labels_of(unit: Unit, found: Sequence[Secret]) -> dict[str, dict[str, str]]:
    """Return the labels of secrets of one account and Region, by name, read in one query; names without labels are absent.

    A secret with a forged label is absent too, with a line in the log: one forged row must not hide the whole list.
    Reading that secret itself raises SealBroken.
    """
    if not found:
        return {}
    arns = {secret.name: secret.arn for secret in found}
    asked = naming(unit, found[0].account_id, found[0].region, list(arns))
    labels: dict[str, dict[str, str]] = {}
    forged: set[str] = set()
    for name, label, version_id, mac in _LABELS_OF_MANY.fresh(unit, asked):
        try:
            check_label(unit, arns[name], label, version_id, mac)
        except SealBroken:
            forged.add(name)
        labels.setdefault(name, {})[label] = version_id
    return {name: held for name, held in labels.items() if name not in forged}
