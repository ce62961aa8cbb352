"""Virtual MFA devices in their table; the seed is sealed for its device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement

from turnlock import kms
from turnlock.accounts import NO_ATTEMPTS, Attempts, mfa_devices, spoken
from turnlock.core.arn import AccountId
from turnlock.core.pages import Section
from turnlock.root_keys import Records
from turnlock.storage import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class MfaDevice:
    """One virtual device."""

    account_id: AccountId
    name: str
    path: str
    sealed_seed: bytes = field(repr=False)
    created_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    user_id: str | None = None
    """Whose it is: a user's id, or the account's for the root user; None before it was enabled."""
    enabled_at: datetime | None = None
    last_step: int = 0
    """The 30-second step whose code was taken last: a code is good once, and none before it is."""
    attempts: Attempts = NO_ATTEMPTS
    """Wrong codes, whoever's the device is."""

    @property
    def serial(self) -> str:
        """`arn:aws:iam::ACCOUNT:mfa/PATH/NAME`."""
        return f"arn:aws:iam::{self.account_id}:mfa{self.path}{self.name}"

    def evolve(self, **changes: Any) -> MfaDevice:
        """Return a copy with these members changed."""
        return replace(self, **changes)


DEVICES: Final = Records(
    mfa_devices,
    MfaDevice,
    lambda one: {"account_id": one.account_id, "name_key": spoken(one.name), "user_id": one.user_id},
)


def find_device(unit: Unit, account_id: AccountId, serial: str) -> MfaDevice | None:
    """Return the device with this serial number (an ARN), or None."""
    found = DEVICES.find(unit, account_id=account_id, name_key=spoken(serial.rpartition("/")[2]))
    return found if found is not None and found.serial == serial else None


def devices_of(unit: Unit, account_id: AccountId, user_id: str) -> list[MfaDevice]:
    """Return the devices of a user, or of the root user by the account's id, by name."""
    return DEVICES.all(unit, mfa_devices.c.account_id == account_id, mfa_devices.c.user_id == user_id)


def section_of_devices(unit: Unit, account_id: AccountId, *, enabled: bool | None) -> Section[MfaDevice]:
    """Return an account's devices by name, for a page: those that are somebody's, those that are nobody's, or all (None)."""
    where = _devices(account_id, enabled=enabled)
    return Section(
        name="Device",
        read=lambda after, most: DEVICES.behind(unit, mfa_devices.c.name_key, after, most, *where),
        key=lambda one: spoken(one.name),
    )


def count_devices(unit: Unit, account_id: AccountId, *, enabled: bool | None = None) -> int:
    """Return how many devices an account has, or has that are somebody's."""
    return DEVICES.count(unit, *_devices(account_id, enabled=enabled))


def _devices(account_id: AccountId, *, enabled: bool | None) -> Iterable[ColumnElement[bool]]:
    owner = mfa_devices.c.user_id
    found = {None: [], True: [owner.is_not(None)], False: [owner.is_(None)]}[enabled]
    return [mfa_devices.c.account_id == account_id, *found]


def seal_seed(unit: Unit, account_id: AccountId, serial: str, seed: bytes) -> bytes:
    """Return a device's seed, sealed for its serial number."""
    return kms.seal_field(unit, account_id, seed, owner=serial, part=_PART)


def seed_of(unit: Unit, device: MfaDevice) -> bytes:
    """Return a device's seed. Raises SealBroken when it is not the one that was stored."""
    return kms.unseal_field(unit, device.account_id, device.sealed_seed, owner=device.serial, part=_PART)


_PART: Final = "totp-seed"
