"""KMS: keys and envelope encryption.

What it does: makes the keys that seal secret values and Turnlock's own fields, and seals and opens with them. A value
is encrypted under a data key of its own, that under a KMS key's material, that under the root key. Each is bound to its
row, so that a blob that was moved in the store does not open. KMS's actions are in one module for each noun; other
rooms use `cryptography.sealing`.

What it trusts: the root keyring, the kernel's randomness, and AES-256-GCM, HKDF and HMAC of the package `cryptography`.

What it must never do: implement a primitive of its own, keep a data key or a value after the call, hand out a key's
material, or raise anything but SealBroken when bytes are not what was sealed.
"""

from turnlock.kms.api import RIGHTS, kms_actions
from turnlock.kms.api import RIGHTS as KMS_RIGHTS
from turnlock.kms.cryptography.sealing import (
    check_root_key,
    holds_keys,
    managed_key,
    resolve_key,
    seal,
    seal_field,
    seal_under,
    taken_apart,
    unseal,
    unseal_field,
)
from turnlock.kms.lifecycle import DESTROY, destroy
from turnlock.kms.model import MANAGED_ALIAS, KeyOwner, KeyState, KmsKey
from turnlock.kms.rewrapping import (
    MACS,
    Progress,
    Proof,
    Report,
    prove,
    rewrap,
    settle_macs,
)
from turnlock.kms.rotation import ROTATE, rotate_due

__all__ = [
    "DESTROY",
    "KMS_RIGHTS",
    "MACS",
    "MANAGED_ALIAS",
    "RIGHTS",
    "ROTATE",
    "KeyOwner",
    "KeyState",
    "KmsKey",
    "Progress",
    "Proof",
    "Report",
    "check_root_key",
    "destroy",
    "holds_keys",
    "kms_actions",
    "managed_key",
    "prove",
    "resolve_key",
    "rewrap",
    "rotate_due",
    "seal",
    "seal_field",
    "seal_under",
    "settle_macs",
    "taken_apart",
    "unseal",
    "unseal_field",
]
