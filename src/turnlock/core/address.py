"""Addresses of a socket's peer, in the one form in which everything else sees them."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = 96
"""Bits of an IPv6 address before the IPv4 address that it maps (RFC 4291, 2.5.5.2)."""


@lru_cache(maxsize=1024)
def peer_address(peer: str) -> str:
    """Return the address in `HOST:PORT`, `[HOST]:PORT` or `[HOST%ZONE]:PORT`, as an HTTP server names a peer.

    The result has no brackets, port or zone; an IPv4 address that IPv6 maps (`::ffff:192.0.2.7`) is the IPv4 address. A text
    without an address is returned as it is: conditions cannot read it, and so a Deny on it holds.
    """
    address = read_address(peer)
    if address is None:
        address = read_address(peer.rpartition(":")[0])
    return peer if address is None else str(address)


def read_address(text: str) -> Address | None:
    """Return an address, brackets and zone left out and a mapped IPv4 address as IPv4; None for what is none."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


@lru_cache(maxsize=4096)
def read_network(text: str) -> Network | None:
    """Return a network, of which host bits may be set, or a single address; None for what is neither.

    One of mapped IPv4 addresses is the IPv4 network, as `read_address` reads the addresses in it.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv4Network) or network.prefixlen < _MAPPED:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED))
