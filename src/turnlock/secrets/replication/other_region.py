"""Replicas in another Region of this deployment: rows of their own, under that Region's key.

The copy runs in the transaction of the job that asks for it, so a replica and its status change together. A value is
opened and sealed again, bound to the replica's ARN. In between it is in memory only.
"""

from __future__ import annotations

from dataclasses import replace

from turnlock import kms
from turnlock.errors import InvalidParameterException, ResourceExistsException
from turnlock.secrets.deletion import delete_now
from turnlock.secrets.model import Secret, SecretReference, Version
from turnlock.secrets.policy.store import save_policy
from turnlock.secrets.replication.store import ReplicaLink, Snapshot, VersionHead, version_heads
from turnlock.secrets.store import (
    delete_version,
    find_secret,
    insert_secret,
    insert_version,
    save_labels,
    update_secret,
)
from turnlock.secrets.tags.store import save_tags
from turnlock.secrets.values.content import seal_version
from turnlock.storage import Unit


class OtherRegion:
    """A `ReplicaTarget` in the primary's own transaction, so a snapshot is always the newest."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def write(self, snapshot: Snapshot) -> None:
        """Write the replica's rows as the snapshot says.

        Raises ResourceExistsException when another secret has the name and may not be overwritten,
        InvalidParameterException when the Region is not served, and what `kms` raises about the replica's key.
        """
        unit, wanted = self._unit, as_replica(snapshot)
        if wanted.region not in unit.regions:
            raise InvalidParameterException(f"The Region {wanted.region} is not enabled.")
        # Also where there is no value yet: a key that cannot be used is refused now and not at the first rotation.
        kms.resolve_key(unit, wanted.account_id, wanted.region, wanted.kms_key_id)
        present = self._make_room(snapshot, wanted)
        if present is not None:
            update_secret(unit, wanted.evolve(last_accessed_at=present.last_accessed_at))
        elif not insert_secret(unit, wanted):
            raise _name_taken()
        self._write_versions(snapshot, wanted)
        save_tags(unit, wanted, snapshot.tags)
        save_policy(unit, wanted, snapshot.policy)

    def remove(self, link: ReplicaLink) -> None:
        """Delete the replica, unless it is gone, was promoted, or another secret has its name."""
        replica = find_secret(self._unit, link.reference(link.region))
        if replica is not None and replica.primary_region == link.primary_region:
            delete_now(self._unit, replica)

    def _make_room(self, snapshot: Snapshot, wanted: Secret) -> Secret | None:
        """Return the existing replica; delete another secret of its name that may be overwritten."""
        reference = SecretReference(
            account_id=wanted.account_id, region=wanted.region, name=wanted.name, suffix=None
        )
        present = find_secret(self._unit, reference)
        if present is None:
            return None
        # A primary's name is unique in its Region: a replica of that name and Region is ours, or a deleted namesake's.
        ours = present.primary_region == wanted.primary_region
        if ours and present.suffix == wanted.suffix:
            return present
        linked = present.primary_region is not None
        if not ours and (linked or not snapshot.replica.overwrite):
            raise _name_taken()
        delete_now(self._unit, present)
        return None

    def _write_versions(self, snapshot: Snapshot, wanted: Secret) -> None:
        """Delete versions that the primary no longer has, add those that the replica lacks, then move the labels."""
        unit = self._unit
        labelled = find_secret(unit, ReplicaLink.of(snapshot.primary, wanted.region).reference(wanted.region))
        assert labelled is not None
        present, versions = set(version_heads(unit, wanted)), set(snapshot.versions)
        gone = {head.version_id for head in present - versions}
        kept = {label: holder for label, holder in labelled.labels.items() if holder not in gone}
        labelled = save_labels(unit, labelled, kept)
        for version_id in gone:
            delete_version(unit, labelled, version_id)
        for head in snapshot.versions:
            if head not in present:
                insert_version(unit, wanted, self._sealed(snapshot, wanted, head))
        save_labels(unit, labelled, snapshot.primary.labels)

    def _sealed(self, snapshot: Snapshot, wanted: Secret, head: VersionHead) -> Version:
        plaintext = snapshot.open(head.version_id)
        if plaintext is None or head.kind is None:
            return Version(version_id=head.version_id, created_at=head.created_at, kind=None, sealed=None)
        sealed = seal_version(self._unit, wanted, head.version_id, (head.kind, plaintext))
        return replace(sealed, created_at=head.created_at)


def as_replica(snapshot: Snapshot) -> Secret:
    """Return the replica's metadata: its primary's, except for Region and key. It shows a schedule and is never rotated."""
    primary, replica = snapshot.primary, snapshot.replica
    return primary.evolve(
        region=replica.region,
        kms_key_id=replica.kms_key_id,
        primary_region=primary.region,
        last_accessed_at=None,
        rotation=replace(primary.rotation, opens_at=None, starts_at=None),
        labels={},
    )


def _name_taken() -> ResourceExistsException:
    return ResourceExistsException("Secret with this name already exists in this region")
