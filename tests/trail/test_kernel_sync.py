"""Syncing without waiting: told once, with the truth, and on machines without it not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from turnlock.trail import KernelSync

PATIENCE = 20


def run(test: Callable[[KernelSync], Awaitable[None]]) -> None:
    async def main() -> None:
        sync = KernelSync(asyncio.get_running_loop())
        try:
            await asyncio.wait_for(test(sync), PATIENCE)
        finally:
            sync.close()

    asyncio.run(main())


def written(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b"x" * 10_000)
    return descriptor


async def told_by(sync: KernelSync, descriptor: int) -> OSError | None:
    told: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
    sync.start(descriptor, told.set_result)
    return await told


def test_the_end_is_told_on_the_loop_again_and_again(tmp_path: Path) -> None:
    async def test(sync: KernelSync) -> None:
        descriptor = written(tmp_path / "file")
        for _ in range(20):
            os.write(descriptor, b"more")
            assert await told_by(sync, descriptor) is None
        os.close(descriptor)

    run(test)


def test_the_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    async def test(sync: KernelSync) -> None:
        descriptor, told = written(tmp_path / "file"), list[OSError | None]()
        sync.start(descriptor, told.append)
        assert told == []
        while not told:
            await asyncio.sleep(0)
        assert told == [None]
        os.close(descriptor)

    run(test)


def test_waiting_ends_when_it_was_told_and_it_is_told_once(tmp_path: Path) -> None:
    async def test(sync: KernelSync) -> None:
        descriptor, told = written(tmp_path / "file"), list[OSError | None]()
        sync.wait()
        sync.start(descriptor, told.append)
        sync.wait()
        assert told == [None]
        await asyncio.sleep(0.02)
        assert told == [None]
        assert await told_by(sync, descriptor) is None
        os.close(descriptor)

    run(test)


def test_what_the_kernel_does_not_take_is_synced_at_once_and_its_failure_told(tmp_path: Path) -> None:
    async def test(sync: KernelSync) -> None:
        reading, writing = os.pipe()
        failure = await told_by(sync, writing)
        assert failure is not None
        assert failure.errno == errno.EINVAL
        os.close(reading)
        os.close(writing)
        descriptor = written(tmp_path / "file")
        os.close(descriptor)
        failure = await told_by(sync, descriptor)
        assert failure is not None
        assert failure.errno == errno.EBADF

    run(test)


def test_a_machine_whose_calls_are_not_known_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSYS)):
        run(lambda _: asyncio.sleep(0))


def test_nothing_of_it_stays_open() -> None:
    run(lambda _: asyncio.sleep(0))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        run(lambda _: asyncio.sleep(0))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
