"""The hash chain of one writer: each record's digest covers the record before it.

    digest(0)   = SHA-256("turnlock-trail-1" ‖ 0 ‖ writer)
    digest(n)   = SHA-256(digest(n-1) ‖ record n)

A writer is one thread of one process for as long as it lives; it never takes up another's chain. The head advances only
once the store or the file holds the records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec


class Link(msgspec.Struct, frozen=True):
    """A record's place in its chain."""

    sequence: int
    digest: bytes


class Chain:
    """One writer's chain. Not for two threads."""

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self._head = Link(0, hashlib.sha256(b"turnlock-trail-1\0" + writer.encode()).digest())

    def extend(self, bodies: Sequence[bytes]) -> list[Link]:
        """Return the links that these records would have; the head stays where it is until `advance`."""
        sequence, digest = self._head.sequence, self._head.digest
        links: list[Link] = []
        for body in bodies:
            sequence, digest = sequence + 1, hashlib.sha256(digest + body).digest()
            links.append(Link(sequence, digest))
        return links

    def advance(self, links: Sequence[Link]) -> None:
        """Move the head behind records that are now durable."""
        if links:
            self._head = links[-1]
