"""Holds watched servers at the very moments of a rotation that a test asks for."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

STEP_SECONDS = {"createSecret": 0.05, "setSecret": 0.1, "testSecret": 0.04, "finishSecret": 0.03}
"""The steps in their order, and about how long each one takes: a fault `during` it comes at a random moment of this time."""

HELD_SECONDS = 60.0
"""Nobody is held for longer than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One moment of one rotation: `decided` (the step is written and about to run) or `returned` (it has run)."""

    moment: str
    step: str
    token: str


class Hold:
    """A moment that is waited for; whoever comes there stays until `release`."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self._released = threading.Event()

    def await_arrival(self, seconds: float = HELD_SECONDS) -> None:
        """Wait until a server is there."""
        assert self._came.wait(seconds), "no server came to the moment"

    def release(self) -> None:
        """Let whoever is there, or comes, go on."""
        self._released.set()

    def stay(self) -> None:
        """Be there until released."""
        self._came.set()
        self._released.wait(HELD_SECONDS)


class Conductor:
    """Listens to watched servers; a moment that nobody holds is passed at once. Use it as a context manager."""

    def __init__(self) -> None:
        self._holds: dict[Moment, Hold] = {}
        conductor = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                moment = Moment(**json.loads(self.rfile.readline()))
                if hold := conductor._holds.get(moment):
                    hold.stay()
                self.wfile.write(b"!")

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="conductor")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def entry(self) -> tuple[str, ...]:
        """What Python runs for a server that this one conducts (`ServerProcess.entry`)."""
        return (str(Path(__file__).with_name("watched.py")), str(self._server.server_address[1]))

    @contextmanager
    def hold(self, moment: Moment) -> Iterator[Hold]:
        """Hold whoever comes to a moment, until released or the block ends."""
        hold = self._holds[moment] = Hold()
        try:
            yield hold
        finally:
            del self._holds[moment]
            hold.release()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the server at the other end was killed, which is what these tests do."""
