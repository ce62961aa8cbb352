"""Reads and their records: nothing is answered before it is durable, and no read costs another its answer."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.support import StorePlace
from tests.trail.test_journal import entry
from turnlock.core.record import TrailEntry
from turnlock.errors import CommitFailed, StoreError
from turnlock.shell import readers
from turnlock.shell.readers import InlineReaders, PooledReaders, Readers
from turnlock.storage import Database, Unit
from turnlock.trail import BlockingJournal

PATIENCE = 20


class Recorder:
    """A writer that keeps the groups it was given, and can be told to fail."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.fail = False
        self.closed = False

    def write(self, entries: Sequence[TrailEntry]) -> None:
        if self.fail:
            raise OSError(errno.ENOSPC, "the disk's own words")
        self.groups.append([one.event_id for one in entries])

    def close(self) -> None:
        self.closed = True


def reading(name: str) -> Callable[[Unit], str]:
    """Return a read that leaves a record."""

    def work(unit: Unit) -> str:
        assert unit.connection.execute(select(1)).scalar() == 1
        unit.record(entry(name))
        return name

    return work


def failing(unit: Unit) -> str:
    unit.record(entry("of a read that failed"))
    raise LookupError


def silent(_unit: Unit) -> str:
    return "silent"


def run(database: Database, test: Callable[[Readers, Recorder], Awaitable[None]]) -> Recorder:
    """Run a test on an event loop, with what the store's reads are carried out by."""
    recorder = Recorder()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        carried_out = (
            InlineReaders(database, BlockingJournal(recorder), loop)
            if database.reads_inline
            else PooledReaders(database, recorder, loop)
        )
        try:
            await asyncio.wait_for(test(carried_out, recorder), PATIENCE)
        finally:
            carried_out.close()

    asyncio.run(main())
    assert recorder.closed
    return recorder


async def outcomes(*reads: Awaitable[str]) -> list[str | BaseException]:
    return await asyncio.gather(*reads, return_exceptions=True)


def test_a_value_is_there_once_its_record_is_written(database: Database) -> None:
    async def test(carried_out: Readers, recorder: Recorder) -> None:
        assert await carried_out.run(reading("a")) == "a"
        assert recorder.groups == [["a"]]

    run(database, test)


def test_a_read_that_fails_leaves_no_record_and_costs_no_other_its_answer(database: Database) -> None:
    async def test(carried_out: Readers, recorder: Recorder) -> None:
        found = await outcomes(*map(carried_out.run, (reading("a"), failing, silent, reading("b"))))
        assert (found[0], type(found[1]), found[2:]) == ("a", LookupError, ["silent", "b"])
        assert sorted(name for group in recorder.groups for name in group) == ["a", "b"]

    run(database, test)


def test_where_the_record_cannot_be_written_nothing_is_told(database: Database) -> None:
    async def test(carried_out: Readers, recorder: Recorder) -> None:
        recorder.fail = True
        with capture_logs() as logged:
            found = await outcomes(*map(carried_out.run, (reading("a"), silent, reading("b"))))
        assert [type(one) for one in found] == [CommitFailed, str, CommitFailed]
        assert found[0] is not found[2]  # each caller raises an error of its own
        assert "disk's own words" not in str(found)
        assert {line["action"] for line in logged} == {"journal_failed"}
        recorder.fail = False
        assert await carried_out.run(reading("next")) == "next"
        assert recorder.groups == [["next"]]

    run(database, test)


def test_a_client_that_went_away_costs_no_other_its_answer(database: Database) -> None:
    async def test(carried_out: Readers, _recorder: Recorder) -> None:
        reads = [asyncio.ensure_future(carried_out.run(reading(name))) for name in "abc"]
        reads[1].cancel()
        found = await outcomes(*reads)
        assert (found[0], type(found[1]), found[2]) == ("a", asyncio.CancelledError, "c")

    run(database, test)


