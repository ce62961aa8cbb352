"""The journal: a record is on the disk before its answer may leave, and one client never costs another its answer."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.segments import read_segment
from tests.support import NOON, StorePlace
from tests.trail.test_chain import KEY, holds
from turnlock.core.arn import AccountId, Region
from turnlock.core.record import TrailEntry
from turnlock.errors import CommitFailed
from turnlock.trail import Journal, SegmentWriter, StoreWriter, TrailTable, journal, verify
from turnlock.trail.store import trail_records

PATIENCE = 20


def entry(name: str) -> TrailEntry:
    return TrailEntry(
        account_id=AccountId("123456789012"),
        region=Region("eu-central-1"),
        event_id=name,
        event_name="Test",
        at=NOON,
        body=f'{{"name":"{name}"}}'.encode(),
    )


def segments(directory: Path) -> dict[str, list[bytes]]:
    """Return the bodies in every segment by its chain's name; each chain must hold."""
    found = {}
    for path in sorted(directory.glob("*.segment")):
        records = read_segment(path)
        assert holds(path.stem, records)
        found[path.stem] = [body for _, body in records]
    return found


def bodies(*names: str) -> list[bytes]:
    return [entry(name).body for name in names]


def test_a_segment_holds_the_records_chained_and_in_order(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "trail", "w", KEY)
    writer.write([entry("a"), entry("b")])
    writer.write([entry("c")])
    writer.close()
    assert segments(tmp_path / "trail") == {"w.1": bodies("a", "b", "c")}


def test_segments_are_nobody_elses(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "trail", "w", KEY)
    writer.close()
    assert (tmp_path / "trail").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "trail" / "w.1.segment").stat().st_mode & 0o777 == 0o600


def test_every_write_is_on_the_disk_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[dict[str, list[bytes]]] = []
    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: synced.append(segments(tmp_path)))
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a")])
    writer.write([entry("b")])
    writer.close()
    assert synced == [{"w.1": bodies("a")}, {"w.1": bodies("a", "b")}]


def test_a_write_does_not_make_its_segment_longer_until_the_zeros_ahead_are_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "AHEAD_BYTES", 1000)
    path = tmp_path / "w.1.segment"
    writer = SegmentWriter(tmp_path, "w", KEY)
    sizes = []
    for name in "abcdefghijklmnopqrst":
        writer.write([entry(name)])
        sizes.append(path.stat().st_size)
        assert segments(tmp_path) == {"w.1": bodies(*"abcdefghijklmnopqrst"[: len(sizes)])}
    assert sizes == sorted(sizes)
    assert set(sizes) == {1000, 2000}
    writer.close()


def test_records_longer_than_the_zeros_ahead_are_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "AHEAD_BYTES", 64)
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a" * 1000), entry("b")])
    writer.write([entry("c" * 300)])
    assert segments(tmp_path) == {"w.1": bodies("a" * 1000, "b", "c" * 300)}
    writer.close()


