"""Virtual MFA devices: making, enabling, resynchronising and taking away."""

from __future__ import annotations

import base64
from typing import Any, Final
from urllib.parse import quote

from turnlock.accounts import Kind, identities_by_id
from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.arn import AccountId
from turnlock.core.call import Call, PrincipalKind
from turnlock.errors import (
    ApiError,
    DeleteConflictException,
    EntityAlreadyExistsException,
    InvalidAuthenticationCodeException,
    LimitExceededException,
    NoSuchEntityException,
)
from turnlock.iam.lookup import PAGES, conditions, identity_subject, named_identity, tags_in
from turnlock.iam.mfa.codes import take_pair
from turnlock.iam.mfa.one_time_codes import SEED_BYTES, STEP_SECONDS
from turnlock.iam.mfa.store import DEVICES, MfaDevice, devices_of, find_device, seal_seed, section_of_devices
from turnlock.iam.shown import identity_members, tag_members
from turnlock.storage import Unit

MOST_DEVICES: Final = 8
"""Devices of one user (IAM user guide, quotas)."""


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


def enable_mfa_device(call: Call, request: Request, unit: Unit) -> Answer | ApiError:
    """EnableMFADevice: with two codes in a row; returns InvalidAuthenticationCodeException for others, which are counted."""
    user = named_identity(call, request, unit, Kind.USER)
    device = require_device(call, request, unit)
    if device.user_id is not None:
        raise EntityAlreadyExistsException("MFA Device is already in use.")
    if len(devices_of(unit, call.account_id, user.id)) >= MOST_DEVICES:
        raise LimitExceededException(f"Cannot exceed quota for MFADevicesPerUser: {MOST_DEVICES}")
    taken = take_pair(unit, device, request)
    if taken is None:
        return InvalidAuthenticationCodeException()
    DEVICES.replace(unit, taken, taken.evolve(user_id=user.id, enabled_at=unit.now))
    return {}


def resync_mfa_device(call: Call, request: Request, unit: Unit) -> Answer | ApiError:
    """ResyncMFADevice: with two codes in a row; returns InvalidAuthenticationCodeException for others, which are counted."""
    taken = take_pair(unit, _enabled(call, request, unit), request)
    return {} if taken is not None else InvalidAuthenticationCodeException()


def deactivate_mfa_device(call: Call, request: Request, unit: Unit) -> Answer:
    """DeactivateMFADevice: it is nobody's from now on."""
    device = _enabled(call, request, unit)
    DEVICES.replace(unit, device, device.evolve(user_id=None, enabled_at=None))
    return {}


def delete_virtual_mfa_device(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteVirtualMFADevice. Raises DeleteConflictException while it is somebody's."""
    device = require_device(call, request, unit)
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
    return PAGES.page(
        request,
        found,
        lambda one: one.serial,
        "MFADevices",
        lambda one: {"UserName": name, "SerialNumber": one.serial, "EnableDate": one.enabled_at},
    )


def list_virtual_mfa_devices(call: Call, request: Request, unit: Unit) -> Answer:
    """ListVirtualMFADevices: by AssignmentStatus."""
    enabled = {"Assigned": True, "Unassigned": False}.get(request.get("AssignmentStatus", "Any"))

    def show(_: str, one: MfaDevice) -> dict[str, Any]:
        owners = identities_by_id(unit, call.account_id, [] if one.user_id is None else [one.user_id])
        users = [identity_members(unit, user, whole=False) for user in owners]
        return {
            "SerialNumber": one.serial,
            "User": next(iter(users), None),
            "EnableDate": one.enabled_at,
        }

    section = section_of_devices(unit, call.account_id, enabled=enabled)
    return PAGES.page_of_sections(request, [section], member="VirtualMFADevices", show=show)


def get_mfa_device(call: Call, request: Request, unit: Unit) -> Answer:
    """GetMFADevice."""
    device = _enabled(call, request, unit)
    owners = identities_by_id(unit, call.account_id, [device.user_id or ""])
    return {
        "UserName": owners[0].name if owners else None,
        "SerialNumber": device.serial,
        "EnableDate": device.enabled_at,
    }


def require_device(call: Call, request: Request, unit: Unit) -> MfaDevice:
    """Return the device that a SerialNumber names. Raises NoSuchEntityException."""
    device = find_device(unit, call.account_id, request["SerialNumber"])
    if device is None:
        raise NoSuchEntityException(
            f"VirtualMFADevice with serial number {request['SerialNumber']} doesn't exist."
        )
    return device


def _enabled(call: Call, request: Request, unit: Unit) -> MfaDevice:
    """Return a device of the user that is named, or of the caller. Raises NoSuchEntityException."""
    device = require_device(call, request, unit)
    owner = _owner_id(call.account_id, call, request, unit)
    if device.user_id is None or device.user_id != owner:
        raise NoSuchEntityException("MFA Device is not associated with this user.")
    return device


def _owner_id(account_id: AccountId, call: Call, request: Request, unit: Unit) -> str:
    if "UserName" not in request and call.principal.kind is PrincipalKind.ROOT:
        return account_id
    return named_identity(call, request, unit, Kind.USER).id


def device_subject(call: Call, request: Request, unit: Unit) -> Subject:
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
        subject=device_subject,
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
