"""Deleting secrets: at once, or after a recovery window by a job in the outbox."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from turnlock import kms, trail
from turnlock.core.action import Answer, Request
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call
from turnlock.errors import InvalidParameterException, InvalidRequestException, ResourceNotFoundException
from turnlock.secrets.lookup import replica_refusal, require_secret
from turnlock.secrets.model import Secret, SecretReference
from turnlock.secrets.ownership import refuse_managed
from turnlock.secrets.replication.store import replicas_of
from turnlock.secrets.store import delete_secret as delete_row
from turnlock.secrets.store import find_secret, update_secret, version_ids
from turnlock.secrets.values.changes import SecretDoomed, SecretRestored
from turnlock.storage import Unit, outbox

PURGE = "secrets.purge"
"""The outbox job that deletes a secret whose recovery window is over."""

_SHORTEST_DAYS, _LONGEST_DAYS = 7, 30


class _Purge(msgspec.Struct):
    name: str
    suffix: str


def delete_secret(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteSecret: schedule the deletion after 7 to 30 days (30 by default), or delete at once.

    With ForceDeleteWithoutRecovery an absent secret is no error (API reference).
    """
    forced = request.get("ForceDeleteWithoutRecovery", False)
    days = request.get("RecoveryWindowInDays")
    if forced and days is not None:
        raise InvalidParameterException(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."
        )
    if days is not None and not _SHORTEST_DAYS <= days <= _LONGEST_DAYS:
        raise InvalidParameterException(
            f"The RecoveryWindowInDays value must be between {_SHORTEST_DAYS} and {_LONGEST_DAYS} days (inclusive)."
        )
    try:
        secret = require_secret(call, request, unit)
    except ResourceNotFoundException:
        if not forced:
            raise
        return {"ARN": request["SecretId"], "Name": request["SecretId"], "DeletionDate": unit.now}
    _refuse_linked(unit, secret)
    refuse_managed(call, secret)
    if forced:
        return delete_now(unit, secret)
    if secret.deleted_at is not None:
        raise InvalidRequestException(
            "You can't perform this operation on the secret because it was already scheduled for deletion."
        )
    return _schedule(unit, secret, days if days is not None else _LONGEST_DAYS)


def restore_secret(call: Call, request: Request, unit: Unit) -> Answer:
    """RestoreSecret: take back a scheduled deletion; without one nothing changes.

    The purge job stays in the outbox. It deletes nothing while the secret lives, or while its recovery window has not
    ended.
    """
    secret = require_secret(call, request, unit)
    if secret.deleted_at is not None:
        secret = secret.evolve(deleted_at=None, deletion_at=None, last_changed_at=unit.now)
        update_secret(unit, secret)
        _record(unit, secret, "CancelSecretVersionDelete")
        unit.announce(SecretRestored(secret=secret))
    return {"ARN": secret.arn, "Name": secret.name}


def purge(unit: Unit, account_id: AccountId, region: Region, sealed_payload: bytes) -> None:
    """Carry out a PURGE job. A secret that was restored or is gone is left alone, so a repeated job is harmless."""
    payload = kms.unseal_field(unit, account_id, sealed_payload, owner=PURGE, part=region)
    job = msgspec.json.decode(payload, type=_Purge)
    secret = find_secret(
        unit, SecretReference(account_id=account_id, region=region, name=job.name, suffix=job.suffix)
    )
    if secret is not None and secret.deletion_at is not None and secret.deletion_at <= unit.now:
        _remove(unit, secret)


def delete_now(unit: Unit, secret: Secret) -> Answer:
    """Delete a secret for good, record and announce it; return DeleteSecret's answer."""
    if secret.deleted_at is None:
        _record(unit, secret, "StartSecretVersionDelete")
        unit.announce(SecretDoomed(secret=secret))
    _remove(unit, secret)
    return {"ARN": secret.arn, "Name": secret.name, "DeletionDate": unit.now}


def _refuse_linked(unit: Unit, secret: Secret) -> None:
    """Refuse a replica, which only its primary deletes, and a primary that still has replicas."""
    if secret.is_replica:
        raise replica_refusal()
    if secret.has_replicas:
        regions = ", ".join(replica.region for replica in replicas_of(unit, secret))
        raise InvalidParameterException(
            f"You can't delete secret {secret.arn} that still has replica regions [{regions}]"
        )


def _schedule(unit: Unit, secret: Secret, days: int) -> Answer:
    doomed = secret.evolve(
        deleted_at=unit.now, deletion_at=unit.now + timedelta(days=days), last_changed_at=unit.now
    )
    update_secret(unit, doomed)
    payload = msgspec.json.encode(_Purge(name=secret.name, suffix=secret.suffix))
    outbox.queue(
        unit,
        secret.account_id,
        secret.region,
        kind=PURGE,
        sealed_payload=kms.seal_field(unit, secret.account_id, payload, owner=PURGE, part=secret.region),
        due_at=unit.now + timedelta(days=days),
    )
    _record(unit, secret, "StartSecretVersionDelete")
    unit.announce(SecretDoomed(secret=doomed))
    return {"ARN": secret.arn, "Name": secret.name, "DeletionDate": doomed.deletion_at}


def _remove(unit: Unit, secret: Secret) -> None:
    _record(unit, secret, "EndSecretVersionDelete")
    delete_row(unit, secret)


def _record(unit: Unit, secret: Secret, name: str) -> None:
    """Record a service event for each version (the mapping is not documented: docs/decisions)."""
    for version_id in version_ids(unit, secret):
        trail.record_service_event(
            unit,
            account_id=secret.account_id,
            region=secret.region,
            name=name,
            secret_arn=secret.arn,
            request_id=f"{name}-{secret.arn}-{version_id}",
        )
