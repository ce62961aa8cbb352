"""Clients of Secrets Manager on each store, under a clock that the test sets."""

from __future__ import annotations

from itertools import count

import pytest

from tests.calling import Client
from tests.secrets.replicated import AWAY, HOME, Deployment
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


@pytest.fixture
def here(store_place: StorePlace, clock: SettableClock) -> Deployment:
    """A deployment of three Regions, its outbox delivered by hand."""
    return Deployment(place=store_place, clock=clock)


@pytest.fixture
def home(here: Deployment) -> Client:
    """The root user in the primaries' Region."""
    return here.client(HOME)


@pytest.fixture
def away(here: Deployment) -> Client:
    """The root user in the replicas' Region."""
    return here.client(AWAY)
