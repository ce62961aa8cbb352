"""Where functions on this machine reach the server: plain HTTP/1.1 on a loopback port that the system gives.

The public port may speak TLS under a name that does not lead to this machine, with a certificate whose authority no
function knows, behind a proxy. Functions are given this address as `AWS_ENDPOINT_URL` instead: it needs no name and no
certificate, for what is sent to it does not leave the kernel. It serves the AWS API alone (no `/metrics`), and trusts
its peers no more than the public port does: any process on the machine may connect, and every request must be signed.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol

from turnlock.errors import ApiError
from turnlock.shell.http import Limits, Listener
from turnlock.wire import HttpRequest, HttpResponse

HOST: Final = "127.0.0.1"

LIMITS: Final = Limits(idle_seconds=300.0, per_address=512, total=512)
"""A function keeps its connection between two invocations; one more than 512 takes the place of the one that has been idle for longest."""


class Responder(Protocol):
    """What answers the requests: the server."""

    async def respond_to_function(self, request: HttpRequest) -> HttpResponse:
        """Return the answer to one request."""
        ...

    def refuse(self, error: ApiError, request: HttpRequest) -> HttpResponse:
        """Return the answer to a request that was not read whole."""
        ...


class _ForFunctions:
    """What a responder answers functions."""

    def __init__(self, responder: Responder) -> None:
        self.respond = responder.respond_to_function
        self.refuse = responder.refuse


class FunctionListener:
    """One worker's listener. The port is taken when it is made, so that functions can be told before the loop runs.

    `secure` is what `aws:SecureTransport` is to be for its requests: true where the public port speaks TLS, for a policy
    that demands TLS guards against a network, and there is none between a function and this port.
    """

    def __init__(self, *, secure: bool, limits: Limits = LIMITS) -> None:
        self._secure = secure
        self._limits = limits
        self._socket = socket.create_server((HOST, 0), backlog=128)
        self._listener: Listener | None = None
        self.endpoint: Final = f"http://{HOST}:{self._socket.getsockname()[1]}"
        """The URL for `AWS_ENDPOINT_URL`."""

    def serve(self, responder: Responder, loop: asyncio.AbstractEventLoop) -> None:
        """Accept connections on a loop from now on."""
        self._listener = Listener(
            self._socket, _ForFunctions(responder), loop, limits=self._limits, secure=self._secure
        )
        self._listener.start()

    def close(self) -> None:
        """Accept no connection any more, and end those that are open."""
        if self._listener is not None:
            self._listener.close()
        self._socket.close()
