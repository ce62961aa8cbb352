"""Virtual MFA devices: making, enabling, resynchronising and taking away; and taking a code of one."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from threading import Lock
from typing import Final
from urllib.parse import quote

from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.arn import AccountId
from turnlock.core.call import Call, PrincipalKind
from turnlock.errors import (
    AccessDeniedException,
    DeleteConflictException,
    EntityAlreadyExistsException,
    InvalidAuthenticationCodeException,
    LimitExceededException,
    NoSuchEntityException,
)
from turnlock.identity.iam.devices_store import (
    DEVICES,
    MfaDevice,
    devices_of,
    find_device,
    seal_seed,
    seed_of,
)
from turnlock.identity.iam.lookup import (
    conditions,
    identity_subject,
    named_identity,
    tags_in,
)
from turnlock.identity.iam.model import Kind
from turnlock.identity.iam.one_time_codes import (
    SEED_BYTES,
    STEP_SECONDS,
    accepted_pair,
    accepted_step,
)
from turnlock.identity.iam.pages import page
from turnlock.identity.iam.shown import identity_members, tag_members
from turnlock.identity.iam.store import identities_by_id
from turnlock.storage import Unit

MOST_DEVICES: Final = 8
"""Devices of one user (IAM user guide, quotas)."""
TRIES: Final = 5
"""Wrong codes that a process takes for one device in REST; then it takes none until REST is over."""
REST: Final = timedelta(minutes=5)

_REFUSED: Final = "MultiFactorAuthentication failed with invalid MFA one time pass code. "


class Tries:
    """Counts wrong codes by device, so that a code of six digits cannot be guessed. Any thread may count."""

    def __init__(self) -> None:
        self._wrong: dict[bytes, list[datetime]] = {}
        """By the sealed seed: another device of the same name is another."""
        self._lock = Lock()

    def exhausted(self, device: MfaDevice, now: datetime) -> bool:
        """Tell whether a device takes no code now."""
        with self._lock:
            recent = [at for at in self._wrong.get(device.sealed_seed, ()) if at > now - REST]
            self._wrong[device.sealed_seed] = recent
            return len(recent) >= TRIES

    def note(self, device: MfaDevice, now: datetime) -> None:
        """Count a wrong code."""
        with self._lock:
            self._wrong.setdefault(device.sealed_seed, []).append(now)


_TRIES: Final = Tries()


def take_code(call: Call, request: Request, unit: Unit) -> datetime | None:
    """Take the TokenCode of a request, if it has one, of the caller's own device; return when, None without one.

    The code is used up with it. Raises AccessDeniedException for a wrong, an old or a used code, and for a device that is
    not the caller's.
    """
    if "SerialNumber" not in request and "TokenCode" not in request:
        return None
    device = _own_device(call, request, unit)
    if device is None or _TRIES.exhausted(device, unit.now):
        raise AccessDeniedException(_REFUSED)
    step = _step(unit, device, request)
    if step is None:
        _TRIES.note(device, unit.now)
        raise AccessDeniedException(_REFUSED)
    DEVICES.replace(unit, device, device.evolve(last_step=step))
    return unit.now


def code_holds(call: Call, request: Request, unit: Unit) -> bool:
    """Tell whether take_code would take the code, without using it up: for the gate."""
    device = _own_device(call, request, unit)
    return device is not None and _step(unit, device, request) is not None


def _own_device(call: Call, request: Request, unit: Unit) -> MfaDevice | None:
    device = find_device(unit, call.principal.account_id, request.get("SerialNumber", ""))
    return device if device is not None and device.user_id == call.principal.principal_id else None


def _step(unit: Unit, device: MfaDevice, request: Request) -> int | None:
    return accepted_step(seed_of(unit, device), request.get("TokenCode", ""), unit.now, device.last_step)


def create_virtual_mfa_device(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateVirtualMFADevice: the one answer that shows the seed.

    QRCodePNG holds the `otpauth:` address that a picture would show, as text: this server draws no pictures.
    """
    name, path = request["VirtualMFADeviceName"], request.get("Path", "/")
    seed = unit.entropy.bytes(SEED_BYTES)
    device = MfaDevice(
        account_id=call.account_id,
        name=name,
        path=path,
        sealed_seed=b"",
        created_at=unit.now,
        tags=tags_in(request),
    )
    device = device.evolve(sealed_seed=seal_seed(unit, call.account_id, device.serial, seed))
    taken = EntityAlreadyExistsException("MFADevice entity at the same path and name already exists.")
    DEVICES.insert(unit, device, taken=taken)
    shown = base64.b32encode(seed)
    return {
        "VirtualMFADevice": {
            "SerialNumber": device.serial,
            "Base32StringSeed": shown,
            "QRCodePNG": _address(device, shown.decode()).encode(),
            "Tags": tag_members(device.tags) or None,
        }
    }


