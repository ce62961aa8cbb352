"""The keyed chain of one writer: each record's digest covers the record before it, and nobody makes one without the trail's key.

    digest(0)   = HMAC-SHA256(key, "turnlock-trail-2" ‖ 0 ‖ writer)
    digest(n)   = HMAC-SHA256(key, digest(n-1) ‖ record n)

A writer is one thread of one process for as long as it lives; it never takes up another's chain. The head advances only
once the store or the file holds the records.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

import msgspec


class Link(msgspec.Struct, frozen=True):
    """A record's place in its chain."""

    sequence: int
    digest: bytes


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """The last durable records of one process's chains, by writer, of those that have any."""

    ended: Mapping[str, Link]
    growing: Mapping[str, Link]


def first_link(writer: str, key: bytes) -> Link:
    """Return the link before a writer's first record."""
    return Link(0, hmac.digest(key, b"turnlock-trail-2\0" + writer.encode(), "sha256"))


class Chain:
    """One writer's chain. Not for two threads."""

    def __init__(self, writer: str, key: bytes) -> None:
        self.writer = writer
        self._key = key
        self.head = first_link(writer, key)
        """The last record that is durable."""

    def extend(self, bodies: Sequence[bytes]) -> list[Link]:
        """Return the links that these records would have; the head stays where it is until `advance`."""
        sequence, digest = self.head.sequence, self.head.digest
        links: list[Link] = []
        for body in bodies:
            sequence, digest = sequence + 1, hmac.digest(self._key, digest + body, "sha256")
            links.append(Link(sequence, digest))
        return links

    def advance(self, links: Sequence[Link]) -> None:
        """Move the head behind records that are now durable."""
        if links:
            self.head = links[-1]
