"""Where faults happen: a watched server on its store, and a PostgreSQL whose passwords it rotates; all can be killed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.faults.conductor import Conductor
from tests.processes import Client, ServerProcess, wait_until
from turnlock.local_servers import EmbeddedPostgres

LEASE_SECONDS = 1.5
LONGEST_AWAY = 1.0
"""Seconds for which a killed database stays away."""


@dataclass(kw_only=True)
class Scene:
    """The parts; each can be killed and comes back where it was."""

    conductor: Conductor
    rotated: EmbeddedPostgres
    store: EmbeddedPostgres | None
    """The server of the server's own store; None on SQLite."""
    server: ServerProcess

    def client(self) -> Client:
        """Return a client that tries again while something is away, as every SDK does."""
        return self.server.client(retries={"mode": "standard", "total_max_attempts": 6})

    def ready(self) -> None:
        """Start what a failed case has left dead."""
        for database in (self.rotated, self.store):
            if database is not None:
                database.start()
        if not self.server.running:
            self.server.kill()
            self.server.start()

    def kill(self, target: str) -> None:
        """Kill a part (SIGKILL), all its processes."""
        _KILLS[target](self)

    def bring_back(self, target: str, dice: random.Random) -> None:
        """Start a killed part again, a database after a while; functions are started by whoever needs one."""
        if target == "server":
            self.server.start()
        elif target in {"database", "store"}:
            time.sleep(dice.uniform(0, LONGEST_AWAY))
            self.ready()


def _kill_functions(scene: Scene) -> None:
    functions = scene.server.functions()
    for function in functions:
        function.signal(signal.SIGKILL)
    wait_until(lambda: not any(one.alive for one in functions), 60, "the end of the functions")


def _kill_store(scene: Scene) -> None:
    assert scene.store is not None
    scene.store.kill()


_KILLS: Mapping[str, Callable[[Scene], None]] = {
    "server": lambda scene: scene.server.kill(),
    "function": _kill_functions,
    "database": lambda scene: scene.rotated.kill(),
    "store": _kill_store,
}


@contextmanager
def sqlite_scene(directory: Path) -> Iterator[Scene]:
    """Set up a server on SQLite."""
    with (
        Conductor() as conductor,
        EmbeddedPostgres(fsync=False) as rotated,
        _server(conductor, directory, None) as server,
    ):
        yield Scene(conductor=conductor, rotated=rotated, store=None, server=server)


@contextmanager
def postgresql_scene(directory: Path) -> Iterator[Scene]:
    """Set up a server on a PostgreSQL of its own, which is not the one that is rotated."""
    with (
        Conductor() as conductor,
        EmbeddedPostgres(fsync=False) as rotated,
        EmbeddedPostgres(fsync=False) as store,
    ):
        with psycopg.connect(store.admin_url(driver=None), autocommit=True) as admin:
            admin.execute("CREATE DATABASE turnlock")
        with _server(conductor, directory, store.admin_url("turnlock", driver=None)) as server:
            yield Scene(conductor=conductor, rotated=rotated, store=store, server=server)


def _server(conductor: Conductor, directory: Path, url: str | None) -> ServerProcess:
    options = ("--lease-seconds", str(LEASE_SECONDS))
    return ServerProcess(directory / "turnlock", database=url, options=options, entry=conductor.entry)
