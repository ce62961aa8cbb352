"""Stores of one kind, for what only that kind must do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.notes import make_notes
from tests.support import StorePlace
from turnlock.storage import Database


@pytest.fixture
def sqlite_place(tmp_path: Path, sqlite_template: Path) -> Iterator[StorePlace]:
    """An empty, migrated SQLite store."""
    shutil.copyfile(sqlite_template, tmp_path / "turnlock.db")
    place = StorePlace(url=None, data_dir=tmp_path)
    yield place
    place.close()


@pytest.fixture
def store(store_place: StorePlace) -> Database:
    """An opened store with the tests' own table."""
    return make_notes(store_place.open())
