"""Threads that look for work again and again, for as long as the server runs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

AFTER_FAILURE = 2.0
"""Seconds until the next try after a tick that raised."""


class Loop:
    """Calls `tick` on a thread of its own; what it returns is how many seconds to wait, unless someone wakes it."""

    def __init__(self, name: str, tick: Callable[[], float]) -> None:
        self._name = name
        self._tick = tick
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Tick soon: there is work."""
        self._wake.set()

    def stop(self, timeout: float = 10.0) -> None:
        """Let the tick that runs end, and begin no other; waits at most `timeout` seconds."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopping:  # asked behind the clearing: a stop that rang before it is not slept through
                return
            try:
                delay = self._tick()
            except Exception:
                log.exception("background work failed", action="background_failed", loop=self._name)
                delay = AFTER_FAILURE
            self._wake.wait(delay)
