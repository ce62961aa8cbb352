"""Runs the DB instances that Turnlock started: what their rows say is brought about, again and again, by one of the processes.

Two things decide who runs a server. Its row names the *node*: the data directory that has its files; a row without one is
adopted by whoever looks first, in one transaction. Of the processes that share a data directory, the one that holds the
lock on the instance's file runs it: the kernel takes the lock away when the process ends, so that another goes on within
a second, and no clock is involved.

A server ends with its process. It is started again after a crash, later the more often that failed, and with the process.
Work that takes seconds runs outside every transaction; what was done is written only where the row still asks for it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from turnlock.confinement import assess
from turnlock.errors import ConfigurationError
from turnlock.rds import master, store
from turnlock.rds.local.authorities import Authorities
from turnlock.rds.local.choice import SERVERS
from turnlock.rds.local.server import LocalServer, MakeServer, Master
from turnlock.rds.model import INTERNAL_USER, DbResource, Kind, Status
from turnlock.storage import Database, Unit

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 1.0
"""How often a server's process is looked at."""

IDLE_SECONDS: Final = 5.0
"""How often the registry is looked at while nothing runs here."""

LONGEST_DELAY: Final = 60.0
"""Seconds between two attempts to start a server that does not start; the first comes after one second, then twice as many."""

HOST: Final = "127.0.0.1"
_LONGEST_MESSAGE = 500


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A server that this process runs."""

    server: LocalServer
    lock: int
    """The open file whose lock makes it ours."""
    failures: int = 0
    retry_at: float = 0.0
    set_up: bool = False
    """Whether it ever was available: what lies in its directory is somebody's then."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What a log line says of it."""


