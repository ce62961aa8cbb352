"""Clients of Secrets Manager on each store, under a clock that the test sets."""

from __future__ import annotations

from itertools import count

import pytest

from tests.calling import Client
from tests.support import SettableClock, StorePlace
from turnlock.storage import Database
from turnlock.trail import TrailTable


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def database(store_place: StorePlace, clock: SettableClock) -> Database:
    chains = count(1)
    return store_place.open(clock=clock, sink=lambda: TrailTable(f"w{next(chains)}"))


@pytest.fixture
def client(database: Database, clock: SettableClock) -> Client:
    """The root user of an account, in one Region."""
    return Client(database=database, clock=clock)
