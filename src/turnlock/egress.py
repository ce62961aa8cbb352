"""The only way out: every request of this server to an address that somebody else named.

1  only https, to a host by name or address, without user info
2  the name is resolved once, and the connection goes to the address that was checked: a second answer cannot differ
3  addresses that are not public are refused, unless `--egress-allow` names their network: this machine, its
   neighbours, cloud metadata, and whatever embeds one of them (IPv4 in IPv6)
4  the certificate is verified for the host; where that fails, one with a thumbprint that the caller pinned is accepted
5  no redirect is followed, no proxy used, no cookie kept
6  an answer has a largest size, and a time limit for the whole of it
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from turnlock.config import is_within
from turnlock.core.address import Network
from turnlock.errors import EgressFailed, EgressRefused

SECONDS: Final = 10.0
LARGEST: Final = 262_144
"""Bytes of an answer."""

_EMBEDDING: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "2001::/32", "2002::/16")))
"""NAT64, Teredo and 6to4: these addresses lead to an IPv4 address inside them."""

Resolve = Callable[[str, int], Collection[str]]
"""Returns the addresses of a host."""


def resolve(host: str, port: int) -> Collection[str]:
    """Return a host's addresses as the system knows them. Raises OSError when it knows none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Egress:
    """Makes requests to addresses that others named. Any thread may ask; each request is on a connection of its own."""

    def __init__(
        self,
        allowed: tuple[Network, ...] = (),
        *,
        seconds: float = SECONDS,
        largest: int = LARGEST,
        resolve: Resolve = resolve,
    ) -> None:
        self._allowed = allowed
        """Networks that may be reached although they are not public."""
        self._seconds = seconds
        self._largest = largest
        self._resolve = resolve

    def get(self, url: str, *, thumbprints: Collection[str] = ()) -> bytes:
        """Return the body of a 200 answer to a GET.

        `thumbprints` are SHA-1 digests (hexadecimal, lower case) of certificates that the host may show instead of one that
        the system trusts. Raises EgressRefused for an address that may not be reached, EgressFailed for anything that
        went wrong.
        """
        parts = _parts(url)
        host, port = str(parts.hostname), parts.port or 443
        address = self._address(host, port)
        try:
            return self._ask(parts, address, ssl.create_default_context(), lambda _shown: True)
        except ssl.SSLCertVerificationError as error:
            if not thumbprints:
                raise EgressFailed(f"{host}: {error.verify_message}.") from None
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        return self._ask(parts, address, unverified, lambda shown: _thumbprint(shown) in thumbprints)

    def _address(self, host: str, port: int) -> str:
        """Return the address to connect to, the first that may be reached."""
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError):
            raise EgressFailed(f"{host} has no address.") from None
        for address in found:
            if is_public(address) or is_within(address, self._allowed):
                return address
        raise EgressRefused(f"{host} is at no address that may be reached.")

    def _ask(
        self, parts: SplitResult, address: str, context: ssl.SSLContext, accepts: Callable[[bytes], bool]
    ) -> bytes:
        """Ask over a fresh connection. Raises SSLCertVerificationError, EgressFailed."""
        host, port = str(parts.hostname), parts.port or 443
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        try:
            with (
                socket.create_connection((address, port), self._seconds) as plain,
                _deadline(plain, self._seconds),
                context.wrap_socket(plain, server_hostname=host) as secured,
            ):
                if not accepts(secured.getpeercert(binary_form=True) or b""):
                    raise EgressFailed(f"{host} shows a certificate that is neither trusted nor pinned.")
                return self._exchange(secured, parts.netloc, target)
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EgressFailed(f"{host}: {type(error).__name__}.") from None

    def _exchange(self, secured: ssl.SSLSocket, host: str, target: str) -> bytes:
        connection = http.client.HTTPConnection(host)
        connection.sock = secured
        connection.request("GET", target, headers={"Accept": "application/json", "Connection": "close"})
        with connection.getresponse() as answer:
            if answer.status != 200:
                raise EgressFailed(f"{host} answered {answer.status}.")
            body = answer.read(self._largest + 1)
        if len(body) > self._largest:
            raise EgressFailed(f"{host} answered more than {self._largest} bytes.")
        return body


def is_public(address: str) -> bool:
    """Tell whether an address is one of the public Internet, and leads to nothing else."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif any(found in network for network in _EMBEDDING):
            return False
    return found.is_global and not found.is_multicast


def _parts(url: str) -> SplitResult:
    """Return the parts of an address that may be asked. Raises EgressRefused."""
    refused = EgressRefused("Only https addresses without user info are asked.")
    try:
        parts = urlsplit(url)
        user_info, port = (parts.username, parts.password), parts.port
    except ValueError:
        raise refused from None
    if user_info != (None, None) or port == 0 or parts.scheme != "https" or not parts.hostname:
        raise refused
    if not url.isascii() or _breaks(url):
        raise refused
    return parts


def _breaks(url: str) -> bool:
    return any(character <= " " or character == "\x7f" for character in url)


def _thumbprint(certificate: bytes) -> str:
    # SHA-1 because that is what IAM's thumbprints are; a pin needs second preimages to be out of reach, and they are.
    return hashlib.sha1(certificate, usedforsecurity=False).hexdigest()


@contextmanager
def _deadline(connection: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a connection when it lasts longer than `seconds`, however slowly it trickles."""

    def cut() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