def test_a_segment_that_was_closed_ends_with_its_last_record(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a"), entry("b")])
    path = tmp_path / "w.1.segment"
    assert path.read_bytes().endswith(b"\0")
    writer.close()
    assert path.read_bytes().endswith(entry("b").body + b"\n")


def test_where_there_is_no_room_for_zeros_the_records_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if not any(data):
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a")])
    writer.write([entry("b")])
    path = tmp_path / "w.1.segment"
    assert path.read_bytes().endswith(b"\n")
    writer.close()
    assert segments(tmp_path) == {"w.1": bodies("a", "b")}


def test_of_a_group_that_a_crash_cut_short_only_whole_lines_at_its_beginning_are_read(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a")])
    kept = (tmp_path / "w.1.segment").read_bytes().index(b"\0")
    writer.write([entry("b"), entry("c")])
    whole = (tmp_path / "w.1.segment").read_bytes()
    writer.close()
    written = whole.index(b"\0")
    # The disk took any one stretch of the group's bytes less, and whatever came behind it.
    for cut in range(kept, written):
        (tmp_path / "w.1.segment").write_bytes(whole[:cut] + b"\0" + whole[cut + 1 :])
        found = segments(tmp_path)["w.1"]
        assert found == bodies("a", "b", "c")[: len(found)]
        assert len(found) == (1 if cut < kept + (written - kept) // 2 else 2)


def test_a_line_cut_short_by_a_crash_is_left_out_and_its_chain_still_holds(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a"), entry("b")])
    writer.close()
    path = tmp_path / "w.1.segment"
    whole = path.read_bytes()
    for cut in range(1, len(whole) - whole.index(b"\n")):
        path.write_bytes(whole[:-cut])
        assert segments(tmp_path) == {"w.1": bodies("a")}


def test_a_process_never_writes_into_anothers_segment(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "w", KEY)
    with pytest.raises(FileExistsError):
        SegmentWriter(tmp_path, "w", KEY)
    writer.close()


def fail_with(code: int) -> Callable[..., int]:
    def fail(*_arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_after_a_write_that_failed_a_new_chain_begins_in_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a")])
    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail_with(code))
        with pytest.raises(OSError, match=os.strerror(code)):
            writer.write([entry("lost")])
    writer.write([entry("b")])
    writer.close()
    found = segments(tmp_path)
    assert found["w.2"] == bodies("b")
    assert found["w.1"][:1] == bodies("a")


def test_after_a_write_that_went_half_through_a_new_chain_begins_in_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SegmentWriter(tmp_path, "w", KEY)
    real, calls = os.pwrite, []

    def half(descriptor: int, data: bytes, offset: int) -> int:
        if not any(data):
            return real(descriptor, data, offset)
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, bytes(data)[: len(data) // 2], offset)

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", half)
        with pytest.raises(OSError, match="full"):
            writer.write([entry("torn")])
    writer.write([entry("b")])
    writer.close()
    assert segments(tmp_path) == {"w.1": [], "w.2": bodies("b")}


def test_short_writes_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "AHEAD_BYTES", 100)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, at: real(descriptor, bytes(data)[:7], at))
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a"), entry("b")])
    writer.close()
    assert segments(tmp_path) == {"w.1": bodies("a", "b")}


def test_a_descriptor_that_was_closed_under_it_costs_one_group_only(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a")])
    os.close(writer._descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        writer.write([entry("lost")])
    writer.write([entry("b")])
    writer.close()
    assert segments(tmp_path) == {"w.1": bodies("a"), "w.2": bodies("b")}


def test_a_directory_that_takes_no_file_for_a_while_costs_no_more_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.write([entry("a")])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail_with(errno.ENOSPC))
        for _ in range(3):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                writer.write([entry("lost")])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    writer.write([entry("b")])
    writer.close()
    assert [found for found in segments(tmp_path).values() if found] == [bodies("a"), bodies("b")]


def test_a_segment_that_is_full_is_followed_by_another_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 200)
    writer = SegmentWriter(tmp_path, "w", KEY)
    for name in "abcdefgh":
        writer.write([entry(name)])
    writer.close()
    found = segments(tmp_path)
    assert list(found) == ["w.1", "w.2", "w.3"]
    assert [body for records in found.values() for body in records] == bodies(*"abcdefgh")


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "w", KEY)
    writer.close()
    writer.close()


def test_the_store_writes_a_group_as_rows_of_one_transaction(store_place: StorePlace) -> None:
    database = store_place.open(sink=lambda: TrailTable("w"))
    writer = StoreWriter(database)
    writer.write([entry("a"), entry("b")])
    writer.write([entry("c")])
    writer.close()
    statement = select(trail_records).order_by(trail_records.c.sequence)
    rows = database.read(lambda unit: unit.connection.execute(statement).all())
    assert [row.event_id for row in rows] == ["a", "b", "c"]
    assert database.read(verify) == []
    first = rows[0]
    assert (first.account_id, first.region, first.event_name, first.at, first.writer) == (
        "123456789012",
        "eu-central-1",
        "Test",
        NOON,
        "w",
    )


class Recorder:
    """A writer that can be held up and told to fail."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.fail = False
        self.closed = False
        self.go = threading.Event()
        self.entered = threading.Event()
        self.go.set()

    def write(self, entries: Sequence[TrailEntry]) -> None:
        self.entered.set()
        assert self.go.wait(PATIENCE)
        if self.fail:
            raise OSError(errno.ENOSPC, "the disk's own words")
        self.groups.append([one.event_id for one in entries])

    def close(self) -> None:
        self.closed = True


def run(work: Callable[[Journal, Recorder], Awaitable[None]]) -> Recorder:
    """Run a test on an event loop with a journal over a recorder."""
    recorder = Recorder()

    async def main() -> None:
        kept = Journal(recorder, asyncio.get_running_loop())
        try:
            await asyncio.wait_for(work(kept, recorder), PATIENCE)
        finally:
            recorder.go.set()
            kept.close()

    asyncio.run(main())
    return recorder


async def hold(kept: Journal, recorder: Recorder) -> asyncio.Future[None]:
    """Make the writer stop inside its first group, so that all that follows gathers behind it."""
    recorder.go.clear()
    first = kept.durable([entry("first")])
    await asyncio.to_thread(recorder.entered.wait, PATIENCE)
    return first


def test_a_future_is_done_once_its_records_are_written_and_not_before() -> None:
    async def work(kept: Journal, recorder: Recorder) -> None:
        first = await hold(kept, recorder)
        await asyncio.sleep(0.02)
        assert not first.done()
        recorder.go.set()
        await first
        assert recorder.groups == [["first"]]

    assert run(work).closed


def test_requests_in_flight_share_one_write() -> None:
    async def work(kept: Journal, recorder: Recorder) -> None:
        first = await hold(kept, recorder)
        rest = [kept.durable([entry(f"{number}"), entry(f"{number}b")]) for number in range(5)]
        recorder.go.set()
        await asyncio.gather(first, *rest)
        assert recorder.groups == [["first"], [f"{n}{s}" for n in range(5) for s in ("", "b")]]

    run(work)


def test_a_client_that_went_away_costs_no_other_its_answer() -> None:
    async def work(kept: Journal, recorder: Recorder) -> None:
        first = await hold(kept, recorder)
        rest = [kept.durable([entry(f"{number}")]) for number in range(4)]
        rest[1].cancel()
        recorder.go.set()
        await asyncio.gather(first, rest[0], rest[2], rest[3])
        assert rest[1].cancelled()
        # What was asked for and carried out is recorded, whoever still listens.
        assert recorder.groups[1] == ["0", "1", "2", "3"]

    run(work)


def test_a_write_that_fails_is_told_to_the_whole_group_and_the_next_one_works() -> None:
    async def work(kept: Journal, recorder: Recorder) -> None:
        first = await hold(kept, recorder)
        rest = [kept.durable([entry(f"{number}")]) for number in range(3)]
        rest[1].cancel()
        recorder.fail = True
        with capture_logs() as logged:
            recorder.go.set()
            failed = await asyncio.gather(first, *rest, return_exceptions=True)
        recorder.fail = False
        assert [type(one) for one in failed] == [
            CommitFailed,
            CommitFailed,
            asyncio.CancelledError,
            CommitFailed,
        ]
        assert "disk's own words" not in str(failed)
        assert len({id(one) for one in failed}) == 4  # each caller raises an error of its own
        assert {line["action"] for line in logged} == {"journal_failed"}
        await kept.durable([entry("next")])
        assert recorder.groups == [["next"]]

    run(work)


def test_closing_writes_what_waits() -> None:
    waiting: list[asyncio.Future[None]] = []

    async def work(kept: Journal, recorder: Recorder) -> None:
        await hold(kept, recorder)
        waiting.extend(kept.durable([entry(f"{number}")]) for number in range(3))

    assert run(work).groups == [["first"], ["0", "1", "2"]]


def test_what_comes_after_closing_is_refused_at_once() -> None:
    async def main() -> None:
        kept = Journal(Recorder(), asyncio.get_running_loop())
        kept.close()
        with pytest.raises(CommitFailed):
            await asyncio.wait_for(kept.durable([entry("late")]), 2)

    asyncio.run(main())


def test_a_loop_that_is_gone_does_not_stop_the_writing() -> None:
    recorder = Recorder()
    loop = asyncio.new_event_loop()
    kept = Journal(recorder, loop)
    recorder.go.clear()
    kept.durable([entry("first")])
    assert recorder.entered.wait(PATIENCE)
    kept.durable([entry("second")])
    loop.close()
    recorder.go.set()
    kept.close()
    gc.collect()
    assert recorder.groups == [["first"], ["second"]]
    assert recorder.closed
