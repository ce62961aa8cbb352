"""The root key: where it comes from, wrapping under it, and the MACs of rows.

What it does: reads the root key from a file, a variable, a passphrase, a command or a PKCS #11 token; wraps and unwraps
key materials; makes and checks the MACs of rows (`records`). What it trusts: the source that the operator named. What
it must never do: write the key anywhere but where the operator said, or believe a row that fits neither key.
"""

from turnlock.root_keys.aead import KEY_BYTES, decrypt, encrypt
from turnlock.root_keys.choice import root_key_provider
from turnlock.root_keys.envelope import (
    Ciphertext,
    Envelope,
    associated_data,
    ciphertext_header,
    envelope_header,
)
from turnlock.root_keys.keyring import Keyring, NoKeyring, RootKey, draw_root_key
from turnlock.root_keys.macs import RootMacs, RootWraps, row_macs
from turnlock.root_keys.private_file import write_private
from turnlock.root_keys.provider import FileRootKey, RootKeyProvider, open_root_key
from turnlock.root_keys.records import Records, root_macs_of

__all__ = [
    "KEY_BYTES",
    "Ciphertext",
    "Envelope",
    "FileRootKey",
    "Keyring",
    "NoKeyring",
    "Records",
    "RootKey",
    "RootKeyProvider",
    "RootMacs",
    "RootWraps",
    "associated_data",
    "ciphertext_header",
    "decrypt",
    "draw_root_key",
    "encrypt",
    "envelope_header",
    "open_root_key",
    "root_key_provider",
    "root_macs_of",
    "row_macs",
    "write_private",
]
