"""Making the records of reads durable in groups, before their answers leave.

Requests in flight share one write: while a group is on its way to the disk the next one gathers. Each release is
isolated, so that one dead client never costs another its answer.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from turnlock.core.record import TrailEntry
from turnlock.errors import CommitFailed
from turnlock.storage import Database
from turnlock.trail.chain import Chain, Ends, Link
from turnlock.trail.kernel_sync import FileSync

log = structlog.get_logger(__name__)

SEGMENT_BYTES = 64 * 1024 * 1024

AHEAD_BYTES = 256 * 1024
"""Zeros that are written ahead of the records.

Where a write makes its file longer, each sync is also a commit of the file system's own journal. Over bytes that are there
already it is not, and takes less than half the time (docs/decisions/0025-segments-ahead.md).
"""


class GroupWriter(Protocol):
    """Makes a group of records durable."""

    def write(self, entries: Sequence[TrailEntry]) -> None:
        """Return once every entry is durable; raise when not every one is."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


class SegmentWriter:
    """Append-only files under `DIR/trail`, one chain each; a new one for each process and each SEGMENT_BYTES.

    A line is `sequence digest record`, the digest in hexadecimal, the record in JSON without line breaks. Behind the last line
    of a segment in use, or left by a crash, come zeros. What a crash cut short was never answered for: readers take what
    is before the first zero byte, and leave out a last line that has no line feed.
    """

    def __init__(self, directory: Path, writer: str, key: bytes) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._writer = writer
        self._key = key
        self._chains = 0
        self._ended: dict[str, Link] = {}
        """Where chains ended that have a new one behind them; small: one for each SEGMENT_BYTES."""
        self._descriptor = -1
        self._size = self._ahead = 0
        """Where the records end, and the zeros behind them."""
        self._appended: list[Link] = []
        self._begin()

    def write(self, entries: Sequence[TrailEntry]) -> None:
        """Append, fdatasync and settle."""
        descriptor = self.append(entries)
        try:
            os.fdatasync(descriptor)
        except OSError:
            self.settle(durable=False)
            raise
        self.settle(durable=True)

    def append(self, entries: Sequence[TrailEntry]) -> int:
        """Append; return the descriptor that must be synced, and the outcome told to `settle`, before the next call.

        Raises OSError when not everything could be appended; what could is settled as not durable.
        """
        if self._descriptor < 0:
            self._begin()
        links = self._chain.extend([entry.body for entry in entries])
        lines = b"".join(
            [
                b"%d %s %s\n" % (link.sequence, link.digest.hex().encode(), entry.body)
                for entry, link in zip(entries, links, strict=True)
            ]
        )
        end = self._size + len(lines)
        try:
            if end > self._ahead:
                self._write_ahead(end)
            _write_all(self._descriptor, lines, self._size)
        except OSError:
            self.settle(durable=False)
            raise
        self._appended = links
        self._size = end
        return self._descriptor

    def settle(self, *, durable: bool) -> None:
        """Take what was appended into the chain. Else nothing is known of the file's end: a new chain begins in a new file."""
        if durable:
            self._chain.advance(self._appended)
        if not durable or self._size >= SEGMENT_BYTES:
            self.close()

    def ends(self) -> Ends:
        """Return the last durable record of each chain that has one. Any thread may ask."""
        chain, ended = self._chain, self._ended
        growing = {} if chain.writer in ended else {chain.writer: chain.head}
        return Ends(ended=_with_records(ended), growing=_with_records(growing))

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        self._ended = {**self._ended, self._chain.writer: self._chain.head}
        if descriptor >= 0:
            with suppress(OSError):  # the records are on the disk already, or were told to be lost
                try:
                    os.ftruncate(descriptor, self._size)
                finally:
                    os.close(descriptor)

    def _begin(self) -> None:
        self._chains += 1
        self._chain = Chain(f"{self._writer}.{self._chains}", self._key)
        self._descriptor, self._size, self._ahead = self._next_file(), 0, 0

    def _write_ahead(self, end: int) -> None:
        """Write zeros from the records' end to the next multiple of AHEAD_BYTES behind `end`, if there is room for them."""
        ahead = end + AHEAD_BYTES - end % AHEAD_BYTES
        with suppress(OSError):  # the records themselves may have room, or say that they have none
            _write_all(self._descriptor, bytes(ahead - self._size), self._size)
            self._ahead = ahead

    def _next_file(self) -> int:
        """Open the chain's file, its name durable in the directory before any record is in it."""
        path = self._directory / f"{self._chain.writer}.segment"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _sync_directory(self._directory)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


