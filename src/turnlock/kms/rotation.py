"""Rotation of key material: periodic, on demand, and the list of rotations.

A rotation adds a material with the next number. Older ones decrypt what they encrypted for as long as the key exists.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec

from turnlock.core.action import Answer, Request
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call
from turnlock.errors import DisabledException, LimitExceededException, UnsupportedOperationException
from turnlock.kms import store
from turnlock.kms.cryptography.materials import draw_material, material_name, wrap_material
from turnlock.kms.cryptography.sealing import seal_field, unseal_field
from turnlock.kms.cryptography.specs import SPECS
from turnlock.kms.lookup import ADMINISTERED, GRANTED, PAGES, require_customers, require_lasting
from turnlock.kms.model import SYMMETRIC, KeyState, KmsKey
from turnlock.kms.store import MaterialHead
from turnlock.storage import Unit, outbox

ROTATE: Final = "kms.rotate"
"""The outbox job that rotates a key whose period is over."""

DEFAULT_DAYS: Final = 365
"""The period where none is asked for (API reference, EnableKeyRotation)."""

_NUMBERS: Final = 2**32
"""More than any material's number. Subtracting from it puts the newest first in the order of texts."""

MOST_ON_DEMAND: Final = 25
"""On-demand rotations of one key (KMS developer guide, "Resource quotas")."""


def enable_key_rotation(call: Call, request: Request, unit: Unit) -> Answer:
    """EnableKeyRotation: a new material every so many days from now; another period moves the next date."""
    key = _rotatable(call, request, unit)
    days = int(request.get("RotationPeriodInDays", key.rotation_days or DEFAULT_DAYS))
    if days == key.rotation_days:
        return {}
    changed = key.evolve(rotation_days=days, next_rotation_at=unit.now + timedelta(days=days))
    store.update_key(unit, changed)
    await_rotation(unit, changed)
    return {}


def disable_key_rotation(call: Call, request: Request, unit: Unit) -> Answer:
    """DisableKeyRotation: no further periodic rotation."""
    key = _rotatable(call, request, unit)
    store.update_key(unit, key.evolve(rotation_days=None, next_rotation_at=None))
    return {}


def get_key_rotation_status(call: Call, request: Request, unit: Unit) -> Answer:
    """GetKeyRotationStatus: false for keys that cannot be rotated, asymmetric and HMAC ones, and for AWS managed keys."""
    key = GRANTED.require(call, request, unit)
    return {
        "KeyId": key.arn,
        "KeyRotationEnabled": key.rotation_days is not None and key.state is not KeyState.PENDING_DELETION,
        "RotationPeriodInDays": key.rotation_days,
        "NextRotationDate": key.next_rotation_at,
    }


def rotate_key_on_demand(call: Call, request: Request, unit: Unit) -> Answer:
    """RotateKeyOnDemand: a new material now. Raises LimitExceededException beyond MOST_ON_DEMAND."""
    key = _rotatable(call, request, unit)
    heads = store.materials_of(unit, key)
    if sum(head.rotation_type == "ON_DEMAND" for head in heads) >= MOST_ON_DEMAND:
        raise LimitExceededException(f"A key can be rotated on demand at most {MOST_ON_DEMAND} times.")
    _add_material(unit, key, "ON_DEMAND")
    return {"KeyId": key.arn}


def list_key_rotations(call: Call, request: Request, unit: Unit) -> Answer:
    """ListKeyRotations: the newest first; with IncludeKeyMaterial=ALL_KEY_MATERIAL, the first material too."""
    key = ADMINISTERED.require(call, request, unit)
    _require_symmetric(key)
    everything = request.get("IncludeKeyMaterial") == "ALL_KEY_MATERIAL"
    heads = [head for head in store.materials_of(unit, key) if everything or head.rotation_type is not None]
    return PAGES.page(
        request,
        heads,
        lambda head: f"{_NUMBERS - head.material_id:010d}",
        "Rotations",
        lambda head: _entry(key, head),
    )


def rotate_due(unit: Unit, account_id: AccountId, region: Region, sealed_payload: bytes) -> None:
    """Carry out a ROTATE job: add a material to a key whose period is over, and queue the next job.

    Harmless when repeated: the key's row says when it is due, and a rotation moves that. A disabled key is not rotated;
    EnableKey queues the job again.
    """
    payload = unseal_field(unit, account_id, sealed_payload, owner=ROTATE, part=region)
    key = store.find_key(unit, account_id, region, msgspec.json.decode(payload, type=str))
    if key is None or key.next_rotation_at is None or key.rotation_days is None:
        return
    if key.state is KeyState.ENABLED and key.next_rotation_at <= unit.now:
        following = unit.now + timedelta(days=key.rotation_days)
        await_rotation(unit, _add_material(unit, key.evolve(next_rotation_at=following), "AUTOMATIC"))


def await_rotation(unit: Unit, key: KmsKey) -> None:
    """Queue the job that rotates a key when its period is over; nothing where it has none."""
    if key.next_rotation_at is None:
        return
    payload = msgspec.json.encode(key.key_id)
    outbox.queue(
        unit,
        key.account_id,
        key.region,
        kind=ROTATE,
        sealed_payload=seal_field(unit, key.account_id, payload, owner=ROTATE, part=key.region),
        due_at=key.next_rotation_at,
    )


def _add_material(unit: Unit, key: KmsKey, rotation_type: str) -> KmsKey:
    rotated = key.evolve(current_material=key.current_material + 1)
    store.update_key(unit, rotated)
    sealed = wrap_material(unit, rotated, draw_material(SPECS[rotated.spec], unit.entropy))
    store.insert_material(unit, rotated, sealed=sealed, rotation_type=rotation_type)
    return rotated


def _rotatable(call: Call, request: Request, unit: Unit) -> KmsKey:
    key = ADMINISTERED.require(call, request, unit)
    _require_symmetric(key)
    require_customers(key)
    if key.state is KeyState.DISABLED:
        raise DisabledException(f"{key.arn} is disabled.")
    require_lasting(key)
    return key


def _require_symmetric(key: KmsKey) -> None:
    if key.spec != SYMMETRIC:
        raise UnsupportedOperationException(
            f"{key.arn} is not a symmetric encryption key: it is not rotated."
        )


def _entry(key: KmsKey, head: MaterialHead) -> dict[str, Any]:
    current = head.material_id == key.current_material
    return {
        "KeyId": key.arn,
        "KeyMaterialId": material_name(key, head.material_id),
        "KeyMaterialState": "CURRENT" if current else "NON_CURRENT",
        "RotationDate": None if head.rotation_type is None else head.created_at,
        "RotationType": head.rotation_type,
    }
