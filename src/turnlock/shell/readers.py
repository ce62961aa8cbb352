"""Reads, carried out and recorded: what one returns is there once its records are durable.

Which way a read goes is the store's affair. Where it runs inline, the requests that are ready together make one group: one
look at the store for what was committed since, one write, one sync. Else each runs on a thread of a bounded pool, and the
journal gathers the records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from turnlock.errors import CommitFailed, StoreError
from turnlock.storage import Database, Outcome, Unit
from turnlock.trail import GroupJournal, GroupWriter, Journal

T = TypeVar("T")
log = structlog.get_logger(__name__)

GROUP_LIMIT = 64
"""The most reads in one group: the first of them waits for the last."""

THREADS = 16
"""Threads for reads on a store that is not inline."""


Released = tuple[asyncio.Future[Any], Outcome[Any]]


class Readers(Protocol):
    """Carries out the reads of one event loop."""

    def run(self, work: Callable[[Unit], T]) -> Awaitable[T]:
        """Run `work` on a snapshot no older than this call; its value is there once the unit's records are durable.

        Raises what `work` raises, and CommitFailed when the records could not be made durable.
        """
        ...

    def close(self) -> None:
        """Finish what was begun, and let go of everything."""
        ...


class InlineReaders:
    """Runs reads on the event loop's own thread, when the loop has worked off what is ready.

    No thread is woken for each group: with the interpreter's lock that cost more than it gained (docs/decisions/0021-hot-path.md).
    """

    def __init__(self, database: Database, journal: GroupJournal, loop: asyncio.AbstractEventLoop) -> None:
        self._database = database
        self._journal = journal
        self._loop = loop
        self._waiting: list[tuple[Callable[[Unit], Any], asyncio.Future[Any]]] = []
        self._released = False
        """Whether outcomes were released whose callers may not have run yet."""
        self._closed = False

    def run(self, work: Callable[[Unit], T]) -> asyncio.Future[T]:
        """See `Readers`."""
        done: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            done.set_exception(CommitFailed("The trail is closed."))
            return done
        if not self._waiting:
            self._loop.call_soon(self._gather)
        self._waiting.append((work, done))
        return done

    def close(self) -> None:
        """See `Readers`."""
        self._closed = True
        while self._waiting:
            self._work_off()
        self._journal.close()

    def _gather(self) -> None:
        """Work off what waits, behind answers that were released: a group takes a millisecond, they take a turn of the loop."""
        if not self._waiting:  # closed meanwhile
            return
        if self._released:
            self._released = False
            self._loop.call_soon(self._gather)
        else:
            self._work_off()

    def _work_off(self) -> None:
        group, self._waiting = self._waiting[:GROUP_LIMIT], self._waiting[GROUP_LIMIT:]
        if self._waiting and not self._closed:
            self._loop.call_soon(self._work_off)
        outcomes = self._outcomes([work for work, _ in group])
        entries = [entry for outcome in outcomes for entry in outcome.entries]
        recorded: list[Released] = []
        for (_, done), outcome in zip(group, outcomes, strict=True):
            if outcome.entries:
                recorded.append((done, outcome))
            else:
                _release(done, outcome, None)
        if recorded:
            self._journal.durable(entries, partial(self._release_all, recorded))

    def _release_all(self, group: list[Released], refusal: str | None) -> None:
        self._released = True
        for done, outcome in group:
            _release(done, outcome, refusal)

    def _outcomes(self, works: list[Callable[[Unit], Any]]) -> list[Outcome[Any]]:
        try:
            return self._database.read_each(works)
        except Exception as error:
            log.exception("the store cannot be read", action="read_failed", reads=len(works))
            reason = f"The store cannot be read ({type(error).__name__})."
            return [Outcome(None, StoreError(reason), []) for _ in works]


class PooledReaders:
    """Runs each read on a thread of a pool, and hands its records to the journal."""

    def __init__(self, database: Database, writer: GroupWriter, loop: asyncio.AbstractEventLoop) -> None:
        self._database = database
        self._loop = loop
        self._journal = Journal(writer, loop)
        self._threads = ThreadPoolExecutor(THREADS, "reader")

    async def run(self, work: Callable[[Unit], T]) -> T:
        """See `Readers`."""
        [outcome] = await self._loop.run_in_executor(self._threads, self._database.read_each, [work])
        if outcome.entries:
            await self._journal.durable(outcome.entries)
        return outcome.result()

    def close(self) -> None:
        """See `Readers`."""
        self._threads.shutdown()
        self._journal.close()


def _release(done: asyncio.Future[Any], outcome: Outcome[Any], refusal: str | None) -> None:
    """Give one caller its outcome. One whose client went away costs no other its answer."""
    if done.done():
        return
    if outcome.failure is not None:
        done.set_exception(outcome.failure)
    elif refusal is not None:
        done.set_exception(CommitFailed(refusal))
    else:
        done.set_result(outcome.value)
