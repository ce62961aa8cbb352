"""The primary's record of its replicas, what is copied to them, and the Protocol for where they are.

A row of `secret_replicas` is in the primary's Region and says what the replica should be. Between a change and its copy
its status is InProgress.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from sqlalchemy import ColumnElement, RowMapping, delete, select, update

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.model import Secret, SecretReference
from turnlock.secrets.tables import (
    REPLICA_ROWS,
    VERSION_ROWS,
    owned_by,
    owner_of,
    secret_replicas,
    secret_versions,
)
from turnlock.storage import Unit, micros


class ReplicaStatus(Enum):
    """The Status of DescribeSecret's ReplicationStatus."""

    IN_PROGRESS = "InProgress"
    """The primary has changed since the last copy; a job is in the outbox."""
    IN_SYNC = "InSync"
    """The replica is what the primary was at the row's generation."""
    FAILED = "Failed"
    """The last copy was refused, for the reason in the message; the primary's next change tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What a primary keeps of one replica."""

    region: Region
    kms_key_id: str | None
    """As the caller gave it; None for that Region's aws/secretsmanager."""
    status: ReplicaStatus
    message: str | None = None
    overwrite: bool = False
    """Whether the first copy may replace an existing secret of this name; false after that copy."""
    generation: int
    """Grows with every change that has to be copied; never used twice for one name and Region."""

    @classmethod
    def asked_for(cls, region: Region, kms_key_id: str | None, *, overwrite: bool, now: datetime) -> Replica:
        """Return a new replica.

        Its generation begins at the present time in microseconds, above those of an earlier replica in this Region.
        """
        return cls(
            region=region,
            kms_key_id=kms_key_id,
            status=ReplicaStatus.IN_PROGRESS,
            overwrite=overwrite,
            generation=micros(now),
        )

    def evolve(self, **changes: Any) -> Replica:
        """Return a copy with these fields changed."""
        return replace(self, **changes)

    def behind(self) -> Replica:
        """Return the replica after its primary changed."""
        return self.evolve(status=ReplicaStatus.IN_PROGRESS, message=None, generation=self.generation + 1)

    def copied(self) -> Replica:
        """Return the replica after its copy was made."""
        return self.evolve(status=ReplicaStatus.IN_SYNC, message="Replication succeeded", overwrite=False)

    def refused(self, reason: str) -> Replica:
        """Return the replica after its copy could not be made."""
        return self.evolve(status=ReplicaStatus.FAILED, message=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLink:
    """A replica and its primary. A job has this, for the primary's row may be gone when it runs."""

    account_id: AccountId
    primary_region: Region
    name: str
    suffix: str
    region: Region

    @classmethod
    def of(cls, primary: Secret, region: Region) -> ReplicaLink:
        """Return the link from a primary to its replica in `region`."""
        return cls(
            account_id=primary.account_id,
            primary_region=primary.region,
            name=primary.name,
            suffix=primary.suffix,
            region=region,
        )

    def reference(self, region: Region) -> SecretReference:
        """Return how the secret is named in one of the two Regions: primary and replica share their suffix."""
        return SecretReference(account_id=self.account_id, region=region, name=self.name, suffix=self.suffix)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionHead:
    """A version without its value. Content never changes, so equal heads mean equal versions."""

    version_id: str
    created_at: datetime
    kind: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A primary at one moment, for one replica."""

    primary: Secret
    replica: Replica
    tags: Mapping[str, str]
    policy: str | None
    versions: Sequence[VersionHead]
    """All of them, oldest first."""
    open: Callable[[str], bytes | None] = field(repr=False)
    """Version id → plaintext (None for a placeholder). Called only for versions that the replica lacks; the plaintext
    is not kept."""


class ReplicaTarget(Protocol):
    """Where replicas are stored: another Region of this deployment; later, another deployment."""

    def write(self, snapshot: Snapshot) -> None:
        """Write the replica as the snapshot says; the same snapshot again changes nothing.

        A target outside the primary's transaction must remember the highest generation that it got, and ignore lower
        ones. Raises an ApiError whose message DescribeSecret shows as the reason.
        """
        ...

    def remove(self, link: ReplicaLink) -> None:
        """Delete the replica at once, unless it is gone or no longer follows this primary."""
        ...


def replicas_of(unit: Unit, primary: Secret) -> list[Replica]:
    """Return a primary's replicas, by Region."""
    rows = unit.connection.execute(
        select(secret_replicas)
        .where(*owned_by(secret_replicas, primary))
        .order_by(secret_replicas.c.replica_region)
    )
    return [_replica(unit, row) for row in rows.mappings()]


def find_replica(unit: Unit, primary: Secret, region: Region) -> Replica | None:
    """Return a primary's replica in a Region, or None."""
    row = unit.connection.execute(select(secret_replicas).where(*_row(primary, region))).mappings().first()
    return None if row is None else _replica(unit, row)


def insert_replica(unit: Unit, primary: Secret, replica: Replica) -> None:
    """Insert a replica that the primary has not yet."""
    REPLICA_ROWS.insert(unit, _columns(primary, replica))


def update_replica(unit: Unit, primary: Secret, replica: Replica, *, was: Replica) -> None:
    """Write a replica, unless its generation has changed meanwhile: then the newer row stays."""
    unit.connection.execute(
        update(secret_replicas)
        .where(*_row(primary, replica.region), secret_replicas.c.generation == was.generation)
        .values(REPLICA_ROWS.sealed(unit, _columns(primary, replica)))
    )


def delete_replica(unit: Unit, primary: Secret, region: Region) -> None:
    """Delete the row of one replica."""
    unit.connection.execute(delete(secret_replicas).where(*_row(primary, region)))


def version_heads(unit: Unit, secret: Secret) -> list[VersionHead]:
    """Return a secret's versions without their values, oldest first."""
    columns = secret_versions.c
    rows = unit.connection.execute(
        select(secret_versions)
        .where(*owned_by(secret_versions, secret))
        .order_by(columns.created_at, columns.version_id)
    )
    heads = []
    for row in rows.mappings():
        VERSION_ROWS.check(unit, row)
        heads.append(
            VersionHead(version_id=row["version_id"], created_at=row["created_at"], kind=row["kind"])
        )
    return heads


def _row(primary: Secret, region: Region) -> tuple[ColumnElement[bool], ...]:
    return (*owned_by(secret_replicas, primary), secret_replicas.c.replica_region == region)


def _columns(primary: Secret, replica: Replica) -> dict[str, object]:
    return {
        **owner_of(primary),
        "replica_region": replica.region,
        "kms_key_id": replica.kms_key_id,
        "status": replica.status.value,
        "status_message": replica.message,
        "overwrite": replica.overwrite,
        "generation": replica.generation,
    }


def _replica(unit: Unit, row: RowMapping) -> Replica:
    """Return a row as a value. Raises SealBroken for one that this server did not write."""
    REPLICA_ROWS.check(unit, row)
    return Replica(
        region=row["replica_region"],
        kms_key_id=row["kms_key_id"],
        status=ReplicaStatus(row["status"]),
        message=row["status_message"],
        overwrite=row["overwrite"],
        generation=row["generation"],
    )
