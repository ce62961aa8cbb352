"""Copying primaries to their replicas: what queues a copy, and the job that makes it.

A change marks the primary's replicas as behind and queues a job, in the same transaction. The job does not know what
changed: it reads the present state of the primary and copies it. Hence

    1. a job may run twice, late or out of order: it never brings back an older state;
    2. many quick changes become one copy: for a replica that is InProgress a job is already queued;
    3. each change raises the generation of the row that the job will write. A job and a change at the same time conflict
       in the store, and the loser runs again on the new state.
"""

from __future__ import annotations

from functools import partial

import msgspec

from turnlock import kms, trail
from turnlock.core.arn import AccountId, Region
from turnlock.errors import ApiError, SealBroken
from turnlock.secrets.model import Secret
from turnlock.secrets.policy.store import find_policy
from turnlock.secrets.replication.other_region import OtherRegion
from turnlock.secrets.replication.store import (
    Replica,
    ReplicaLink,
    ReplicaStatus,
    ReplicaTarget,
    Snapshot,
    delete_replica,
    find_replica,
    insert_replica,
    replicas_of,
    update_replica,
    version_heads,
)
from turnlock.secrets.store import find_secret, find_version
from turnlock.secrets.tags.store import find_tags
from turnlock.secrets.values.changes import SecretChanged
from turnlock.secrets.values.content import open_value
from turnlock.storage import Unit, outbox
from turnlock.storage.unit import Subscribers

REPLICATE = "secrets.replicate"
"""The outbox job that copies to one replica, or removes it."""


class _Job(msgspec.Struct):
    name: str
    suffix: str
    replica_region: str


def begin_replica(unit: Unit, primary: Secret, replica: Replica) -> None:
    """Write the row of a requested replica, and queue its copy."""
    present = find_replica(unit, primary, replica.region)
    if present is None:
        insert_replica(unit, primary, replica)
    else:
        update_replica(unit, primary, replica, was=present)
    _queue(unit, ReplicaLink.of(primary, replica.region))
    _record(unit, primary, replica, "ReplicationStarted")


def end_replica(unit: Unit, primary: Secret, region: Region) -> None:
    """Delete the primary's row of a replica; a queued job deletes the replica in its Region."""
    delete_replica(unit, primary, region)
    _queue(unit, ReplicaLink.of(primary, region))


def follow(unit: Unit, event: SecretChanged) -> None:
    """Mark a primary's replicas as behind, and queue a copy for each that was not behind before."""
    primary = event.secret
    # Once is enough: the job reads what the whole transaction left.
    memo = ("replicas behind", primary.arn)
    if not primary.has_replicas or memo in unit.memo:
        return
    unit.memo[memo] = True
    for replica in replicas_of(unit, primary):
        update_replica(unit, primary, replica.behind(), was=replica)
        if replica.status is not ReplicaStatus.IN_PROGRESS:
            _queue(unit, ReplicaLink.of(primary, replica.region))
            _record(unit, primary, replica, "ReplicationStarted")


SUBSCRIBERS: Subscribers = {SecretChanged: (follow,)}
"""Subscriptions of replication; `app` registers them."""


def replicate(unit: Unit, account_id: AccountId, region: Region, sealed_payload: bytes) -> None:
    """Carry out a REPLICATE job on this deployment's other Regions; harmless when repeated (see `reconcile`)."""
    payload = kms.unseal_field(unit, account_id, sealed_payload, owner=REPLICATE, part=region)
    job = msgspec.json.decode(payload, type=_Job)
    link = ReplicaLink(
        account_id=account_id,
        primary_region=region,
        name=job.name,
        suffix=job.suffix,
        region=Region(job.replica_region),
    )
    reconcile(unit, link, OtherRegion(unit))


def reconcile(unit: Unit, link: ReplicaLink, target: ReplicaTarget) -> None:
    """Copy to a replica, or remove it, as its primary's row says; nothing when an earlier job did it."""
    primary = find_secret(unit, link.reference(link.primary_region))
    replica = None if primary is None else find_replica(unit, primary, link.region)
    if primary is None or replica is None:
        target.remove(link)
    elif replica.status is ReplicaStatus.IN_PROGRESS:
        _copy(unit, primary, replica, target)


def _copy(unit: Unit, primary: Secret, replica: Replica, target: ReplicaTarget) -> None:
    """Make one copy and write its result; a copy that is refused leaves nothing behind."""
    try:
        with unit.savepoint():
            target.write(_snapshot(unit, primary, replica))
    except (ApiError, SealBroken) as error:
        update_replica(unit, primary, replica.refused(error.message), was=replica)
        _record(unit, primary, replica, "ReplicationFailed", error=error.message)
    else:
        update_replica(unit, primary, replica.copied(), was=replica)
        _record(unit, primary, replica, "ReplicationSucceeded")


def _snapshot(unit: Unit, primary: Secret, replica: Replica) -> Snapshot:
    return Snapshot(
        primary=primary,
        replica=replica,
        tags=find_tags(unit, primary),
        policy=find_policy(unit, primary),
        versions=version_heads(unit, primary),
        open=partial(_open, unit, primary),
    )


def _open(unit: Unit, primary: Secret, version_id: str) -> bytes | None:
    version = find_version(unit, primary, version_id)
    return None if version is None else open_value(unit, primary, version)


def _queue(unit: Unit, link: ReplicaLink) -> None:
    job = _Job(name=link.name, suffix=link.suffix, replica_region=link.region)
    outbox.queue(
        unit,
        link.account_id,
        link.primary_region,
        kind=REPLICATE,
        sealed_payload=kms.seal_field(
            unit, link.account_id, msgspec.json.encode(job), owner=REPLICATE, part=link.primary_region
        ),
        due_at=unit.now,
    )


def _record(unit: Unit, primary: Secret, replica: Replica, name: str, error: str | None = None) -> None:
    trail.record_service_event(
        unit,
        account_id=primary.account_id,
        region=primary.region,
        name=name,
        secret_arn=primary.arn,
        request_id=f"Replication-{primary.arn}-{replica.region}",
        error=error,
    )
