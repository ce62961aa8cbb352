"""Secrets Manager's secrets: their metadata, versions, staging labels and values.

What it does: the actions that create, read, change and delete secrets. What it trusts: `keys` for sealing and opening
values, the unit of work for time, randomness and atomicity. What it must never do: keep a plaintext value longer than the
request that carries it, answer with a value whose labels or bytes are not what was sealed, or rotate anything (the
`rotation` room subscribes to what is announced here).
"""

from turnlock.secrets.api import ACTIONS, require_token
from turnlock.secrets.changes import (
    LabelsChanged,
    RotationTokenPresented,
    SecretDoomed,
    drop_version,
    move_labels,
    put_placeholder,
)
from turnlock.secrets.deletion import PURGE, purge
from turnlock.secrets.lookup import require_living, require_secret, secret_subject
from turnlock.secrets.model import (
    AWSCURRENT,
    AWSPENDING,
    AWSPREVIOUS,
    Rotation,
    Secret,
    SecretReference,
    Version,
    parse_secret_id,
    stages_of,
)
from turnlock.secrets.store import due_for_rotation, find_secret, find_version, update_secret
from turnlock.secrets.values import copy_value, open_value

__all__ = [
    "ACTIONS",
    "AWSCURRENT",
    "AWSPENDING",
    "AWSPREVIOUS",
    "PURGE",
    "LabelsChanged",
    "Rotation",
    "RotationTokenPresented",
    "Secret",
    "SecretDoomed",
    "SecretReference",
    "Version",
    "copy_value",
    "drop_version",
    "due_for_rotation",
    "find_secret",
    "find_version",
    "move_labels",
    "open_value",
    "parse_secret_id",
    "purge",
    "put_placeholder",
    "require_living",
    "require_secret",
    "require_token",
    "secret_subject",
    "stages_of",
    "update_secret",
]
