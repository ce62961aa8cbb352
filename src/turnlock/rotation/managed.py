"""Managed rotation: secrets that another service owns are rotated by that service's own function, which users never see."""

from __future__ import annotations

from typing import Final

from turnlock import secrets
from turnlock.core.arn import partition_of
from turnlock.rotation.masters import find_master
from turnlock.secrets import Secret
from turnlock.storage import Unit

_FUNCTIONS: Final = {"rds": "RDSManagedMasterUserRotation"}
"""By owning service: the hosted function that rotates its secrets."""

_DATABASE_TAGS: Final = frozenset({"aws:rds:primaryDBInstanceArn", "aws:rds:primaryDBClusterArn"})


def function_of(secret: Secret) -> str | None:
    """Return the ARN of the function that rotates a secret: the owning service's, else the configured one."""
    name = _FUNCTIONS.get(secret.owning_service or "")
    if name is None:
        return secret.rotation.function_arn
    return f"arn:{partition_of(secret.region)}:lambda:{secret.region}:{secret.account_id}:function:{name}"


def databases_of(unit: Unit, secret: Secret) -> list[str]:
    """Return the ARNs of the databases that a rotation may look up: those that the tags of a managed secret or master name."""
    candidates = (secret, find_master(unit, secret))
    owned = [one for one in candidates if one is not None and one.owning_service in _FUNCTIONS]
    tags = [tag for one in owned for tag in secrets.find_tags(unit, one).items()]
    return sorted(arn for key, arn in tags if key in _DATABASE_TAGS)
