"""The PROXY protocol, versions 1 and 2: a proxy that the operator named says whose connection it passes on.

https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt. Nothing is read beyond the announcement: it is looked at in the
kernel's buffer first, and what follows may be a TLS handshake.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = 16
_LONGEST_LINE: Final = 107
_MOST: Final = 4096
"""Bytes of a version 2 announcement with its extensions; the protocol allows more, and no proxy sends them."""

_LOOK_AGAIN: Final = 0.01
"""Seconds until a part of an announcement is looked at again."""


async def read_announcement(loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> str | None:
    """Return the address that a proxy announces; None when the connection is the proxy's own (LOCAL, UNKNOWN).

    Raises ValueError for anything else, OSError when the connection ends before. It waits without end: the caller limits that.
    """
    while True:
        seen = await _peek(loop, accepted)
        size = _size(seen)
        if size is not None and len(seen) >= size:
            accepted.recv(size)
            return _read(seen[:size])
        await asyncio.sleep(_LOOK_AGAIN)


async def _peek(loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> bytes:
    while True:
        try:
            seen = accepted.recv(_MOST, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(loop, accepted)
            continue
        if not seen:
            raise ConnectionResetError
        return seen


async def _readable(loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> None:
    ready = asyncio.Event()
    loop.add_reader(accepted.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(accepted.fileno())


def _size(seen: bytes) -> int | None:
    """Return how long an announcement is; None while that cannot be told. Raises ValueError."""
    if seen[: len(_SIGNATURE)] == _SIGNATURE:
        if len(seen) < _FIXED:
            return None
        size = _FIXED + int.from_bytes(seen[14:16])
        if size > _MOST:
            raise ValueError("the announcement is too long")
        return size
    if _SIGNATURE.startswith(seen):
        return None
    start = seen[:_LONGEST_LINE]
    end = start.find(b"\r\n")
    if not (b"PROXY ".startswith(start) or start.startswith(b"PROXY ")) or (
        end < 0 and len(start) == _LONGEST_LINE
    ):
        raise ValueError("no announcement")
    return None if end < 0 else end + 2


def _read(announcement: bytes) -> str | None:
    if announcement.startswith(_SIGNATURE):
        return _read_binary(announcement)
    words = announcement[:-2].decode("ascii").split(" ")
    if words[1] == "UNKNOWN":
        return None
    protocol, source, destination, port, other = words[1:]
    families = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}
    if protocol not in families:
        raise ValueError("no protocol of TCP")
    families[protocol](destination)
    for number in (port, other):
        if not (number.isascii() and number.isdecimal() and len(number) <= 5 and int(number) < 65_536):
            raise ValueError("no port")
    return str(families[protocol](source))


def _read_binary(announcement: bytes) -> str | None:
    version, command = announcement[12] >> 4, announcement[12] & 15
    if version != 2 or command > 1:
        raise ValueError("no version 2")
    if command == 0:
        return None
    addresses = announcement[_FIXED:]
    match announcement[13]:
        case 0x11 if len(addresses) >= 12:
            return str(ipaddress.IPv4Address(addresses[:4]))
        case 0x21 if len(addresses) >= 36:
            return str(ipaddress.IPv6Address(addresses[:16]))
        case _:
            raise ValueError("no TCP")
