"""The composition root: the only place that names concrete classes and joins the rooms.

`initialise` is the first start, once per data directory; `build` makes one process's application.
"""

from __future__ import annotations

import itertools
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from turnlock import identity, keys, rotation, secrets
from turnlock.admission import Admission, Service
from turnlock.background import Loop
from turnlock.config import Config
from turnlock.core.arn import AccountId
from turnlock.core.ports import Clock, RootKeyring, SystemClock, SystemEntropy
from turnlock.errors import ConfigurationError
from turnlock.functions import Functions
from turnlock.storage import Database, Unit, open_database
from turnlock.storage.database import Surroundings
from turnlock.storage.outbox import Deliverer, JobHandler
from turnlock.trail import SegmentWriter, StoreWriter, TrailTable
from turnlock.trail.journal import GroupWriter
from turnlock.wire import WireProtocol

JOBS: Mapping[str, JobHandler] = {secrets.PURGE: secrets.purge}
"""What the outbox can be asked to do."""


class _Bell:
    """Rings the scheduler when a transaction that began a rotation is committed."""

    def __init__(self) -> None:
        self.ring: Callable[[], None] = lambda: None

    def hear(self, unit: Unit, _event: rotation.PlanBegun) -> None:
        unit.after_commit(lambda: self.ring())  # noqa: PLW0108 (it is set later)


@dataclass(frozen=True, kw_only=True)
class Application:
    """One process's part of the server, ready to be given requests."""

    config: Config
    database: Database
    admission: Admission
    fallback: WireProtocol
    """The protocol that answers requests whose service is not known."""
    writer: str
    """This process's name in the trail and in leases: never used twice."""
    scheduler: rotation.Scheduler = field(repr=False)
    functions: Functions = field(repr=False)
    loops: tuple[Loop, ...] = field(repr=False)

    def journal_writer(self) -> GroupWriter:
        """Return what makes the records of reads durable on this store."""
        if self.database.reads_inline:
            return SegmentWriter(self.config.data_dir / "trail", self.writer)
        return StoreWriter(self.database)

    def start(self) -> None:
        """Begin the work that nobody asks for: schedules, rotations, outbox."""
        for loop in self.loops:
            loop.start()

    def close(self) -> None:
        """End it, end the functions, finish what is queued."""
        for loop in self.loops:
            loop.stop()
        self.scheduler.close()
        self.functions.close()
        self.database.close()


def build(
    config: Config,
    *,
    clock: Clock | None = None,
    observe: rotation.Observer = rotation.unobserved,
    run_function: rotation.RunFunction | None = None,
) -> Application:
    """Join the rooms for one process. `clock`, `observe` and `run_function` are for compositions of tests' own."""
    writer = f"{socket.gethostname()[:20]}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    bell = _Bell()
    database = _open(config.data_dir, config.database, clock or SystemClock(), writer, bell)
    functions = Functions(endpoint=config.endpoint, ca_bundle=config.tls_certificate)
    scheduler = rotation.Scheduler(
        database=database,
        pool=functions,
        run=run_function,
        holder=writer,
        limits=rotation.Limits(
            lease_seconds=config.lease_seconds,
            at_once=config.rotations_at_once,
            per_host=config.rotations_per_host,
        ),
        observe=observe,
    )
    deliverer = Deliverer(database, JOBS, writer)
    rotating = Loop("rotation", scheduler.tick)
    bell.ring = scheduler.wake = rotating.wake
    loops = (
        rotating,
        Loop("outbox", deliverer.tick),
        Loop("sessions", partial(_purge_sessions, database)),
    )
    services = {"secretsmanager": Service.of("secretsmanager", (*secrets.ACTIONS, *rotation.ACTIONS))}
    return Application(
        config=config,
        database=database,
        admission=Admission(services, config.regions),
        fallback=services["secretsmanager"].protocol,
        writer=writer,
        scheduler=scheduler,
        functions=functions,
        loops=loops,
    )


def initialise(config: Config) -> None:
    """Make what the first start makes: the directory, the root key, the schema, the account and its credentials file.

    Harmless when all is there. Raises ConfigurationError when what is there cannot be used.
    """
    os.umask(0o077)
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = _open(config.data_dir, config.database, SystemClock(), f"initialise-{uuid.uuid4().hex[:12]}")
    try:
        database.read(keys.check_root_key)
        database.write(partial(_first_account, config))
        # Again: another node, with a root key of its own, may have been first since.
        database.read(keys.check_root_key)
    finally:
        database.close()


def create_account(data_dir: Path, database_url: str | None, account_id: AccountId) -> str:
    """Make a further account; return its root credentials as the text of an AWS shared-credentials file.

    Raises ConfigurationError when the account exists or there is no store yet.
    """
    if not (data_dir / "root.key").exists():
        raise ConfigurationError(f"{data_dir} is not a data directory: start the server once first.")
    database = _open(data_dir, database_url, SystemClock(), f"accounts-{uuid.uuid4().hex[:12]}")
    try:
        made = database.write(lambda unit: identity.create_account(unit, account_id))
    finally:
        database.close()
    return identity.profile_text(account_id, made)


def _first_account(config: Config, unit: Unit) -> None:
    """Make the configured account unless the store has one already.

    The credentials file is written before the commit: lost power leaves a file without an account, which the next start
    replaces, and never an account whose only key nobody knows.
    """
    if not identity.accounts(unit):
        made = identity.create_account(unit, config.account_id)
        identity.write_credentials(config.data_dir, {"default": made})


def _purge_sessions(database: Database) -> float:
    """Remove credentials that ran out; return the seconds until the next time."""
    database.write(identity.purge_expired)
    return 600.0


def _open(
    data_dir: Path, database_url: str | None, clock: Clock, writer: str, bell: _Bell | None = None
) -> Database:
    """Open the store with its root key, which the first start makes."""
    entropy = SystemEntropy()
    chains = itertools.count(1)
    subscribers = {**rotation.SUBSCRIBERS, rotation.PlanBegun: (bell.hear,) if bell is not None else ()}

    def opened(keyring: RootKeyring) -> Database:
        return open_database(
            url=database_url,
            data_dir=data_dir,
            surroundings=Surroundings(
                clock=clock,
                entropy=entropy,
                keyring=keyring,
                subscribers=subscribers,
                sink=lambda: TrailTable(f"{writer}/{next(chains)}"),
            ),
        )

    def store_holds_keys() -> bool:
        database = opened(keys.NoKeyring())
        try:
            return database.read(keys.holds_keys)
        finally:
            database.close()

    root = keys.FileRootKey(data_dir / "root.key", clock=clock, entropy=entropy)
    return opened(keys.open_root_key(root, store_holds_keys))
