"""The table of resource policies. Each row has a MAC, so that an edited or moved policy is noticed.

A policy that was removed or replaced by an older one is noticed too: the secret's row has the policy's digest
(`seals`).
"""

from __future__ import annotations

import hmac

from sqlalchemy import bindparam, delete, select

from turnlock.secrets.model import Secret
from turnlock.secrets.seals import digest, hold, holds_of
from turnlock.secrets.tables import OWNER, owned_by, owner_of, resource_policies
from turnlock.storage import HotQuery, Unit
from turnlock.storage.alarms import broken

_POLICY = HotQuery(
    select(resource_policies.c.policy, resource_policies.c.mac).where(
        *(resource_policies.c[name] == bindparam(name) for name in OWNER)
    )
)


def find_policy(unit: Unit, secret: Secret) -> str | None:
    """Return the policy as it was put, None when there is none. Raises SealBroken on one that this server did not write."""
    key = ("resource-policy", secret.arn)
    if key not in unit.memo:
        # In a tuple, because a derived None is not remembered.
        unit.memo[key] = unit.derived(key, lambda: (_read(unit, secret),))
    found: tuple[str | None] = unit.memo[key]
    return found[0]


def save_policy(unit: Unit, secret: Secret, policy: str | None) -> None:
    """Set the secret's policy; None removes it."""
    unit.memo.pop(("resource-policy", secret.arn), None)
    unit.connection.execute(delete(resource_policies).where(*owned_by(resource_policies, secret)))
    if policy is not None:
        unit.connection.execute(
            resource_policies.insert().values(
                **owner_of(secret), policy=policy, mac=policy_mac(unit, secret.arn, policy)
            )
        )
    hold(unit, secret, policy=digest(policy))


def _read(unit: Unit, secret: Secret) -> str | None:
    found: str | None = None
    for policy, mac in _POLICY.rows(unit, owner_of(secret)):
        if not hmac.compare_digest(policy_mac(unit, secret.arn, policy), bytes(mac)):
            broken(f"The resource policy of {secret.arn}", owner=secret.arn)
        found = policy
    if digest(found) != holds_of(unit, secret).policy:
        broken(f"The resource policy of {secret.arn}", "is not the one that it has", owner=secret.arn)
    return found


def policy_mac(unit: Unit, secret_arn: str, policy: str) -> bytes:
    """Return the MAC that a resource policy's row must have."""
    # An ARN holds no NUL, so the joined text has one reading.
    return unit.keyring.mac("resource-policy", f"{secret_arn}\0{policy}".encode())
