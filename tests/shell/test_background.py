"""Loops: they tick, wait, can be woken, survive what a tick raises, and stop at once."""

from __future__ import annotations

import threading
import time

import pytest
from structlog.testing import capture_logs

from turnlock.shell import background
from turnlock.shell.background import Loop

PATIENCE = 10.0


class Ticks:
    """Counts ticks, and answers with a delay or an error."""

    def __init__(self, delay: float = 600.0, error: Exception | None = None) -> None:
        self.count = 0
        self.delay = delay
        self.error = error
        self._ticked = threading.Semaphore(0)

    def __call__(self) -> float:
        self.count += 1
        self._ticked.release()
        if self.error is not None:
            raise self.error
        return self.delay

    def wait(self, times: int = 1) -> None:
        for _ in range(times):
            assert self._ticked.acquire(timeout=PATIENCE)


def stop_quickly(loop: Loop) -> None:
    before = time.monotonic()
    loop.stop()
    assert time.monotonic() - before < 5
    assert not loop._thread.is_alive()


def test_a_loop_ticks_at_once_and_again_after_its_delay() -> None:
    ticks = Ticks(delay=0.01)
    loop = Loop("test", ticks)
    loop.start()
    ticks.wait(3)
    stop_quickly(loop)


def test_waking_cuts_a_delay_short() -> None:
    ticks = Ticks()
    loop = Loop("test", ticks)
    loop.start()
    ticks.wait()
    loop.wake()
    ticks.wait()
    stop_quickly(loop)
    assert ticks.count == 2


def test_waking_during_a_tick_is_not_lost() -> None:
    loop: Loop
    ticked = threading.Semaphore(0)
    count = 0

    def tick() -> float:
        nonlocal count
        count += 1
        if count == 1:
            loop.wake()
        ticked.release()
        return 600.0

    loop = Loop("test", tick)
    loop.start()
    for _ in range(2):
        assert ticked.acquire(timeout=PATIENCE)
    stop_quickly(loop)


def test_a_tick_that_raises_is_logged_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "AFTER_FAILURE", 0.01)
    ticks = Ticks(error=ValueError("trouble"))
    loop = Loop("purging", ticks)
    with capture_logs() as logged:
        loop.start()
        ticks.wait(3)
        stop_quickly(loop)
    assert {(line["action"], line["loop"]) for line in logged} == {("background_failed", "purging")}


def test_stopping_waits_for_the_tick_that_runs_but_not_for_ever() -> None:
    go, inside, ended = threading.Event(), threading.Event(), threading.Event()

    def tick() -> float:
        inside.set()
        go.wait(PATIENCE)
        ended.set()
        return 600.0

    loop = Loop("test", tick)
    loop.start()
    assert inside.wait(PATIENCE)
    loop.stop(timeout=0.05)
    assert not ended.is_set()
    go.set()
    stop_quickly(loop)
    assert ended.is_set()


def test_a_loop_that_never_started_stops() -> None:
    loop = Loop("test", Ticks())
    loop.stop()
    assert not loop._thread.is_alive()


def test_a_stop_that_comes_just_before_the_next_tick_is_not_slept_through() -> None:
    """Between the look whether to stop and the clearing of the bell: the bell's ring must not be the only sign."""
    ticks = Ticks()
    loop = Loop("test", ticks)

    class Bell(threading.Event):
        def clear(self) -> None:
            loop._stopping = True  # what `stop` does first, and then it rings
            self.set()
            super().clear()

    loop._wake = Bell()
    loop.start()
    loop._thread.join(60)
    assert not loop._thread.is_alive()