@pytest.fixture
def inline(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return StorePlace(url=None, data_dir=tmp_path_factory.mktemp("store")).open()


def test_reads_that_are_ready_together_share_one_write(inline: Database) -> None:
    async def test(carried_out: Readers, recorder: Recorder) -> None:
        await outcomes(*(carried_out.run(reading(name)) for name in "abcde"))
        assert recorder.groups == [list("abcde")]
        await outcomes(carried_out.run(reading("f")), carried_out.run(silent))
        assert recorder.groups[1:] == [["f"]]

    run(inline, test)


def test_a_group_is_bounded_and_its_answers_do_not_wait_for_the_next(
    inline: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "GROUP_LIMIT", 3)

    async def test(carried_out: Readers, recorder: Recorder) -> None:
        groups_at_answer: list[int] = []

        async def ask(name: str) -> str:
            answer = await carried_out.run(reading(name))
            groups_at_answer.append(len(recorder.groups))
            return answer

        assert await outcomes(*map(ask, "abcdefgh")) == list("abcdefgh")
        assert recorder.groups == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]
        assert groups_at_answer[0] < 3
        assert all(before <= after for before, after in pairwise(groups_at_answer))

    run(inline, test)


def test_closing_carries_out_what_waits_and_refuses_what_comes_after(inline: Database) -> None:
    async def test(carried_out: Readers, recorder: Recorder) -> None:
        waiting = [carried_out.run(reading(name)) for name in "abc"]
        carried_out.close()
        assert recorder.groups == [list("abc")]
        assert await outcomes(*waiting) == list("abc")
        with pytest.raises(CommitFailed):
            await carried_out.run(reading("late"))

    run(inline, test)


def test_a_store_that_cannot_be_read_is_told_to_each_caller(
    inline: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_works: object) -> list[object]:
        raise OSError(errno.EIO, "the disk's own words")

    async def test(carried_out: Readers, recorder: Recorder) -> None:
        with monkeypatch.context() as patched, capture_logs() as logged:
            patched.setattr(inline, "read_each", broken)
            found = await outcomes(carried_out.run(reading("a")), carried_out.run(silent))
        assert [type(one) for one in found] == [StoreError, StoreError]
        assert found[0] is not found[1]
        assert "disk's own words" not in str(found)
        assert [line["action"] for line in logged] == ["read_failed"]
        assert await carried_out.run(reading("next")) == "next"
        assert recorder.groups == [["next"]]

    run(inline, test)


class HeldJournal:
    """A journal whose groups are durable when the test says so."""

    def __init__(self) -> None:
        self.told: list[Callable[[str | None], None]] = []

    def durable(self, _entries: Sequence[TrailEntry], told: Callable[[str | None], None]) -> None:
        self.told.append(told)

    def close(self) -> None:
        for told in self.told:
            told(None)


def test_answers_leave_before_the_next_group_is_worked_off(inline: Database) -> None:
    happened: list[str] = []
    journal = HeldJournal()

    def work(unit: Unit) -> str:
        happened.append("second is read")
        return reading("second")(unit)

    async def ask(carried_out: Readers, name: str) -> None:
        await carried_out.run(reading(name))
        happened.append(f"{name} is answered")

    async def main() -> None:
        carried_out = InlineReaders(inline, journal, asyncio.get_running_loop())
        asked = [asyncio.create_task(ask(carried_out, name)) for name in ("a", "b")]
        while not journal.told:
            await asyncio.sleep(0)
        second = carried_out.run(work)
        journal.told.pop()(None)
        await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
        while not journal.told:
            await asyncio.sleep(0)
        carried_out.close()
        assert await second == "second"

    asyncio.run(main())
    assert happened == ["a is answered", "b is answered", "second is read"]


def test_what_is_closed_while_a_group_gathers_is_carried_out_once(inline: Database) -> None:
    async def test(carried_out: Readers, recorder: Recorder) -> None:
        waiting = carried_out.run(reading("a"))
        carried_out.close()
        with capture_logs() as logged:
            for _ in range(6):
                await asyncio.sleep(0)
        assert await waiting == "a"
        assert (recorder.groups, logged) == ([["a"]], [])

    run(inline, test)
