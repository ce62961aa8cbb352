"""EnableKey, DisableKey, UpdateKeyDescription, and the deletion of a key after a waiting period."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import msgspec

from turnlock.core.action import Answer, Request
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call
from turnlock.errors import KMSInvalidStateException, ValidationException
from turnlock.kms import store
from turnlock.kms.cryptography.sealing import seal_field, unseal_field
from turnlock.kms.lookup import ADMINISTERED, require_customers, require_lasting
from turnlock.kms.model import KeyState, KmsKey
from turnlock.kms.rotation import await_rotation
from turnlock.storage import Unit, outbox

DESTROY: Final = "kms.destroy"
"""The outbox job that deletes a key whose waiting period is over."""

SHORTEST_WAIT, LONGEST_WAIT = 7, 30
"""Days of a waiting period (API reference, ScheduleKeyDeletion)."""


def enable_key(call: Call, request: Request, unit: Unit) -> Answer:
    """EnableKey: the key can be used again. A rotation that became due meanwhile follows."""
    key = _changeable(call, request, unit).evolve(state=KeyState.ENABLED)
    store.update_key(unit, key)
    await_rotation(unit, key)
    return {}


def disable_key(call: Call, request: Request, unit: Unit) -> Answer:
    """DisableKey: from the next request on, the key cannot be used."""
    key = _changeable(call, request, unit)
    store.update_key(unit, key.evolve(state=KeyState.DISABLED))
    return {}


def update_key_description(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateKeyDescription."""
    key = _changeable(call, request, unit)
    if "\0" in request["Description"]:
        raise ValidationException("Description must not contain the null character.")
    store.update_key(unit, key.evolve(description=request["Description"]))
    return {}


def schedule_key_deletion(call: Call, request: Request, unit: Unit) -> Answer:
    """ScheduleKeyDeletion: the key cannot be used from now on; it is deleted with its materials after the waiting period.

    Raises ValidationException for a period outside 7 to 30 days, KMSInvalidStateException for a key whose deletion is
    scheduled already.
    """
    key = _changeable(call, request, unit)
    days = int(request.get("PendingWindowInDays", LONGEST_WAIT))
    if not SHORTEST_WAIT <= days <= LONGEST_WAIT:
        raise ValidationException(
            f"PendingWindowInDays must be between {SHORTEST_WAIT} and {LONGEST_WAIT} days."
        )
    doomed = key.evolve(
        state=KeyState.PENDING_DELETION, deletion_at=unit.now + timedelta(days=days), pending_days=days
    )
    store.update_key(unit, doomed)
    _queue_destruction(unit, doomed)
    return {
        "KeyId": doomed.arn,
        "DeletionDate": doomed.deletion_at,
        "KeyState": doomed.state.value,
        "PendingWindowInDays": days,
    }


def cancel_key_deletion(call: Call, request: Request, unit: Unit) -> Answer:
    """CancelKeyDeletion: the key is disabled and not deleted. Raises KMSInvalidStateException where no deletion is scheduled."""
    key = ADMINISTERED.require(call, request, unit)
    if key.state is not KeyState.PENDING_DELETION:
        raise KMSInvalidStateException(f"{key.arn} is not pending deletion.")
    saved = key.evolve(state=KeyState.DISABLED, deletion_at=None, pending_days=None)
    store.update_key(unit, saved)
    return {"KeyId": saved.arn}


def destroy(unit: Unit, account_id: AccountId, region: Region, sealed_payload: bytes) -> None:
    """Carry out a DESTROY job: delete a key whose waiting period is over.

    Harmless when repeated, and after CancelKeyDeletion: the key's row says whether and when it is deleted.
    """
    payload = unseal_field(unit, account_id, sealed_payload, owner=DESTROY, part=region)
    key = store.find_key(unit, account_id, region, msgspec.json.decode(payload, type=str))
    if key is None or key.state is not KeyState.PENDING_DELETION or key.deletion_at is None:
        return
    if key.deletion_at <= unit.now:
        store.delete_key(unit, key)


def _changeable(call: Call, request: Request, unit: Unit) -> KmsKey:
    key = ADMINISTERED.require(call, request, unit)
    require_customers(key)
    require_lasting(key)
    return key


def _queue_destruction(unit: Unit, key: KmsKey) -> None:
    assert key.deletion_at is not None
    payload = msgspec.json.encode(key.key_id)
    outbox.queue(
        unit,
        key.account_id,
        key.region,
        kind=DESTROY,
        sealed_payload=seal_field(unit, key.account_id, payload, owner=DESTROY, part=key.region),
        due_at=key.deletion_at,
    )
