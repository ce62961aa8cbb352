"""One ceiling for all bytes that wait for a peer: those it has sent of an unfinished request, and those it has not read."""

from __future__ import annotations

from typing import Protocol

from turnlock.shell.http.peers import Occupant, Peer, Peers


class Holder(Occupant, Protocol):
    """A connection that holds bytes."""

    peer: Peer
    held: int

    @property
    def gone(self) -> bool:
        """Whether it has ended and given back all."""
        ...


class Memory:
    """What the connections of one listener hold together."""

    def __init__(self, ceiling: int, peers: Peers) -> None:
        self._ceiling = ceiling
        self._peers = peers
        self.held = 0

    def hold(self, holder: Holder, size: int) -> bool:
        """Let a connection hold `size` bytes from now on; False when there is no room, and it holds what it held before.

        Room is made by ending connections of the peer that holds the most, those that have waited for longest first. The
        connection that asks may be among them.
        """
        while size > holder.held and self.held + size - holder.held > self._ceiling:
            heaviest = self._peers.heaviest()
            if heaviest is None or not _evict_a_holder(heaviest):
                return False
            if holder.gone:
                return True
        more = size - holder.held
        self.held += more
        holder.peer.held += more
        holder.held = size
        return True


def _evict_a_holder(peer: Peer) -> bool:
    for occupant in peer.waiting:
        if getattr(occupant, "held", 0):
            occupant.evict()
            return True
    return False
