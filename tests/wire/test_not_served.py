"""Reasons for what has no handler."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from turnlock.wire import Contract
from turnlock.wire.not_served import PATTERNS, not_served


@pytest.mark.parametrize("service", PATTERNS)
def test_each_pattern_is_the_first_that_fits_some_operation(service: str) -> None:
    first = {
        next((pattern for pattern in PATTERNS[service] if fnmatchcase(name, pattern)), None)
        for name in Contract.load(service).operations
    }
    assert [pattern for pattern in PATTERNS[service] if pattern not in first] == []


@pytest.mark.parametrize("service", PATTERNS)
def test_each_reason_is_a_reason(service: str) -> None:
    found = not_served(service)
    assert found.keys() <= Contract.load(service).operations.keys()
    assert [name for name, reason in found.items() if len(reason.split()) < 3] == []


def test_the_first_pattern_that_fits_gives_the_reason() -> None:
    found = not_served("rds")
    assert found["RestoreDBClusterToPointInTime"] == "there are no backups to restore"
    assert found["CreateDBSnapshot"].startswith("no snapshots are made")
    assert "DescribeGlobalClusters" not in found
    assert "CreateDBInstance" not in found