def _address(device: MfaDevice, seed: str) -> str:
    label = quote(f"Turnlock:{device.name}@{device.account_id}", safe=":")
    return f"otpauth://totp/{label}?secret={seed}&issuer=Turnlock&period={STEP_SECONDS}"


def enable_mfa_device(call: Call, request: Request, unit: Unit) -> Answer:
    """EnableMFADevice: with two codes in a row. Raises InvalidAuthenticationCodeException."""
    user = named_identity(call, request, unit, Kind.USER)
    device = _device(call, request, unit)
    if device.user_id is not None:
        raise EntityAlreadyExistsException("MFA Device is already in use.")
    if len(devices_of(unit, call.account_id, user.id)) >= MOST_DEVICES:
        raise LimitExceededException(f"Cannot exceed quota for MFADevicesPerUser: {MOST_DEVICES}")
    step = _pair(unit, device, request)
    changed = device.evolve(user_id=user.id, enabled_at=unit.now, last_step=step)
    DEVICES.replace(unit, device, changed)
    return {}


def resync_mfa_device(call: Call, request: Request, unit: Unit) -> Answer:
    """ResyncMFADevice: with two codes in a row. Raises InvalidAuthenticationCodeException."""
    device = _enabled(call, request, unit)
    DEVICES.replace(unit, device, device.evolve(last_step=_pair(unit, device, request)))
    return {}


def deactivate_mfa_device(call: Call, request: Request, unit: Unit) -> Answer:
    """DeactivateMFADevice: it is nobody's from now on."""
    device = _enabled(call, request, unit)
    DEVICES.replace(unit, device, device.evolve(user_id=None, enabled_at=None))
    return {}


