"""Places for connections: so many for each address, so many in all. The one that has waited longest for its peer makes room."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Protocol

from turnlock.core.address import read_address


class Occupant(Protocol):
    """A connection, from its acceptance to its end."""

    def evict(self) -> None:
        """End at once. What it holds is given back when this returns."""
        ...


class Peer:
    """The connections of one address, or of one /64 of IPv6: what one subscriber has."""

    __slots__ = ("connections", "held", "key", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.connections = 0
        self.held = 0
        """Bytes that wait for this peer."""
        self.waiting: dict[Occupant, None] = {}
        """Those that wait for the peer to send or to read, the one that has waited for longest first."""

    def evict_one(self) -> bool:
        """End the connection that has waited for longest; False when each is at work."""
        oldest = next(iter(self.waiting), None)
        if oldest is None:
            return False
        oldest.evict()
        return True


class Peers:
    """The peers of one listener."""

    def __init__(self, per_address: int, total: int) -> None:
        self._per_address = per_address
        self._total = total
        self._peers: dict[str, Peer] = {}
        self._open = 0

    def admit(self, address: str, *, limited: bool = True) -> Peer | None:
        """Take a place for a connection of an address; None when nobody can make room. A proxy's are not `limited` by its address."""
        key = key_of(address)
        peer = self._peers.get(key)
        if limited and peer is not None and peer.connections >= self._per_address and not peer.evict_one():
            return None
        if self._open >= self._total and not self._evict_of_the_most():
            return None
        peer = self._peers.setdefault(key, Peer(key))
        peer.connections += 1
        self._open += 1
        return peer

    def leave(self, peer: Peer) -> None:
        """Give one place of a peer back."""
        peer.connections -= 1
        self._open -= 1
        if not peer.connections:
            del self._peers[peer.key]

    def heaviest(self) -> Peer | None:
        """Return the peer for which the most bytes wait; None when nothing waits."""
        waiting = (peer for peer in self._peers.values() if peer.waiting and peer.held)
        return max(waiting, key=lambda peer: peer.held, default=None)

    def _evict_of_the_most(self) -> bool:
        waiting = (peer for peer in self._peers.values() if peer.waiting)
        most = max(waiting, key=lambda peer: peer.connections, default=None)
        return most is not None and most.evict_one()


@lru_cache(maxsize=4096)
def key_of(address: str) -> str:
    """Return what one subscriber's addresses have in common: the address, of IPv6 the /64."""
    read = read_address(address)
    if isinstance(read, IPv6Address) and not read.is_loopback:
        return str(ip_network((read, 64), strict=False))
    return str(read or address)
