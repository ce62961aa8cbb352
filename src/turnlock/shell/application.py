"""One process's part of the server: what `app` has joined, and a server hands its requests to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from turnlock import rds, rotation
from turnlock.config import Config
from turnlock.functions import LambdaService
from turnlock.shell.admission import Admission
from turnlock.shell.background import Loop
from turnlock.shell.metrics import Metrics
from turnlock.shell.readers import InlineReaders, PooledReaders, Readers
from turnlock.storage import Database
from turnlock.trail import (
    BlockingJournal,
    GroupJournal,
    KernelSync,
    OverlappedJournal,
    SegmentHeads,
    SegmentWriter,
    StoreWriter,
    key_of_unit,
)


@dataclass(frozen=True, kw_only=True)
class Application:
    """One process's part of the server, ready to be given requests."""

    config: Config
    database: Database
    admission: Admission
    writer: str
    """This process's name in the trail and in leases: never used twice."""
    scheduler: rotation.Scheduler = field(repr=False)
    functions: LambdaService = field(repr=False)
    metrics: Metrics = field(repr=False)
    provider: rds.Provider = field(repr=False)
    heads: SegmentHeads = field(repr=False)
    loops: tuple[Loop, ...] = field(repr=False)

    def readers(self, loop: asyncio.AbstractEventLoop) -> Readers:
        """Return what carries out the reads of one event loop on this store, and makes their records durable."""
        if self.database.reads_inline:
            key = self.database.write(key_of_unit)
            segments = SegmentWriter(self.config.data_dir / "trail", self.writer, key)
            self.heads.watch(key, self.config.data_dir / "trail", segments.ends)
            return InlineReaders(self.database, self._journal(segments, loop), loop)
        return PooledReaders(self.database, self.metrics.watching(StoreWriter(self.database)), loop)

    def _journal(self, segments: SegmentWriter, loop: asyncio.AbstractEventLoop) -> GroupJournal:
        try:
            return OverlappedJournal(segments, KernelSync(loop), self.metrics.journalled)
        except OSError:
            return BlockingJournal(self.metrics.watching(segments))

    def start(self) -> None:
        """Begin the work that nobody asks for: schedules, rotations, outbox, database servers."""
        self.provider.authorities.write()
        for loop in self.loops:
            loop.start()

    def close(self) -> None:
        """End it, end the functions, finish what is queued."""
        for loop in self.loops:
            loop.stop()
        self.scheduler.close()
        self.functions.close()
        self.provider.close()
        self.heads.flush(self.database)
        self.database.close()
