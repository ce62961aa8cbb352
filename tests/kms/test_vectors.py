"""Public test vectors from `cryptography_vectors`: the cipher that everything here lies under is the one that NIST describes."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turnlock.errors import SealBroken
from turnlock.root_keys.aead import decrypt, encrypt

FILES = ("gcmDecrypt256.rsp", "gcmEncryptExtIV256.rsp")
COUNT = 375
"""Vectors of each file with 96-bit nonces and 128-bit tags, as we use them."""


class OneNonce:
    """Entropy that gives the vector's nonce."""

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce

    def bytes(self, count: int) -> bytes:
        assert count == len(self._nonce)
        return self._nonce


def vectors(name: str) -> Iterator[dict[str, bytes | None]]:
    """Yield the vectors of one of NIST's files; PT is None where decryption must fail."""
    place = importlib.resources.files("cryptography_vectors") / "ciphers" / "AES" / "GCM" / name
    fields: dict[str, bytes | None] = {}
    sizes: dict[str, int] = {}
    for line in place.read_text().splitlines():
        label, _, value = (part.strip() for part in line.partition("="))
        if line.startswith("["):
            fields, sizes[label.strip("[ ")] = {}, int(value.rstrip("]"))
        elif label == "Count":
            fields = {}
        elif label == "FAIL":
            fields["PT"] = None
        elif label and not label.startswith("#"):
            fields[label] = bytes.fromhex(value)
        ours = (sizes.get("IVlen"), sizes.get("Taglen")) == (96, 128)
        if ours and {"Key", "IV", "AAD", "CT", "Tag", "PT"} <= fields.keys():
            yield fields
            fields = {}


@pytest.mark.parametrize("name", FILES)
def test_nists_vectors_come_out_as_they_say(name: str) -> None:
    checked, refused = 0, 0
    for vector in vectors(name):
        key, nonce, aad = (bytes(vector[part] or b"") for part in ("Key", "IV", "AAD"))
        sealed = nonce + bytes(vector["CT"] or b"") + bytes(vector["Tag"] or b"")
        plaintext = vector["PT"]
        if plaintext is None:
            with pytest.raises(SealBroken):
                decrypt(AESGCM(key), sealed, aad)
            refused += 1
        else:
            assert decrypt(AESGCM(key), sealed, aad) == plaintext
            assert encrypt(AESGCM(key), OneNonce(nonce), plaintext, aad) == sealed
        checked += 1
    assert checked == COUNT
    assert (refused > 50) == (name == "gcmDecrypt256.rsp")
