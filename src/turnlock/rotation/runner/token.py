"""RotationToken: a function sends it with PutSecretValue to show under which lease it runs.

    <fencing number>-<first 32 hex digits of a MAC over secret ARN, version id and fencing number>

The API reference wants 36 to 256 letters, digits and hyphens, so the number has ten digits.
"""

from __future__ import annotations

import hmac

from turnlock.core.call import Fence
from turnlock.errors import StaleFence
from turnlock.rotation.store import PlanRow
from turnlock.storage import Unit
from turnlock.storage.leases import require_current


def rotation_token(unit: Unit, row: PlanRow, fence: Fence) -> str:
    """Return the token for the steps that the lease's holder with this fencing number runs."""
    message = f"{row.secret_arn}\0{row.plan.token}\0{fence.number}".encode()
    return f"{fence.number:010d}-{unit.keyring.mac('rotation-token', message).hex()[:32]}"


def is_current(unit: Unit, row: PlanRow, version_id: str, token: str) -> bool:
    """Tell whether a token was made for this plan and version, under a fencing number that is still the newest."""
    number = token.partition("-")[0]
    if version_id != row.plan.token or not (number.isascii() and number.isdecimal()) or len(number) > 18:
        return False
    fence = Fence(account_id=row.account_id, region=row.region, lease=row.lease, number=int(number))
    if not hmac.compare_digest(token.encode(), rotation_token(unit, row, fence).encode()):
        return False
    try:
        require_current(unit, fence)
    except StaleFence:
        return False
    return True
