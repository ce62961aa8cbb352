"""What one listener grants to peers of whom nothing is known: times in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers."""

MAX_HEADERS: Final = 100
"""Headers of a request."""

MAX_OVERHEAD: Final = 1024 * 1024
"""Bytes that the framing of a body in chunks may take: sizes, extensions, line ends."""

MAX_REST: Final = 8 * 1024 * 1024
"""Bytes that are still taken in after a body was refused for its size; a client that announces more is not heard out."""

LEAST_PIECE: Final = 1024
"""Bytes that a piece of such a rest counts for at least: each costs a turn of the loop, however small it is."""

RESTS: Final = 16
"""How many such rests are taken in at once; the other clients find the connection closed, perhaps while they send."""

FAREWELL_SECONDS: Final = 1.0
"""How long a peer may go on sending after the last answer, so that it reads the answer and not a broken connection."""

FAREWELL_BYTES: Final = 256 * 1024
"""And how much."""

PIECE: Final = 64 * 1024
"""The most that is read from a connection at once."""

PIECES_AT_ONCE: Final = 16
"""How many further pieces of bodies are read in one turn of the loop, of all connections."""

SEND_BUFFER: Final = 128 * 1024
"""Bytes of answers that the kernel keeps for a peer (SO_SNDBUF, which Linux doubles)."""

COUNTED_BODY: Final = 4096
"""Bytes from which a body counts against the memory while its request is carried out; smaller ones are bounded by the slots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one listener."""

    head_seconds: float = 10.0
    """For a request's line and headers, from its first byte; and for a connection's TLS handshake."""
    body_seconds: float = 10.0
    """For a body, and again for the rest of one that was refused."""
    idle_seconds: float = 10.0
    """Between an answer and the first byte of the next request."""
    write_seconds: float = 20.0
    """For a peer to read what the kernel's buffer does not take of an answer."""
    per_address: int = 512
    """Connections of one address at once (IPv6: of one /64); one more takes the place of the one that has waited longest for its peer."""
    total: int = 2048
    """Connections at once; one more takes a place of the address that has the most."""
    memory: int = 64 * 1024 * 1024
    """For everything that waits for a peer: heads and bodies that have come in part, requests behind another, answers not read."""
