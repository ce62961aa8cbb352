"""The format of sealed blobs. Encryption is elsewhere.

Each format begins with a marker of four bytes and a version of one byte. Numbers are big-endian and unsigned. Parsing
is strict: each length is exact and nothing may follow, so an envelope has exactly one encoding.

    Envelope   "TLKE" 1 | length of key ARN (1) | key ARN (ASCII) | material id (4) | wrapped data key (60) | body (≥ 28)
    Ciphertext "TLKC" 1 | length of key ARN (1) | key ARN (ASCII) | material id (4) | body (≥ 28)
    RootSealed "TLKR" 1 | root key id (8)      | body (≥ 28)

A wrapped data key and a body are each a nonce (12), a ciphertext as long as its plaintext, and a tag (16). The wrapped
data key of an Envelope is the body of the Ciphertext that GenerateDataKey returns: the Ciphertext can be made from the
Envelope.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from turnlock.errors import SealBroken

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
DATA_KEY_BYTES: Final = 32
WRAPPED_KEY_BYTES: Final = NONCE_BYTES + DATA_KEY_BYTES + TAG_BYTES
ROOT_KEY_ID_BYTES: Final = 8

ENVELOPE_MARKER: Final = b"TLKE\x01"
CIPHERTEXT_MARKER: Final = b"TLKC\x01"
ROOT_MARKER: Final = b"TLKR\x01"

_MATERIAL_ID_BYTES = 4
_SHORTEST_BODY = NONCE_BYTES + TAG_BYTES
_SHORTEST_ENVELOPE = len(ENVELOPE_MARKER) + 1 + _MATERIAL_ID_BYTES + WRAPPED_KEY_BYTES + _SHORTEST_BODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A value encrypted under its own data key, with that key encrypted under a material of a KMS key."""

    key_arn: str
    """1 to 255 ASCII characters."""
    material_id: int
    """Below 2^32."""
    wrapped_key: bytes = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def data_key(self) -> Ciphertext:
        """The wrapped data key as KMS's Decrypt takes it."""
        return Ciphertext(key_arn=self.key_arn, material_id=self.material_id, body=self.wrapped_key)

    @property
    def header(self) -> bytes:
        """Everything before the body, as it stands in the blob."""
        return envelope_header(self.key_arn, self.material_id) + self.wrapped_key

    def pack(self) -> bytes:
        """Return the blob; ValueError when a part does not fit the format."""
        if len(self.wrapped_key) != WRAPPED_KEY_BYTES or len(self.body) < _SHORTEST_BODY:
            raise ValueError("the wrapped key or the body does not have the length of its format")
        return self.header + self.body

    @classmethod
    def parse(cls, blob: bytes) -> Envelope:
        """Take a blob apart; SealBroken unless it is exactly one envelope of this version."""
        if len(blob) < _SHORTEST_ENVELOPE or not blob.startswith(ENVELOPE_MARKER):
            raise SealBroken
        start = len(ENVELOPE_MARKER) + 1
        material = start + blob[start - 1]
        wrapped = material + _MATERIAL_ID_BYTES
        body = wrapped + WRAPPED_KEY_BYTES
        key_arn = blob[start:material]
        if not key_arn or not key_arn.isascii() or len(blob) - body < _SHORTEST_BODY:
            raise SealBroken
        return cls(
            key_arn=key_arn.decode("ascii"),
            material_id=int.from_bytes(blob[material:wrapped]),
            wrapped_key=blob[wrapped:body],
            body=blob[body:],
        )


def envelope_header(key_arn: str, material_id: int) -> bytes:
    """Return the start of an envelope up to its wrapped key; ValueError when a part does not fit the format."""
    return _header(ENVELOPE_MARKER, key_arn, material_id)


def _header(marker: bytes, key: str, material_id: int) -> bytes:
    if not 1 <= len(key) <= 255 or not key.isascii() or not 0 <= material_id < 2**32:
        raise ValueError("the key's name or the material id does not fit the format")
    encoded = key.encode("ascii")
    return b"%b%c%b%b" % (marker, len(encoded), encoded, material_id.to_bytes(_MATERIAL_ID_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ciphertext:
    """The output of KMS's Encrypt: up to 4096 bytes directly under one material of a KMS key.

    It leaves the server and any caller may send it back, so it has the key's whole ARN, with account and Region.
    """

    key_arn: str
    """1 to 255 ASCII characters."""
    material_id: int
    """Below 2^32."""
    body: bytes = field(repr=False)

    @property
    def header(self) -> bytes:
        """Everything before the body, as it stands in the blob; ValueError when a part does not fit the format."""
        return ciphertext_header(self.key_arn, self.material_id)

    def pack(self) -> bytes:
        """Return the blob; ValueError when a part does not fit the format."""
        return self.header + self.body

    @classmethod
    def parse(cls, blob: bytes) -> Ciphertext:
        """Take a blob apart; SealBroken unless it is exactly one ciphertext of this version."""
        start = len(CIPHERTEXT_MARKER) + 1
        if len(blob) < start or not blob.startswith(CIPHERTEXT_MARKER):
            raise SealBroken
        material = start + blob[start - 1]
        body = material + _MATERIAL_ID_BYTES
        key_arn = blob[start:material]
        if not key_arn or not key_arn.isascii() or len(blob) - body < _SHORTEST_BODY:
            raise SealBroken
        return cls(
            key_arn=key_arn.decode("ascii"), material_id=int.from_bytes(blob[material:body]), body=blob[body:]
        )


def ciphertext_header(key_arn: str, material_id: int) -> bytes:
    """Return the start of a ciphertext up to its body; ValueError when a part does not fit the format."""
    return _header(CIPHERTEXT_MARKER, key_arn, material_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootSealed:
    """A key encrypted under a root key."""

    root_key_id: bytes
    """8 bytes."""
    body: bytes = field(repr=False)

    def pack(self) -> bytes:
        """Return the blob; ValueError when a part does not fit the format."""
        if len(self.root_key_id) != ROOT_KEY_ID_BYTES or len(self.body) < _SHORTEST_BODY:
            raise ValueError("the root key id or the body does not have the length of its format")
        return ROOT_MARKER + self.root_key_id + self.body

    @classmethod
    def parse(cls, blob: bytes) -> RootSealed:
        """Take a blob apart; SealBroken unless it is exactly one of this version."""
        body = len(ROOT_MARKER) + ROOT_KEY_ID_BYTES
        if not blob.startswith(ROOT_MARKER) or len(blob) - body < _SHORTEST_BODY:
            raise SealBroken
        return cls(root_key_id=blob[len(ROOT_MARKER) : body], body=blob[body:])


def associated_data(*parts: str | bytes) -> bytes:
    """Join parts into bytes that only these parts, in this order, give: each is preceded by its length."""
    encoded = [part if isinstance(part, bytes) else part.encode() for part in parts]
    return b"".join([piece for part in encoded for piece in (len(part).to_bytes(4), part)])
