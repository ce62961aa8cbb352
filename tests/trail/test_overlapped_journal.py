"""The journal that does not wait for the disk: one sync under way, the rest gathers, and nobody is told too soon."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.trail.test_chain import KEY
from tests.trail.test_journal import bodies, entry, fail_with, segments
from turnlock.trail import KernelSync, OverlappedJournal, SegmentWriter, journal
from turnlock.trail.kernel_sync import Told


class HeldSync:
    """A disk that ends a sync when it is told to."""

    def __init__(self) -> None:
        self.under_way: list[Told] = []
        self.closed = False

    def start(self, descriptor: int, told: Told) -> None:
        assert os.fstat(descriptor).st_size > 0
        assert not self.under_way
        self.under_way.append(told)

    def end(self, failure: OSError | None = None) -> None:
        self.under_way.pop()(failure)

    def wait(self) -> None:
        self.end()

    def close(self) -> None:
        self.closed = True


class Kept:
    """A journal over a held disk, and what was told to whom."""

    def __init__(self, directory: Path) -> None:
        self.sync = HeldSync()
        self.counted: list[int] = []
        self.told: list[tuple[str, bool]] = []
        self.reasons: list[str | None] = []
        self.journal = OverlappedJournal(
            SegmentWriter(directory, "w", KEY),
            self.sync,
            lambda records, _seconds: self.counted.append(records),
        )

    def keep(self, *names: str) -> None:
        def told(refusal: str | None) -> None:
            self.told.append(("".join(names), refusal is None))
            self.reasons.append(refusal)

        self.journal.durable([entry(name) for name in names], told)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_nobody_is_told_before_the_sync_ended(kept: Kept) -> None:
    kept.keep("a", "b")
    assert (kept.told, kept.counted) == ([], [])
    kept.sync.end()
    assert (kept.told, kept.counted) == ([("ab", True)], [2])


def test_what_comes_meanwhile_is_one_write_and_waits_for_a_sync_of_its_own(
    kept: Kept, tmp_path: Path
) -> None:
    kept.keep("a")
    for name in "bcd":
        kept.keep(name)
    assert segments(tmp_path) == {"w.1": bodies("a")}
    kept.sync.end()
    assert kept.told == [("a", True)]
    assert segments(tmp_path) == {"w.1": bodies("a", "b", "c", "d")}
    kept.sync.end()
    assert kept.told[1:] == [("b", True), ("c", True), ("d", True)]
    assert kept.counted == [1, 3]


def test_a_sync_that_fails_is_told_to_its_group_and_the_next_one_begins_a_new_chain(
    kept: Kept, tmp_path: Path
) -> None:
    kept.keep("a")
    kept.keep("b")
    with capture_logs() as logged:
        kept.sync.end(OSError(errno.EIO, "the disk's own words"))
    assert kept.told == [("a", False)]
    assert "disk's own words" not in str(kept.reasons)
    assert [line["action"] for line in logged] == ["journal_failed"]
    kept.sync.end()
    assert kept.told[1:] == [("b", True)]
    assert segments(tmp_path)["w.2"] == bodies("b")
    assert kept.counted == [1]


def test_a_write_that_fails_is_told_to_its_group_and_the_next_one_begins_a_new_chain(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep("a")
    kept.sync.end()
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", fail_with(errno.ENOSPC))
        kept.keep("lost")
        assert kept.told[1:] == [("lost", False)]
    kept.keep("b")
    kept.sync.end()
    assert kept.told[2:] == [("b", True)]
    found = segments(tmp_path)
    assert (found["w.1"], found["w.2"]) == (bodies("a"), bodies("b"))


def test_a_full_segment_is_followed_by_another(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
    for name in "ab":
        kept.keep(name)
        kept.sync.end()
    assert segments(tmp_path) == {"w.1": bodies("a"), "w.2": bodies("b")}


def test_closing_writes_and_syncs_what_waits(kept: Kept, tmp_path: Path) -> None:
    for name in "abc":
        kept.keep(name)
    kept.journal.close()
    assert kept.told == [("a", True), ("b", True), ("c", True)]
    assert segments(tmp_path) == {"w.1": bodies("a", "b", "c")}
    assert kept.sync.closed


def test_on_the_kernels_own_sync_every_record_is_kept_in_order(tmp_path: Path) -> None:
    names = [f"{number:03}" for number in range(200)]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        kept = OverlappedJournal(SegmentWriter(tmp_path, "w", KEY), KernelSync(loop), lambda *_: None)
        told = [loop.create_future() for _ in names]
        for name, done in zip(names, told, strict=True):
            kept.durable([entry(name)], done.set_result)
            if name.endswith("0"):
                await asyncio.sleep(0.001)
        assert await asyncio.wait_for(asyncio.gather(*told), 20) == [None] * len(names)
        kept.close()

    asyncio.run(main())
    assert segments(tmp_path) == {"w.1": bodies(*names)}
