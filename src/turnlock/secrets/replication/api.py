"""ReplicateSecretToRegions, RemoveRegionsFromReplication and StopReplicationToReplica, and what other actions show of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from turnlock.core.action import Answer, Request
from turnlock.core.arn import Region
from turnlock.core.call import Call
from turnlock.errors import InvalidParameterException, InvalidRequestException
from turnlock.kms import MANAGED_ALIAS
from turnlock.secrets.accesses import last_read, noted_reads
from turnlock.secrets.listing.api import day
from turnlock.secrets.lookup import primary_of, require_living, require_writable
from turnlock.secrets.model import Rotation, Secret, check_text, promoted_labels
from turnlock.secrets.replication.delivery import begin_replica, end_replica
from turnlock.secrets.replication.store import (
    Replica,
    ReplicaStatus,
    delete_replica,
    find_replica,
    replicas_of,
)
from turnlock.secrets.tables import secrets
from turnlock.secrets.values.changes import move_labels, update_secret
from turnlock.secrets.values.customer_keys import require_readable
from turnlock.storage import Unit


def replicate_secret_to_regions(call: Call, request: Request, unit: Unit) -> Answer:
    """ReplicateSecretToRegions: queue a copy to each Region.

    A Region that has a replica under the same key is copied to again: this is a repeated request, or a retry after a
    failure.
    """
    secret = require_writable(call, request, unit)
    return {"ARN": secret.arn, "ReplicationStatus": add_replicas(call, request, unit, secret)}


def remove_regions_from_replication(call: Call, request: Request, unit: Unit) -> Answer:
    """RemoveRegionsFromReplication: queue the removal of these replicas; a Region without one is no error."""
    secret = require_writable(call, request, unit)
    for region in request["RemoveReplicaRegions"]:
        if find_replica(unit, secret, region) is not None:
            end_replica(unit, secret, region)
    _unlink_if_last(unit, secret)
    return {"ARN": secret.arn, "ReplicationStatus": replication_status(unit, secret)}


def stop_replication_to_replica(call: Call, request: Request, unit: Unit) -> Answer:
    """StopReplicationToReplica: in the replica's Region, make it a secret of its own. Its rotation is configured anew.

    Raises InvalidRequestException for a secret that is no replica.
    """
    replica = require_living(call, request, unit)
    if not replica.is_replica:
        raise InvalidRequestException("The secret is not a replica: there is no replication to stop.")
    primary = primary_of(unit, replica)
    if primary is not None:
        delete_replica(unit, primary, replica.region)
        _unlink_if_last(unit, primary)
    # The function that rotates the primary is in the primary's Region, and what it had pending it will not finish here.
    promoted = replica.evolve(primary_region=None, rotation=Rotation())
    move_labels(unit, promoted, promoted_labels(replica.labels))
    return {"ARN": replica.arn}


def add_replicas(call: Call, request: Request, unit: Unit, secret: Secret) -> Sequence[Mapping[str, Any]]:
    """Queue the replicas of a request's AddReplicaRegions; return the secret's ReplicationStatus.

    Raises InvalidParameterException for a Region that is not served, is the secret's own, is named twice, or has a
    replica under another key. Raises as `require_readable` does where the caller may not open the secret's values:
    copies are under other keys.
    """
    require_readable(call, unit, secret)
    overwrite = request.get("ForceOverwriteReplicaSecret", False)
    asked = [
        Replica.asked_for(_region(unit, secret, one), _key(one), overwrite=overwrite, now=unit.now)
        for one in request["AddReplicaRegions"]
    ]
    if len({replica.region for replica in asked}) < len(asked):
        raise InvalidParameterException("A Region can be named only once in AddReplicaRegions.")
    for replica in asked:
        begin_replica(unit, secret, _asked_again(unit, secret, replica))
    if not secret.has_replicas:
        update_secret(unit, secret.evolve(primary_region=secret.region))
    return replication_status(unit, secret)


def replication_status(unit: Unit, primary: Secret) -> list[dict[str, Any]]:
    """Return the ReplicationStatus of a primary: an entry for each replica, by Region."""
    accessed = _accessed(unit, primary)
    return [
        {
            "Region": replica.region,
            "KmsKeyId": replica.kms_key_id or MANAGED_ALIAS,
            "Status": replica.status.value,
            "StatusMessage": replica.message,
            "LastAccessedDate": accessed.get(replica.region),
        }
        for replica in replicas_of(unit, primary)
    ]


def _region(unit: Unit, secret: Secret, asked: Mapping[str, Any]) -> Region:
    region = Region(asked.get("Region", ""))
    if region == secret.region or region not in unit.regions:
        raise InvalidParameterException("Invalid replica region.")
    return region


def _key(asked: Mapping[str, Any]) -> str | None:
    """Return the key of the request, None for aws/secretsmanager. The copy finds out whether it exists."""
    key = asked.get("KmsKeyId")
    if key in {None, "", MANAGED_ALIAS, "aws/secretsmanager"}:
        return None
    check_text("KmsKeyId", str(key))
    return str(key)


def _asked_again(unit: Unit, primary: Secret, asked: Replica) -> Replica:
    """Return the row of a replica that is requested, new or existing."""
    present = find_replica(unit, primary, asked.region)
    if present is None:
        return asked
    if present.kms_key_id != asked.kms_key_id and present.status is not ReplicaStatus.FAILED:
        raise InvalidParameterException(
            f"The secret is replicated to {asked.region} under another key already; change the replica's key there."
        )
    return present.behind().evolve(kms_key_id=asked.kms_key_id, overwrite=asked.overwrite)


def _unlink_if_last(unit: Unit, primary: Secret) -> None:
    """Make a primary without replicas an ordinary secret again."""
    if primary.has_replicas and not replicas_of(unit, primary):
        update_secret(unit, primary.evolve(primary_region=None))


def _accessed(unit: Unit, primary: Secret) -> dict[str, datetime | None]:
    """Return when each replica was last read, by Region, to the day."""
    rows = unit.connection.execute(
        select(secrets.c.region, secrets.c.last_accessed_at).where(
            secrets.c.account_id == primary.account_id,
            secrets.c.name == primary.name,
            secrets.c.suffix == primary.suffix,
            secrets.c.primary_region == primary.region,
        )
    )
    stored = {region: at for region, at in rows if region != primary.region}
    copies = [primary.evolve(region=region, last_accessed_at=at) for region, at in stored.items()]
    noted = noted_reads(unit, copies)
    return {copy.region: day(last_read(copy, noted)) for copy in copies}
