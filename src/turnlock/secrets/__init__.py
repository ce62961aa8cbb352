"""Secrets Manager's secrets: their metadata, versions, staging labels and values.

What it does: the actions that create, read, change and delete secrets, and their copies in other Regions. What it
trusts: `kms` for sealing and opening values; the unit of work for time, randomness and atomicity. What it must never
do: keep a plaintext value after the request; answer with a value whose labels or bytes do not verify; change a replica
by anything but its primary; rotate anything (the `rotation` room subscribes to the events of this one).
"""

from turnlock.secrets.accesses import AccessNotes, ReadsAsked, VersionRead
from turnlock.secrets.api import ACTIONS
from turnlock.secrets.deletion import PURGE, delete_now, purge
from turnlock.secrets.lookup import require_living, require_secret, require_writable, secret_subject
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
from turnlock.secrets.ownership import hand_over, refuse_managed
from turnlock.secrets.parameters import require_token
from turnlock.secrets.policy.api import REMOVE_POLICY
from turnlock.secrets.replication.delivery import REPLICATE, SUBSCRIBERS, replicate
from turnlock.secrets.root_macs import MACS
from turnlock.secrets.store import (
    due_for_rotation,
    find_secret,
    find_version,
    postpone_rotation,
    rotating_within,
)
from turnlock.secrets.tags.store import find_tags
from turnlock.secrets.values.changes import (
    LabelsChanged,
    RotationTokenPresented,
    SecretChanged,
    SecretDoomed,
    SecretRestored,
    drop_version,
    move_labels,
    put_placeholder,
    settle_labels,
    update_secret,
)
from turnlock.secrets.values.content import copy_value, open_value
from turnlock.secrets.values.external import refuse_external_rotation

__all__ = [
    "ACTIONS",
    "AWSCURRENT",
    "AWSPENDING",
    "AWSPREVIOUS",
    "MACS",
    "PURGE",
    "REMOVE_POLICY",
    "REPLICATE",
    "SUBSCRIBERS",
    "AccessNotes",
    "LabelsChanged",
    "ReadsAsked",
    "Rotation",
    "RotationTokenPresented",
    "Secret",
    "SecretChanged",
    "SecretDoomed",
    "SecretReference",
    "SecretRestored",
    "Version",
    "VersionRead",
    "copy_value",
    "delete_now",
    "drop_version",
    "due_for_rotation",
    "find_secret",
    "find_tags",
    "find_version",
    "hand_over",
    "move_labels",
    "open_value",
    "parse_secret_id",
    "postpone_rotation",
    "purge",
    "put_placeholder",
    "refuse_external_rotation",
    "refuse_managed",
    "replicate",
    "require_living",
    "require_secret",
    "require_token",
    "require_writable",
    "rotating_within",
    "secret_subject",
    "settle_labels",
    "stages_of",
    "update_secret",
]