class StoreWriter:
    """Rows of the shared store, one transaction for each group."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, entries: Sequence[TrailEntry]) -> None:
        self._database.write(lambda unit: unit.entries.extend(entries))

    def close(self) -> None:
        return None


class Journal:
    """Gathers the records of requests on one event loop, writes them on one thread."""

    def __init__(self, writer: GroupWriter, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._loop = loop
        self._waiting: list[tuple[list[TrailEntry], asyncio.Future[None]]] = []
        self._change = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write_forever, name="journal", daemon=True)
        self._thread.start()

    def durable(self, entries: list[TrailEntry]) -> asyncio.Future[None]:
        """Return a future that is done once the entries are durable, or holds CommitFailed."""
        done: asyncio.Future[None] = self._loop.create_future()
        with self._change:
            if self._closing:
                done.set_exception(CommitFailed("The trail is closed."))
                return done
            self._waiting.append((entries, done))
            self._change.notify()
        return done

    def close(self) -> None:
        """Write what is waiting, then stop."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()
        self._writer.close()

    def _write_forever(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._closing:
                    self._change.wait()
                group, self._waiting = self._waiting, []
            if not group:
                return
            failure = write_group(self._writer, [entry for entries, _ in group for entry in entries])
            with suppress(
                RuntimeError
            ):  # the loop is gone, and all who waited on it; what follows is written all the same
                self._loop.call_soon_threadsafe(_release, [done for _, done in group], failure)


class GroupJournal(Protocol):
    """Makes the records of groups durable, on an event loop's thread."""

    def durable(self, entries: Sequence[TrailEntry], told: Callable[[str | None], None]) -> None:
        """Make entries durable; `told` is called with None then, or with what their callers are told when it failed."""
        ...

    def close(self) -> None:
        """Write what waits, and let go of the files."""
        ...


class BlockingJournal:
    """Writes each group at once, and waits for it."""

    def __init__(self, writer: GroupWriter) -> None:
        self._writer = writer

    def durable(self, entries: Sequence[TrailEntry], told: Callable[[str | None], None]) -> None:
        """See `GroupJournal`."""
        told(write_group(self._writer, entries))

    def close(self) -> None:
        """See `GroupJournal`."""
        self._writer.close()


class OverlappedJournal:
    """Appends a group to the segment and goes on; what comes until it is synced gathers for the next write."""

    def __init__(self, segments: SegmentWriter, sync: FileSync, count: Callable[[int, float], None]) -> None:
        """`count` is told of each group that became durable: how many records it had, and how many seconds it took."""
        self._segments = segments
        self._sync = sync
        self._count = count
        self._waiting: list[tuple[Sequence[TrailEntry], Callable[[str | None], None]]] = []
        self._in_flight: list[tuple[Sequence[TrailEntry], Callable[[str | None], None]]] = []
        self._began = 0.0

    def durable(self, entries: Sequence[TrailEntry], told: Callable[[str | None], None]) -> None:
        """See `GroupJournal`."""
        self._waiting.append((entries, told))
        if not self._in_flight:
            self._begin()

    def close(self) -> None:
        """See `GroupJournal`."""
        while self._in_flight:
            self._sync.wait()
        self._segments.close()
        self._sync.close()

    def _begin(self) -> None:
        self._in_flight, self._waiting = self._waiting, []
        self._began = time.perf_counter()
        try:
            descriptor = self._segments.append([entry for entries, _ in self._in_flight for entry in entries])
        except Exception as error:  # noqa: BLE001 (it is told to the callers, and logged)
            self._end(_failure(error))
        else:
            self._sync.start(descriptor, self._synced)

    def _synced(self, failure: OSError | None) -> None:
        self._segments.settle(durable=failure is None)
        self._end(None if failure is None else _failure(failure))

    def _end(self, refusal: str | None) -> None:
        """Begin the next write, then tell whose records this one had."""
        ended, self._in_flight = self._in_flight, []
        if refusal is None:
            self._count(sum(len(entries) for entries, _ in ended), time.perf_counter() - self._began)
        if self._waiting:
            self._begin()
        for _, told in ended:
            told(refusal)


def write_group(writer: GroupWriter, entries: Sequence[TrailEntry]) -> str | None:
    """Write a group; return None, or what its callers are told when it failed."""
    try:
        writer.write(entries)
    except Exception as error:  # noqa: BLE001 (it is told to the callers, and logged)
        return _failure(error)
    return None


def _failure(error: Exception) -> str:
    log.error("records could not be made durable", action="journal_failed", exc_info=error)
    return f"The trail could not be written ({type(error).__name__})."


def _release(group: list[asyncio.Future[None]], failure: str | None) -> None:
    for done in group:
        if done.done():  # its client went away
            continue
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(CommitFailed(failure))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _with_records(heads: Mapping[str, Link]) -> dict[str, Link]:
    return {writer: link for writer, link in heads.items() if link.sequence}
