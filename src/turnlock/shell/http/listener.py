"""One socket's connections: accepted, given a place or refused, watched for lateness, and ended in good order."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final

import structlog

from turnlock.config import is_within
from turnlock.core.address import Network
from turnlock.shell.http.connection import Connection, Responder, Shared
from turnlock.shell.http.limits import SEND_BUFFER, Limits
from turnlock.shell.http.proxies import read_announcement
from turnlock.shell.http.tls import Certificates

log = structlog.get_logger(__name__)

ACCEPTED_AT_ONCE: Final = 32
"""Connections accepted in one turn of the loop; the requests that are ready have their turn in between."""

SWEEP_SECONDS: Final = 0.25
"""How often connections are looked at for lateness."""

LOOK_SECONDS: Final = 2.0
"""How often the certificate's files are looked at."""

PAUSE_SECONDS: Final = 0.2
"""How long none is accepted after the system could not give a descriptor."""


class Listener:
    """Serves one listening socket on one event loop. The socket is its own from now on."""

    def __init__(
        self,
        listening: socket.socket,
        responder: Responder,
        loop: asyncio.AbstractEventLoop,
        *,
        limits: Limits | None = None,
        certificates: Certificates | None = None,
        secure: bool | None = None,
        proxies: tuple[Network, ...] = (),
    ) -> None:
        """`secure` is what requests say of TLS, where that is not told by the certificates.

        Connections from `proxies` begin with a line of the PROXY protocol, and are those of the address in it.
        """
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._socket = listening
        self._loop = loop
        self._limits = limits or Limits()
        self._certificates = certificates
        self._proxies = proxies
        secure = certificates is not None if secure is None else secure
        self._shared = Shared(responder, self._limits, loop, secure=secure)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._accepting = False

    def start(self) -> None:
        """Accept connections from now on."""
        self._begin_to_accept()
        self._sweep()
        if self._certificates is not None:
            self._look()

    def reload(self) -> None:
        """Read the certificate's files again, whether they have changed or not."""
        if self._certificates is not None:
            self._certificates.look(asked=True)

    async def drain(self, seconds: float) -> None:
        """Accept no connection any more, answer what was asked, and end all; after the time whatever is not answered yet."""
        self._stop_accepting()
        self._shared.draining = True
        for connection in list(self._shared.connections):
            connection.retire()
        until = self._loop.time() + seconds
        while self._shared.connections and self._loop.time() < until:
            await asyncio.sleep(0.02)
        self.close()

    def close(self) -> None:
        """End every connection, and accept none."""
        self._stop_accepting()
        for timer in self._timers.values():
            timer.cancel()
        for connection in list(self._shared.connections):
            connection.evict()

    def _begin_to_accept(self) -> None:
        self._accepting = True
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def _stop_accepting(self) -> None:
        if self._socket.fileno() < 0:
            return
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("no connection can be accepted", action="accept_failed", reason=error.strerror)
                self._accepting = False
                self._loop.remove_reader(self._socket.fileno())
                self._timers["accept"] = self._loop.call_later(PAUSE_SECONDS, self._accept_again)
                return
            self._receive(accepted, str(address[0]))

    def _accept_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._begin_to_accept()

    def _receive(self, accepted: socket.socket, host: str) -> None:
        """Give a connection a place. The refusal is the cheapest: it is closed, and nothing was made for it."""
        proxied = bool(self._proxies) and is_within(host, self._proxies)
        peer = self._shared.peers.admit(host, limited=not proxied)
        if peer is None:
            accepted.close()
            return
        accepted.setblocking(False)
        connection = Connection(self._shared, host, peer, 2 * self._limits.head_seconds)
        arriving = self._arrive(accepted, connection, proxied=proxied)
        connection.arrival = self._loop.create_task(arriving)

    async def _arrive(self, accepted: socket.socket, connection: Connection, *, proxied: bool) -> None:
        """Bring a connection to where it speaks HTTP: behind a proxy's line and a TLS handshake."""
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxied:
                async with asyncio.timeout(self._limits.head_seconds):
                    announced = await read_announcement(self._loop, accepted)
                if announced is not None and not connection.move(announced):
                    accepted.close()
                    return
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=None if self._certificates is None else self._certificates.context,
                ssl_handshake_timeout=None if self._certificates is None else self._limits.head_seconds,
                ssl_shutdown_timeout=None if self._certificates is None else self._limits.body_seconds,
            )
        except (OSError, ValueError, TimeoutError, asyncio.CancelledError):
            # It is gone, too slow, evicted, or speaks something else: there is nobody to tell.
            connection.release()
            with suppress(OSError):
                accepted.close()
        except Exception:
            log.exception("a connection failed", action="connection_failed")
            connection.release()
            accepted.close()
        finally:
            connection.arrival = None

    def _sweep(self) -> None:
        now = self._loop.time()
        late = [connection for connection in self._shared.connections if connection.deadline < now]
        for connection in late:
            connection.late()
        self._timers["sweep"] = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _look(self) -> None:
        assert self._certificates is not None
        self._certificates.look()
        self._timers["look"] = self._loop.call_later(LOOK_SECONDS, self._look)
