"""The members of a database secret's value that this room reads; the rest is for the rotation function."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from turnlock import secrets
from turnlock.errors import ApiError
from turnlock.secrets import AWSCURRENT, Secret
from turnlock.storage import Unit

DUAL_PASSWORDS: Final = "dual-passwords"
GRACE_HOURS: Final = 24
"""How long AWSPREVIOUS stays valid beside AWSCURRENT where the secret does not say `gracePeriodHours`."""

_MOST_HOURS: Final = 999 * 24
"""The longest possible rotation schedule, in hours."""


def current_value(unit: Unit, secret: Secret) -> Mapping[str, Any]:
    """Return the JSON object under AWSCURRENT; an empty one where there is none, or the value is no JSON object."""
    current = secret.labels.get(AWSCURRENT)
    version = secrets.find_version(unit, secret, current) if current is not None else None
    if version is None:
        return {}
    try:
        value = msgspec.json.decode(secrets.open_value(unit, secret, version) or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ApiError):
        return {}
    return value if isinstance(value, dict) else {}


def text_member(value: Mapping[str, Any], name: str) -> str | None:
    """Return a member that is a text and not empty, else None."""
    member = value.get(name)
    return member if isinstance(member, str) and member else None


def grace_period(value: Mapping[str, Any], *, always: bool = False) -> timedelta | None:
    """Return how long the old one of two passwords stays valid; None where the strategy has no second password.

    `always`: the function has no other strategy. A `gracePeriodHours` that is no number from 0 to 999 days is ignored:
    a mistake must not lock anybody out.
    """
    if not always and value.get("rotationStrategy") != DUAL_PASSWORDS:
        return None
    hours = value.get("gracePeriodHours", GRACE_HOURS)
    usable = isinstance(hours, int | float) and not isinstance(hours, bool) and 0 <= hours <= _MOST_HOURS
    return timedelta(hours=hours if usable else GRACE_HOURS)
