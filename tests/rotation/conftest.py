"""Nodes on each store, under a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Protocol

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.calling import Client
from tests.rotation.hosted import SERVICE, Node, World
from tests.support import SettableClock, StorePlace
from turnlock import rotation
from turnlock.rotation import Limits, Observer, unobserved
from turnlock.storage import Database
from turnlock.trail import TrailTable

_chains = count(1)


class MakeNode(Protocol):
    """Starts one more node on the test's store."""

    def __call__(self, limits: Limits = ..., observe: Observer = ...) -> Node: ...


def open_database(store_place: StorePlace, clock: SettableClock) -> Database:
    return store_place.open(
        clock=clock, subscribers=rotation.SUBSCRIBERS, sink=lambda: TrailTable(f"w{next(_chains)}")
    )


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    """What is logged; on a terminal, structlog would draw each expected traceback with all its locals."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def database(store_place: StorePlace, clock: SettableClock) -> Database:
    return open_database(store_place, clock)


@pytest.fixture
def client(database: Database, clock: SettableClock) -> Client:
    """The root user of an account, in one Region."""
    return Client(database=database, clock=clock, service=SERVICE)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_node(store_place: StorePlace, clock: SettableClock, world: World) -> Iterator[MakeNode]:
    """Start nodes, each with a database connection of its own; they end with the test."""
    nodes: list[Node] = []

    def make(limits: Limits = Limits(), observe: Observer = unobserved) -> Node:  # noqa: B008 (frozen)
        own = Client(database=open_database(store_place, clock), clock=clock, service=SERVICE)
        nodes.append(Node(world, own, name=f"node-{len(nodes)}", limits=limits, observe=observe))
        return nodes[-1]

    yield make
    for node in nodes:
        node.scheduler.close()


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    return make_node()
