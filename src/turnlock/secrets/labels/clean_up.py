"""Removing old versions: a secret keeps about a hundred (user guide, "Secrets Manager quotas")."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select

from turnlock import trail
from turnlock.errors import LimitExceededException
from turnlock.secrets.model import MOST_VERSIONS, SHED_AFTER, Secret
from turnlock.secrets.tables import secret_versions
from turnlock.storage import Unit


def outdated(
    versions: Sequence[tuple[str, datetime]], labelled: Collection[str], *, now: datetime
) -> list[str]:
    """Return the ids to remove of versions given as (id, when made), oldest first: no more than are too many.

    None that carries a label, and none that was made less than 24 hours ago (API reference, PutSecretValue).
    """
    too_many = max(0, len(versions) - MOST_VERSIONS)
    removable = (
        version_id for version_id, made in versions if version_id not in labelled and now - made > SHED_AFTER
    )
    return [version_id for _, version_id in zip(range(too_many), removable, strict=False)]


def make_room(unit: Unit, secret: Secret) -> int:
    """Remove outdated versions, each with its service event; return how many versions are still too many.

    `secret` is the secret as it now is, the newest version inserted and its labels moved.
    """
    mine = (
        secret_versions.c.account_id == secret.account_id,
        secret_versions.c.region == secret.region,
        secret_versions.c.name == secret.name,
    )
    count = unit.connection.execute(select(func.count()).where(*mine)).scalar_one()
    if count <= MOST_VERSIONS:
        return 0
    versions = [
        (version_id, made)
        for version_id, made in unit.connection.execute(
            select(secret_versions.c.version_id, secret_versions.c.created_at)
            .where(*mine)
            .order_by(secret_versions.c.created_at, secret_versions.c.version_id)
        )
    ]
    gone = outdated(versions, frozenset(secret.labels.values()), now=unit.now)
    if gone:
        unit.connection.execute(delete(secret_versions).where(*mine, secret_versions.c.version_id.in_(gone)))
    for version_id in gone:
        trail.record_service_event(
            unit,
            account_id=secret.account_id,
            region=secret.region,
            name="SecretVersionDeletion",
            secret_arn=secret.arn,
            request_id=f"SecretVersionDeletion-{secret.arn}-{version_id}",
        )
    return len(versions) - len(gone) - MOST_VERSIONS


def require_room(unit: Unit, secret: Secret) -> None:
    """Remove outdated versions; LimitExceededException when the secret still has too many."""
    if make_room(unit, secret) > 0:
        raise LimitExceededException(
            f"A secret can have at most {MOST_VERSIONS} versions, and none can be removed that is younger than 24 hours."
        )
