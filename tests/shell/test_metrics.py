"""What is counted, how several processes' counts become one, and what of a caller never gets there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import NOON
from turnlock.core.arn import AccountId, Region
from turnlock.core.record import TrailEntry
from turnlock.shell import metrics
from turnlock.shell.metrics import Metrics, Spread, forget_ended
from turnlock.storage.outbox import Backlog


class Found(dict[tuple[str, frozenset[str]], float]):
    """Each sample's value by (name, label values), as Prometheus' own parser reads them."""

    def __init__(self, text: bytes) -> None:
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                self[sample.name, frozenset(sample.labels.values())] = sample.value

    def of(self, name: str, *labels: str) -> float:
        """Return one sample; nothing counted is 0."""
        return self.get((f"turnlock_{name}", frozenset(labels)), 0.0)


def made(directory: Path, process: str) -> Metrics:
    return Metrics(directory, store="sqlite", process=process)


def test_requests_are_counted_by_operation_and_code_with_their_latency(tmp_path: Path) -> None:
    one = made(tmp_path, "a")
    for code, seconds in (("OK", 0.0004), ("OK", 0.02), ("ResourceNotFoundException", 99.0)):
        one.answered("secretsmanager", "GetSecretValue", code, seconds)
    found = Found(one.exposition(None))
    asked = ("secretsmanager", "GetSecretValue")
    assert found.of("requests_total", *asked, "OK") == 2
    assert found.of("requests_total", *asked, "ResourceNotFoundException") == 1
    buckets = [found.of("request_seconds_bucket", *asked, str(bound)) for bound in metrics.BUCKETS]
    assert buckets == [1, 1, 1, 1, *[2] * 9]
    assert found.of("request_seconds_bucket", *asked, "+Inf") == 3
    assert found.of("request_seconds_count", *asked) == 3
    assert found.of("request_seconds_sum", *asked) == pytest.approx(99.0204)


def test_each_bucket_takes_what_is_no_longer_than_its_bound() -> None:
    spread = Spread()
    for bound in metrics.BUCKETS:
        spread.note(bound)
    assert spread.counts == [1] * len(metrics.BUCKETS) + [0]


def test_any_worker_tells_what_all_of_them_counted_the_ended_ones_too(tmp_path: Path) -> None:
    ended, asked = made(tmp_path / "m", "ended"), made(tmp_path / "m", "asked")
    ended.answered("sts", "GetCallerIdentity", "OK", 0.1)
    ended.refused("ExpiredTokenException")
    ended.rotated("RotationSucceeded")
    ended.failed()
    assert ended.keep() == metrics.KEEP_SECONDS
    asked.answered("sts", "GetCallerIdentity", "OK", 0.2)
    asked.rotated("RotationSucceeded")
    asked.keep()  # its own file is not counted beside its own numbers
    found = Found(asked.exposition(None))
    assert found.of("requests_total", "sts", "GetCallerIdentity", "OK") == 2
    assert found.of("request_seconds_sum", "sts", "GetCallerIdentity") == pytest.approx(0.3)
    assert found.of("refused_requests_total", "ExpiredTokenException") == 1
    assert found.of("rotation_events_total", "RotationSucceeded") == 2
    assert found.of("failed_requests_total") == 1


def test_a_file_that_cannot_be_read_costs_only_its_own_counts(tmp_path: Path) -> None:
    one = made(tmp_path, "a")
    one.refused("AccessDeniedException")
    (tmp_path / f"{os.getppid()}-broken.json").write_bytes(b'{"requests":')
    assert Found(one.exposition(None)).of("refused_requests_total", "AccessDeniedException") == 1


def test_groups_of_the_journal_are_counted_once_they_are_durable(tmp_path: Path) -> None:
    entry = TrailEntry(
        account_id=AccountId("123456789012"),
        region=Region("eu-central-1"),
        event_id="e",
        event_name="GetSecretValue",
        at=NOON,
        body=b"{}",
    )

    class Writer:
        full = False

        def write(self, entries: object) -> None:
            if self.full:
                raise OSError("full")

        def close(self) -> None:
            self.full = True

    one, writer = made(tmp_path, "a"), Writer()
    watched = one.watching(writer)
    watched.write([entry] * 3)
    watched.close()
    with pytest.raises(OSError, match="full"):
        watched.write([entry])
    found = Found(one.exposition(None))
    assert (found.of("journal_groups_total"), found.of("journal_records_total")) == (1, 3)
    assert found.of("journal_seconds_total") >= 0


def test_the_outbox_is_told_of_where_the_store_answered(tmp_path: Path) -> None:
    one = made(tmp_path, "a")
    found = Found(one.exposition(Backlog(due=2, later=5, oldest_seconds=7.5)))
    assert (found.of("outbox_jobs", "due"), found.of("outbox_jobs", "later")) == (2, 5)
    assert found.of("outbox_oldest_seconds") == 7.5
    assert not any("outbox" in name[0] for name in Found(one.exposition(None)))


def test_the_build_is_named(tmp_path: Path) -> None:
    assert Found(made(tmp_path, "a").exposition(None)).of("build_info", version("turnlock"), "sqlite") == 1


def test_a_server_forgets_the_counts_of_servers_that_ended_and_its_own_number_s(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(30)
    for server in (gone.pid, os.getpid(), os.getppid()):
        (tmp_path / f"{server}-host-1-abc.json").write_text("{}")
    forget_ended(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{os.getppid()}-host-1-abc.json"]
    forget_ended(tmp_path / "absent")
