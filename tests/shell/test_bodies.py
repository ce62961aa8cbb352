"""Bodies that take too long or are too large, on an event loop of their own; the limits of real requests are in tests/hostile."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterable

import pytest

from turnlock.errors import (
    ApiError,
    RequestEntityTooLargeException,
    SerializationException,
    ThrottlingException,
)
from turnlock.shell.bodies import LEAST_PIECE, MAX_BODY, MAX_REST, RESTS, Bodies, Patience
from turnlock.wire import Headers

PIECE = b"x" * 65_536
EXPECTING = ("expect", "100-continue")


def patiently(seconds: float, *waits: float) -> list[str]:
    """Run tasks that wait so long for something under one Patience; return how each ended."""

    async def main() -> list[str]:
        patience = Patience(asyncio.get_running_loop(), seconds)

        async def body(wait: float) -> str:
            task = patience.begin()
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                return "late"
            patience.end(task)
            await asyncio.sleep(2 * seconds)  # what it does afterwards may take its time
            return "in time"

        return await asyncio.wait_for(asyncio.gather(*map(body, waits)), 20)

    return asyncio.run(main())


def test_who_takes_too_long_is_cancelled_and_nobody_else() -> None:
    assert patiently(0.2, 0, 30, 0.01, 60) == ["in time", "late", "in time", "late"]


def test_patience_begins_anew_for_each() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        patience = Patience(loop, 0.2)

        async def late(after: float) -> float:
            await asyncio.sleep(after)
            began = loop.time()
            patience.begin()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(30)
            return loop.time() - began

        return await asyncio.gather(late(0), late(0.1))

    assert all(took >= 0.19 for took in asyncio.run(main()))


class Sender:
    """What Granian hands over for a request, as far as a body goes: pieces that came, and whether more will ever come."""

    def __init__(self, pieces: Iterable[bytes] = (), *, stalls: bool = False) -> None:
        self._pieces = iter(pieces)
        self._stalls = stalls
        self._begun = False
        self.taken = 0

    def __aiter__(self) -> Sender:
        assert not self._begun, "Granian gives a body's pieces once"
        self._begun = True
        return self

    async def __anext__(self) -> bytes:
        assert self._begun
        for piece in self._pieces:
            self.taken += 1
            return piece
        if self._stalls:
            await asyncio.sleep(3600)
        raise StopAsyncIteration


TOO_LARGE = RequestEntityTooLargeException()


def taken(headers: Headers, sender: Sender, refusal: ApiError = TOO_LARGE) -> int:
    """Return how many pieces of a refused body are taken in."""

    async def main() -> int:
        bodies = Bodies(asyncio.get_running_loop())
        if "content-length" not in dict(headers):
            with pytest.raises(RequestEntityTooLargeException):
                await bodies.read("/", headers, sender)
        before = sender.taken
        await bodies.take_rest(refusal, headers, sender)
        return sender.taken - before

    return asyncio.run(asyncio.wait_for(main(), 5))


def declared(size: int) -> Headers:
    return (("content-length", str(size)),)


@pytest.mark.parametrize("refusal", [TOO_LARGE, ThrottlingException()])
def test_the_rest_of_a_body_that_was_refused_for_its_size_is_taken_in(refusal: ApiError) -> None:
    assert taken(declared(33 * len(PIECE)), Sender([PIECE] * 33), refusal) == 33


@pytest.mark.parametrize("headers", [(), (EXPECTING,)], ids=["at once", "after 100 (Continue)"])
def test_so_is_the_rest_of_one_in_chunks(headers: Headers) -> None:
    assert taken(headers, Sender([PIECE] * 50)) == 50 - MAX_BODY // len(PIECE) - 1


def test_what_came_in_chunks_is_let_go_before_the_rest_comes() -> None:
    async def main() -> int:
        with pytest.raises(RequestEntityTooLargeException) as refusal:
            await Bodies(asyncio.get_running_loop()).read("/", (), Sender([PIECE] * 50))
        assert refusal.tb is not None  # it is alive, and with it the frames
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        assert asyncio.run(main()) < MAX_BODY // 4
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        (declared(MAX_REST + 1), TOO_LARGE),
        ((*declared(MAX_BODY + 1), EXPECTING), TOO_LARGE),
        ((("content-length", "much"),), TOO_LARGE),
        (declared(9), SerializationException()),
    ],
    ids=["too large by far", "waits for leave to send", "no number", "not refused for its size"],
)
def test_of_others_nothing_is_taken_in(headers: Headers, refusal: ApiError) -> None:
    assert taken(headers, Sender([PIECE], stalls=True), refusal) == 0


def test_what_is_taken_in_of_chunks_is_bounded_however_small_they_are() -> None:
    start = [PIECE] * (MAX_BODY // len(PIECE) + 1)
    assert taken((), Sender(start + [PIECE] * 1_000)) == MAX_REST // len(PIECE)
    assert taken((), Sender(start + [b"x"] * 10_000)) == MAX_REST // LEAST_PIECE


def test_few_are_taken_in_at_once() -> None:
    async def main() -> None:
        bodies = Bodies(asyncio.get_running_loop())
        size = declared(MAX_BODY + 1)
        stalled = [Sender([PIECE], stalls=True) for _ in range(RESTS)]
        tasks = [asyncio.create_task(bodies.take_rest(TOO_LARGE, size, one)) for one in stalled]
        await asyncio.sleep(0.01)
        assert [one.taken for one in stalled] == [1] * RESTS
        await bodies.take_rest(TOO_LARGE, size, another := Sender([PIECE]))
        assert another.taken == 0
        tasks[0].cancel()
        await tasks[0]
        await bodies.take_rest(TOO_LARGE, size, another)
        assert another.taken == 1
        for task in tasks:
            task.cancel()

    asyncio.run(asyncio.wait_for(main(), 5))


def test_bodies_that_are_on_their_way_are_counted() -> None:
    async def main() -> None:
        bodies = Bodies(asyncio.get_running_loop())
        assert bodies.awaited() == 0
        sent = asyncio.Event()

        async def body() -> bytes:
            await sent.wait()
            return b"{}"

        reads = [asyncio.create_task(bodies.read("/", (("content-length", "2"),), body)) for _ in range(3)]
        await asyncio.sleep(0)
        assert bodies.awaited() == 3
        sent.set()
        assert await asyncio.gather(*reads) == [b"{}"] * 3
        assert bodies.awaited() == 0

    asyncio.run(main())
