"""From a SecretId to the secret: for the gate, where an absent secret is no error, and for the actions, where it is."""

from __future__ import annotations

from turnlock.core.action import Request, Subject
from turnlock.core.call import Call
from turnlock.errors import InvalidParameterException, InvalidRequestException, ResourceNotFoundException
from turnlock.secrets.conditions import stands_for_none, subject_of, subject_of_absent
from turnlock.secrets.model import Secret, SecretReference, parse_secret_id
from turnlock.secrets.store import find_secret
from turnlock.storage import Unit


def secret_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return the gate's subject for a SecretId; of an absent secret it has only the SecretId.

    Raises ValidationException for a name that no secret can have, whatever the operation.
    """
    if stands_for_none(request["SecretId"]):
        return subject_of_absent(call, request, unit)
    try:
        secret = _find_named(call, request["SecretId"], unit)
    except InvalidParameterException:
        secret = None
    if secret is None:
        return subject_of_absent(call, request, unit)
    return subject_of(call, request, unit, secret)


def _find_named(call: Call, secret_id: str, unit: Unit) -> Secret | None:
    """Return the secret that a SecretId names in the caller's account and Region.

    Raises InvalidParameterException and ValidationException as `parse_secret_id` does.
    """
    account_id, region = call.account_id, call.region
    return unit.derived(
        ("secret id", account_id, region, secret_id),
        lambda: _find(unit, parse_secret_id(secret_id, account_id, region)),
    )


def _find(unit: Unit, reference: SecretReference) -> Secret | None:
    """Return the secret that a caller's reference names: by its full ARN, else by a partial one of a name that ends like a suffix."""
    found = find_secret(unit, reference)
    partial = reference.partial if found is None else None
    return found if partial is None else find_secret(unit, partial)


def require_secret(call: Call, request: Request, unit: Unit) -> Secret:
    """Return the secret that SecretId names, also one scheduled for deletion. Raises ResourceNotFoundException."""
    secret = _find_named(call, request["SecretId"], unit)
    if secret is None or (secret.account_id, secret.region) != (call.account_id, call.region):
        raise ResourceNotFoundException
    return secret


def require_living(call: Call, request: Request, unit: Unit) -> Secret:
    """Return the secret that SecretId names; InvalidRequestException when it is scheduled for deletion."""
    secret = require_secret(call, request, unit)
    if secret.deleted_at is not None:
        raise InvalidRequestException(
            "You can't perform this operation on the secret because it was marked for deletion."
        )
    return secret


def primary_of(unit: Unit, replica: Secret) -> Secret | None:
    """Return a replica's primary; None for a secret that is no replica, or whose primary is gone."""
    if not replica.is_replica or replica.primary_region is None:
        return None
    reference = SecretReference(
        account_id=replica.account_id,
        region=replica.primary_region,
        name=replica.name,
        suffix=replica.suffix,
    )
    return find_secret(unit, reference)


def require_writable(call: Call, request: Request, unit: Unit) -> Secret:
    """Return the secret that SecretId names, to be changed: neither scheduled for deletion nor a replica.

    Raises InvalidParameterException for a replica: users of AWS catch this code (docs/decisions/0009).
    """
    secret = require_living(call, request, unit)
    if secret.is_replica:
        raise replica_refusal()
    return secret


def replica_refusal() -> InvalidParameterException:
    """Return the error for a change that was asked of a replica."""
    return InvalidParameterException(
        "Operation not permitted on a replica secret. Call must be made in primary secret's region."
    )