def delete_virtual_mfa_device(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteVirtualMFADevice. Raises DeleteConflictException while it is somebody's."""
    device = _device(call, request, unit)
    if device.user_id is not None:
        raise DeleteConflictException("MFA VirtualDevice in use. Must deactivate first.")
    DEVICES.delete(unit, device)
    return {}


def list_mfa_devices(call: Call, request: Request, unit: Unit) -> Answer:
    """ListMFADevices: a user's, or the caller's own."""
    root = call.principal.kind is PrincipalKind.ROOT and "UserName" not in request
    user = None if root else named_identity(call, request, unit, Kind.USER)
    found = devices_of(unit, call.account_id, call.account_id if user is None else user.id)
    name = "root" if user is None else user.name
    return page(
        request,
        found,
        lambda one: one.serial,
        "MFADevices",
        lambda one: {"UserName": name, "SerialNumber": one.serial, "EnableDate": one.enabled_at},
    )


def list_virtual_mfa_devices(call: Call, request: Request, unit: Unit) -> Answer:
    """ListVirtualMFADevices: by AssignmentStatus."""
    wanted = {"Assigned": (True,), "Unassigned": (False,)}.get(
        request.get("AssignmentStatus", "Any"), (True, False)
    )
    found = [one for one in devices_of(unit, call.account_id) if (one.user_id is not None) in wanted]
    owners = identities_by_id(unit, call.account_id, [one.user_id for one in found if one.user_id])
    users = {user.id: identity_members(user, whole=False) for user in owners}
    return page(
        request,
        found,
        lambda one: one.serial,
        "VirtualMFADevices",
        lambda one: {
            "SerialNumber": one.serial,
            "User": users.get(one.user_id or ""),
            "EnableDate": one.enabled_at,
        },
    )


def get_mfa_device(call: Call, request: Request, unit: Unit) -> Answer:
    """GetMFADevice."""
    device = _enabled(call, request, unit)
    owners = identities_by_id(unit, call.account_id, [device.user_id or ""])
    return {
        "UserName": owners[0].name if owners else None,
        "SerialNumber": device.serial,
        "EnableDate": device.enabled_at,
    }


def _device(call: Call, request: Request, unit: Unit) -> MfaDevice:
    device = find_device(unit, call.account_id, request["SerialNumber"])
    if device is None:
        raise NoSuchEntityException(
            f"VirtualMFADevice with serial number {request['SerialNumber']} doesn't exist."
        )
    return device


def _enabled(call: Call, request: Request, unit: Unit) -> MfaDevice:
    """Return a device of the user that is named, or of the caller. Raises NoSuchEntityException."""
    device = _device(call, request, unit)
    owner = _owner_id(call.account_id, call, request, unit)
    if device.user_id is None or device.user_id != owner:
        raise NoSuchEntityException("MFA Device is not associated with this user.")
    return device


def _owner_id(account_id: AccountId, call: Call, request: Request, unit: Unit) -> str:
    if "UserName" not in request and call.principal.kind is PrincipalKind.ROOT:
        return account_id
    return named_identity(call, request, unit, Kind.USER).id


def _pair(unit: Unit, device: MfaDevice, request: Request) -> int:
    if _TRIES.exhausted(device, unit.now):
        raise InvalidAuthenticationCodeException
    first, second = request["AuthenticationCode1"], request["AuthenticationCode2"]
    step = accepted_pair(seed_of(unit, device), first, second, unit.now, device.last_step)
    if step is None:
        _TRIES.note(device, unit.now)
        raise InvalidAuthenticationCodeException
    return step


def _device_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return what a call about a SerialNumber is about."""
    serial = request["SerialNumber"]
    device = find_device(unit, call.account_id, serial)
    tags = {} if device is None else device.tags
    return Subject(arn=serial, named=serial, conditions=lambda: conditions(request, tags))


def _new_device_subject(call: Call, request: Request, _unit: Unit) -> Subject:
    name, path = request["VirtualMFADeviceName"], request.get("Path", "/")
    arn = f"arn:aws:iam::{call.account_id}:mfa{path}{name}"
    return Subject(arn=arn, named=arn, conditions=lambda: conditions(request))


_OF_USER: Final = identity_subject(Kind.USER)

ACTIONS: Final = (
    Action(
        name="CreateVirtualMFADevice",
        handler=create_virtual_mfa_device,
        subject=_new_device_subject,
        mutates=True,
    ),
    Action(name="DeactivateMFADevice", handler=deactivate_mfa_device, subject=_OF_USER, mutates=True),
    Action(
        name="DeleteVirtualMFADevice",
        handler=delete_virtual_mfa_device,
        subject=_device_subject,
        mutates=True,
    ),
    Action(name="EnableMFADevice", handler=enable_mfa_device, subject=_OF_USER, mutates=True),
    Action(name="GetMFADevice", handler=get_mfa_device, subject=_OF_USER, mutates=False),
    Action(name="ListMFADevices", handler=list_mfa_devices, subject=_OF_USER, mutates=False),
    Action(
        name="ListVirtualMFADevices", handler=list_virtual_mfa_devices, subject=no_resource, mutates=False
    ),
    Action(name="ResyncMFADevice", handler=resync_mfa_device, subject=_OF_USER, mutates=True),
)
