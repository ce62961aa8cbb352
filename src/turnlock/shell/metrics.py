"""What a server counts, as Prometheus reads it at `/metrics` (exposition format 0.0.4).

What it does: each worker process counts in plain numbers, since a request has no time for more, and leaves them once a second in a
file of its own; whichever worker is asked adds its own numbers to what the files of the same server say. What it trusts:
those files, in the data directory. What it must never do: take a label's value from a caller. Labels are services, operations
and codes that the models and `errors` know, so there is a bound to how many there are, and no name, account or ARN among them.

The numbers of a worker that was replaced stay counted until the server ends: a sum that fell would look like a restart.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from turnlock.core.record import TrailEntry
from turnlock.storage.outbox import Backlog
from turnlock.trail import GroupWriter

log = structlog.get_logger(__name__)

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of a latency's buckets, in seconds; what took longer is in one more."""

KEEP_SECONDS: Final = 1.0
"""How old another worker's numbers may be."""

OK: Final = "OK"
"""The code of a request that was answered with what it asked for."""

K = TypeVar("K")


class Spread(msgspec.Struct, array_like=True):
    """How long something took, each time."""

    seconds: float = 0.0
    """All together."""
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    """How often within each of BUCKETS and no smaller one, and beyond."""

    def note(self, seconds: float) -> None:
        """Count one time."""
        self.seconds += seconds
        self.counts[bisect_left(BUCKETS, seconds)] += 1

    def add(self, other: Spread) -> None:
        """Add another's times."""
        self.seconds += other.seconds
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]


class Kept(msgspec.Struct):
    """One process's numbers as they stand in its file."""

    requests: list[tuple[tuple[str, str, str], int]]
    latencies: list[tuple[tuple[str, str], Spread]]
    refused: list[tuple[str, int]]
    rotations: list[tuple[str, int]]
    failed: int
    journal: tuple[int, int, float]
    """Groups, records, seconds."""


@dataclass(slots=True)
class Numbers:
    """Counts of one process, or the sum of several's."""

    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By (service, operation, code)."""
    latencies: dict[tuple[str, str], Spread] = field(default_factory=dict)
    """By (service, operation)."""
    refused: Counter[str] = field(default_factory=Counter)
    """By code."""
    rotations: Counter[str] = field(default_factory=Counter)
    """By service event."""
    failed: int = 0
    groups: int = 0
    records: int = 0
    journal_seconds: float = 0.0

    def kept(self) -> Kept:
        """Return them as a file holds them. Each list is made in one step, whatever other threads count meanwhile."""
        return Kept(
            requests=list(self.requests.items()),
            latencies=list(self.latencies.items()),
            refused=list(self.refused.items()),
            rotations=list(self.rotations.items()),
            failed=self.failed,
            journal=(self.groups, self.records, self.journal_seconds),
        )

    def add(self, kept: Kept) -> None:
        """Add another process's."""
        _add(self.requests, kept.requests)
        _add(self.refused, kept.refused)
        _add(self.rotations, kept.rotations)
        for key, spread in kept.latencies:
            self.latencies.setdefault(key, Spread()).add(spread)
        self.failed += kept.failed
        groups, records, seconds = kept.journal
        self.groups, self.records = self.groups + groups, self.records + records
        self.journal_seconds += seconds


def _add(counter: Counter[K], counts: Iterable[tuple[K, int]]) -> None:
    for key, count in counts:
        counter[key] += count


class Metrics:
    """One worker's counts, and its way to those of the others of the same server."""

    def __init__(self, directory: Path, *, store: str, process: str) -> None:
        self._directory = directory
        self._store = store
        self._server = f"{os.getppid()}-"
        self._path = directory / f"{self._server}{process}.json"
        self._numbers = Numbers()
        self._rotating = threading.Lock()
        self._last = b""

    def answered(self, service: str, operation: str, code: str, seconds: float) -> None:
        """Count a request whose caller is known. Called by the event loop's thread alone."""
        numbers = self._numbers
        numbers.requests[service, operation, code] += 1
        spread = numbers.latencies.get((service, operation))
        if spread is None:
            spread = numbers.latencies[service, operation] = Spread()
        spread.note(seconds)

    def refused(self, code: str) -> None:
        """Count a request without authority, or without an operation. Called by the event loop's thread alone."""
        self._numbers.refused[code] += 1

    def failed(self) -> None:
        """Count a request whose outcome could not be kept, or whose reading failed. Called by the event loop's thread alone."""
        self._numbers.failed += 1

    def rotated(self, event: str) -> None:
        """Count a service event of a rotation."""
        with self._rotating:
            self._numbers.rotations[event] += 1

    def journalled(self, records: int, seconds: float) -> None:
        """Count a group of records that was made durable. The journal has one thread."""
        self._numbers.groups += 1
        self._numbers.records += records
        self._numbers.journal_seconds += seconds

    def watching(self, writer: GroupWriter) -> GroupWriter:
        """Return the journal's writer so that its groups are counted; it has one thread."""
        return _Watched(writer, self.journalled)

    def keep(self) -> float:
        """Leave the numbers where the other workers find them; return the seconds until the next time."""
        numbers = msgspec.json.encode(self._numbers.kept())
        if numbers != self._last:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(numbers)
            fresh.replace(self._path)
            self._last = numbers
        return KEEP_SECONDS

    def exposition(self, backlog: Backlog | None) -> bytes:
        """Return the text for Prometheus; `backlog` is the outbox's, None when the store did not say."""
        registry = CollectorRegistry()
        registry.register(_Collected(self._sum(), self._store, backlog))
        return generate_latest(registry)

    def _sum(self) -> Numbers:
        numbers = Numbers()
        numbers.add(self._numbers.kept())
        for path in self._directory.glob(f"{self._server}*.json"):
            if path != self._path:
                with suppress(OSError, msgspec.MsgspecError):
                    numbers.add(msgspec.json.decode(path.read_bytes(), type=Kept))
        return numbers


