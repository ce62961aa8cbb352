"""Bodies that take too long, on an event loop of their own; the limits of real requests are in tests/hostile."""

from __future__ import annotations

import asyncio

import pytest

from turnlock.bodies import Patience


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
