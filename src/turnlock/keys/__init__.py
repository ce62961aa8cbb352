"""KMS: keys and envelope encryption.

What it does: makes the keys that seal secret values and Turnlock's own fields, and seals and opens with them. A value
is encrypted under a data key of its own, that under a KMS key's material, that under the root key. Each is bound to its
row, so that a blob that was moved in the store does not open.

`api` has KMS's actions, one module for each noun; other rooms use `sealing`.

What it trusts: the root-key provider, the kernel's randomness, and AES-256-GCM, HKDF and HMAC of `cryptography`.

What it must never do: implement a primitive of its own, keep a data key or a value after the call, hand out a key's
material, or raise anything but SealBroken when bytes are not what was sealed.
"""

from turnlock.keys.api import RIGHTS as KMS_RIGHTS
from turnlock.keys.api import kms_actions
from turnlock.keys.keyring import Keyring, NoKeyring, RootKey, draw_root_key
from turnlock.keys.lifecycle import DESTROY, destroy
from turnlock.keys.model import MANAGED_ALIAS, KeyOwner, KeyState, KmsKey, associated_data
from turnlock.keys.private_file import write_private
from turnlock.keys.recent import Recent
from turnlock.keys.root import FileRootKey, RootKeyProvider, open_root_key
from turnlock.keys.root_choice import root_key_provider
from turnlock.keys.root_rotation import (
    MACS,
    Progress,
    Proof,
    Report,
    RootMacs,
    RootWraps,
    lacks_row_macs,
    prove,
    rewrap,
    row_macs,
    seal_former,
    settle_macs,
)
from turnlock.keys.rotation import ROTATE, rotate_due
from turnlock.keys.sealing import (
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

__all__ = [
    "DESTROY",
    "KMS_RIGHTS",
    "MACS",
    "MANAGED_ALIAS",
    "ROTATE",
    "FileRootKey",
    "KeyOwner",
    "KeyState",
    "Keyring",
    "KmsKey",
    "NoKeyring",
    "Progress",
    "Proof",
    "Recent",
    "Report",
    "RootKey",
    "RootKeyProvider",
    "RootMacs",
    "RootWraps",
    "associated_data",
    "check_root_key",
    "destroy",
    "draw_root_key",
    "holds_keys",
    "kms_actions",
    "lacks_row_macs",
    "managed_key",
    "open_root_key",
    "prove",
    "resolve_key",
    "rewrap",
    "root_key_provider",
    "rotate_due",
    "row_macs",
    "seal",
    "seal_field",
    "seal_former",
    "seal_under",
    "settle_macs",
    "taken_apart",
    "unseal",
    "unseal_field",
    "write_private",
]