def forget_ended(directory: Path) -> None:
    """Remove the numbers of servers that ended; to be called by a server's main process before its workers start."""
    for path in directory.glob("*-*"):
        server = path.name.partition("-")[0]
        if server == str(os.getpid()) or not Path("/proc", server).exists():
            path.unlink(missing_ok=True)


class _Watched:
    """A group writer whose groups are counted."""

    def __init__(self, writer: GroupWriter, journalled: Callable[[int, float], None]) -> None:
        self._writer = writer
        self._journalled = journalled

    def write(self, entries: Sequence[TrailEntry]) -> None:
        began = time.perf_counter()
        self._writer.write(entries)
        self._journalled(len(entries), time.perf_counter() - began)

    def close(self) -> None:
        self._writer.close()


class _Collected(Collector):
    """Numbers as Prometheus' families."""

    def __init__(self, numbers: Numbers, store: str, backlog: Backlog | None) -> None:
        self._numbers = numbers
        self._store = store
        self._backlog = backlog

    def collect(self) -> Iterator[Metric]:
        numbers = self._numbers
        requests = CounterMetricFamily(
            "turnlock_requests", "Requests of known callers.", labels=("service", "operation", "code")
        )
        for key, count in sorted(numbers.requests.items()):
            requests.add_metric(key, count)
        yield requests
        yield self._latencies()
        yield CounterMetricFamily(
            "turnlock_failed_requests",
            "Requests that the server could not carry through.",
            value=numbers.failed,
        )
        yield _counter("turnlock_refused_requests", "Requests without authority.", "code", numbers.refused)
        yield _counter("turnlock_rotation_events", "Service events of rotations.", "event", numbers.rotations)
        yield CounterMetricFamily(
            "turnlock_journal_groups", "Groups of read records made durable.", value=numbers.groups
        )
        yield CounterMetricFamily(
            "turnlock_journal_records", "Read records made durable.", value=numbers.records
        )
        yield CounterMetricFamily(
            "turnlock_journal_seconds", "Time spent on it.", value=numbers.journal_seconds
        )
        yield from self._gauges()

    def _latencies(self) -> Metric:
        family = HistogramMetricFamily(
            "turnlock_request_seconds",
            "From the last byte read to the answer made.",
            labels=("service", "operation"),
        )
        bounds = (*map(str, BUCKETS), "+Inf")
        for key, spread in sorted(self._numbers.latencies.items()):
            buckets = list(zip(bounds, accumulate(spread.counts), strict=True))
            family.add_metric(key, buckets=buckets, sum_value=spread.seconds)
        return family

    def _gauges(self) -> Iterator[Metric]:
        if self._backlog is not None:
            jobs = GaugeMetricFamily(
                "turnlock_outbox_jobs", "Jobs promised and not done, of the whole store.", labels=("state",)
            )
            jobs.add_metric(("due",), self._backlog.due)
            jobs.add_metric(("later",), self._backlog.later)
            yield jobs
            yield GaugeMetricFamily(
                "turnlock_outbox_oldest_seconds",
                "How long the oldest of the due jobs has been due.",
                value=self._backlog.oldest_seconds,
            )
        build = GaugeMetricFamily("turnlock_build_info", "What is running.", labels=("version", "store"))
        build.add_metric((version("turnlock"), self._store), 1)
        yield build


def _counter(name: str, says: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, says, labels=(label,))
    for key, count in sorted(counts.items()):
        family.add_metric((key,), count)
    return family
