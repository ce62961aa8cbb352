"""A store with a trail and clients of RDS."""

from __future__ import annotations

from itertools import count

import pytest

from tests.rds.calling import RdsClient
from tests.support import SettableClock, StorePlace
from turnlock import rotation
from turnlock.storage import Database
from turnlock.trail import TrailTable

_chains = count()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def database(store_place: StorePlace, clock: SettableClock) -> Database:
    return store_place.open(
        clock=clock, subscribers=rotation.SUBSCRIBERS, sink=lambda: TrailTable(f"rds{next(_chains)}")
    )


@pytest.fixture
def rds(database: Database, clock: SettableClock) -> RdsClient:
    """The root user of an account, in one Region."""
    return RdsClient(database=database, clock=clock)