class Provider:
    """One process's part in running local servers; `tick` is called again and again by one thread.

    `data_dir` is the server's; the servers' files lie below its `databases`. `given_authorities` is the operator's file of
    authorities, to which those of the local servers are added. `allow_unconfined`: the operator lets servers run also where the
    machine cannot confine them.
    """

    def __init__(
        self,
        database: Database,
        data_dir: Path,
        *,
        given_authorities: Path | None = None,
        allow_unconfined: bool = False,
        servers: Mapping[str, MakeServer] = SERVERS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._root = data_dir / "databases"
        self.authorities = Authorities(data_dir, given_authorities)
        """The file with which rotation functions verify databases."""
        self._servers = servers
        self._allow_unconfined = allow_unconfined
        self._monotonic = monotonic
        self._kept: dict[str, _Kept] = {}
        """By resource id."""
        self._node: str | None = None

    def tick(self) -> float:
        """Bring about what the rows say; return the seconds until the next look."""
        wanted = self._database.read(store.local_instances)
        for instance in wanted:
            ours = self._adopted(instance)
            if ours is not None:
                self._look_after(ours)
        for resource_id in self._kept.keys() - {one.resource_id for one in wanted}:
            # Deleted before it was available; or somebody took the row away by other ways than DeleteDBInstance.
            set_up = self._kept[resource_id].set_up
            self._let_go(resource_id)
            if not set_up:
                self._remove_files(resource_id)
        return POLL_SECONDS if wanted else IDLE_SECONDS

    def close(self) -> None:
        """End every server in good order."""
        for resource_id in list(self._kept):
            self._let_go(resource_id)

    def _node_id(self) -> str:
        """Return the name of this data directory, which its first server makes."""
        if self._node is None:
            self._root.mkdir(mode=0o711, exist_ok=True)
            path = self._root / "node-id"
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pass
            else:
                with os.fdopen(descriptor, "w") as file:
                    file.write(str(uuid.uuid4()))
            self._node = path.read_text().strip()
        return self._node

    def _adopted(self, instance: DbResource) -> DbResource | None:
        """Return the instance if its files are in this data directory, taking it on when they are nowhere yet."""
        if instance.node_id is None:
            return self._database.write(partial(self._adopt, instance))
        return instance if instance.node_id == self._node_id() else None

    def _adopt(self, instance: DbResource, unit: Unit) -> DbResource | None:
        current = _current(unit, instance)
        if current is None or current.node_id is not None:
            return None
        adopted = current.evolve(node_id=self._node_id())
        store.save(unit, adopted)
        return adopted

    def _look_after(self, instance: DbResource) -> None:
        kept = self._kept.get(instance.resource_id) or self._take(instance)
        if kept is None or self._monotonic() < kept.retry_at:
            return
        try:
            self._bring_about(instance, kept)
            kept.failures = 0
        # The last is what directories give that are nested without end: a stranger's server may make them.
        except (ConfigurationError, OSError, RecursionError) as error:
            self._note_failure(instance, kept, str(error))

    def _take(self, instance: DbResource) -> _Kept | None:
        """Take the lock on an instance; None while another process has it."""
        self._root.mkdir(mode=0o711, exist_ok=True)
        descriptor = os.open(self._root / f"{instance.resource_id}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        internal = self._database.read(partial(_internal_password, instance))
        make = self._servers[instance.engine]
        server = make(self._directory(instance), internal, instance.port, confined=self._confines())
        names = {"instance": instance.arn, "resource_id": instance.resource_id}
        kept = self._kept[instance.resource_id] = _Kept(server=server, lock=descriptor, names=names)
        return kept

    def _confines(self) -> bool:
        """Tell whether servers are confined: always, unless the operator allowed otherwise and the machine cannot."""
        return not self._allow_unconfined or assess.missing() is None

    def _bring_about(self, instance: DbResource, kept: _Kept) -> None:
        kept.set_up = instance.host is not None
        if instance.status is Status.DELETING:
            self._remove(instance, kept)
            return
        if not kept.server.running:
            self._start(instance, kept)
        if not kept.set_up or instance.status is Status.RESETTING:
            self._set_master(instance, kept)
        elif instance.status is not Status.AVAILABLE:
            self._database.write(partial(_now_available, instance, kept.server.port))

    def _start(self, instance: DbResource, kept: _Kept) -> None:
        kept.server.start()
        self.authorities.write()
        if instance.host is not None and instance.master_username is not None:
            try:
                kept.server.restate_rights(instance.master_username)
            except ConfigurationError:
                kept.server.stop()
                raise
        confined = self._confines()
        log.log(
            logging.INFO if confined else logging.WARNING,
            "a database server started" if confined else "a database server started, not confined",
            action="server_started",
            port=kept.server.port,
            confined=confined,
            **kept.names,
        )

    def _set_master(self, instance: DbResource, kept: _Kept) -> None:
        """Give the server its master user, and note it unless another password is wanted by then."""
        password = self._database.read(partial(_wanted_password, instance))
        if password is None or instance.master_username is None:
            raise ConfigurationError("The master password is not known any more.")
        kept.server.set_master(
            Master(username=instance.master_username, password=password, dbname=instance.dbname)
        )
        self._database.write(partial(_master_set, instance, kept.server.port, password))

    def _remove(self, instance: DbResource, kept: _Kept) -> None:
        kept.server.stop()
        shutil.rmtree(self._root / instance.resource_id, ignore_errors=True)
        self._database.write(partial(_forget, instance))
        self._let_go(instance.resource_id)
        self._remove_files(instance.resource_id)
        log.info("a database server was removed", action="server_removed", **kept.names)

    def _remove_files(self, resource_id: str) -> None:
        shutil.rmtree(self._root / resource_id, ignore_errors=True)
        self.authorities.write()
        (self._root / f"{resource_id}.lock").unlink(missing_ok=True)

    def _note_failure(self, instance: DbResource, kept: _Kept, words: str) -> None:
        kept.failures += 1
        kept.retry_at = self._monotonic() + min(2.0 ** (kept.failures - 1), LONGEST_DELAY)
        log.warning(
            "a database server does not do",
            action="server_failed",
            failures=kept.failures,
            error=words,
            **kept.names,
        )
        self._database.write(partial(_failed, instance, words[-_LONGEST_MESSAGE:]))

    def _let_go(self, resource_id: str) -> None:
        kept = self._kept.pop(resource_id)
        try:
            kept.server.stop()
        finally:
            os.close(kept.lock)

    def _directory(self, instance: DbResource) -> Path:
        return self._root / instance.resource_id


def _current(unit: Unit, instance: DbResource) -> DbResource | None:
    """Read an instance's row again; None when it is gone, or a new instance has its name."""
    found = store.find(unit, instance.account_id, instance.region, Kind.INSTANCE, instance.identifier)
    return found if found is not None and found.resource_id == instance.resource_id else None


def _internal_password(instance: DbResource, unit: Unit) -> str:
    assert instance.sealed_internal is not None
    return master.open_password(unit, instance, instance.sealed_internal, user=INTERNAL_USER)


def _wanted_password(instance: DbResource, unit: Unit) -> str | None:
    """Return the master password that the server shall have: a member's is its cluster's."""
    holder: DbResource | None = instance
    if instance.cluster_id is not None:
        holder = store.find(unit, instance.account_id, instance.region, Kind.CLUSTER, instance.cluster_id)
    return None if holder is None else master.master_password(unit, holder)


def _master_set(instance: DbResource, port: int, password: str, unit: Unit) -> None:
    """Note that a server has its master user; an instance's own password need not be kept from then on."""
    current = _current(unit, instance)
    if current is None or current.status is not instance.status:
        return
    if _wanted_password(current, unit) != password:
        return
    store.save(
        unit,
        current.evolve(
            status=Status.AVAILABLE, status_message=None, host=HOST, port=port, sealed_password=None
        ),
    )


def _now_available(instance: DbResource, port: int, unit: Unit) -> None:
    current = _current(unit, instance)
    if current is not None and current.status is instance.status:
        store.save(unit, current.evolve(status=Status.AVAILABLE, status_message=None, port=port))


def _failed(instance: DbResource, words: str, unit: Unit) -> None:
    current = _current(unit, instance)
    if current is None or current.status is not instance.status:
        return
    # What is being reset or deleted stays so: that is what the next attempt must know.
    keeps = current.status in (Status.RESETTING, Status.DELETING)
    status = current.status if keeps else Status.FAILED
    if (status, words) != (current.status, current.status_message):
        store.save(unit, current.evolve(status=status, status_message=words))


def _forget(instance: DbResource, unit: Unit) -> None:
    current = _current(unit, instance)
    if current is not None:
        store.remove(unit, current)
