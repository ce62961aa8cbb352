"""When the demo ends: by itself at its limits, or when a signal asks for it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from turnlock.cli.demo.screen import Figures

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """A context in which the first SIGINT, SIGTERM or SIGHUP raises KeyboardInterrupt until `wait` is first called.

    From then on it makes `reached` true; in either case later signals change nothing, so that what was started can be
    ended in peace. `seconds` and `rotations` are the limits; None is no limit.
    """

    def __init__(self, *, seconds: float | None, rotations: int | None) -> None:
        self._seconds = seconds
        self._rotations = rotations
        self._asked = threading.Event()
        self._polite = False
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._on_signal) for number in _SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def wait(self, seconds: float) -> None:
        """Wait this long, or until a signal comes."""
        self._polite = True
        self._asked.wait(seconds)

    def reached(self, figures: Figures) -> bool:
        """Tell whether it is time to end."""
        late = self._seconds is not None and figures.seconds >= self._seconds
        rotations = figures.rotations + figures.failed_rotations
        return self._asked.is_set() or late or (self._rotations is not None and rotations >= self._rotations)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked.is_set():
            return
        self._asked.set()
        if not self._polite:
            raise KeyboardInterrupt
