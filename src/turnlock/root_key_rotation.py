"""What an operator does with the root key: rotate it, while no server of the store runs.

Part of the composition root: it names the concrete providers and every room's rows.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from turnlock import accounts, functions, kms, rds, root_keys, rotation, secrets, trail
from turnlock.config import RootKeyChoice
from turnlock.core.ports import RootKeyring, SystemClock, SystemEntropy
from turnlock.errors import ConfigurationError
from turnlock.storage import Database, open_database
from turnlock.storage.database import Surroundings
from turnlock.storage.leases import LEASE_ROWS

MACS: Final = (
    *kms.MACS,
    *accounts.MACS,
    *functions.MACS,
    *secrets.MACS,
    *rotation.MACS,
    *rds.MACS,
    *root_keys.row_macs(LEASE_ROWS),
)
"""Every table whose rows have a MAC under the root key."""

WRAPS: Final = (
    root_keys.RootWraps(table=trail.trail_keys, context_of=lambda row: trail.key_context(row["key_id"])),
)
"""What the root key wraps beside KMS's materials."""

_LOCK: Final = "serving.lock"


def hold_served(data_dir: Path) -> int:
    """Say, until this process ends, that a server of this directory runs. Raises ConfigurationError during a rotation."""
    return _locked(
        data_dir, fcntl.LOCK_SH, "The root key is being rotated; start the server when that is done."
    )


def rotate(
    data_dir: Path,
    database_url: str | None,
    current: RootKeyChoice,
    wanted: RootKeyChoice | None,
    report: kms.Report,
) -> kms.Proof:
    """Put the store under another root key: a newer one of the same provider, or that of `wanted`; return the proof.

    It can be run again after a kill at any point, and goes on from there. Raises ConfigurationError when a server runs on
    this directory, when a root key is missing, or when a row fits neither key: then nothing was changed.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    with _stopped(data_dir):
        provider = root_keys.root_key_provider(current, data_dir, clock=clock, entropy=entropy)
        old = provider.load()
        if old is None:
            raise ConfigurationError(f"There is no root key yet at {provider.named}.")
        new: RootKeyring
        if wanted is None or wanted.spec == current.spec:
            new = provider.successor()
        else:
            target = root_keys.root_key_provider(wanted, data_dir, clock=clock, entropy=entropy)
            new = target.load() or target.create()
        with _store(data_dir, database_url, old) as database:
            kms.rewrap(database, old, new, MACS, report, wraps=WRAPS)
        with _store(data_dir, database_url, new) as database:
            proof = kms.prove(database, new, MACS, WRAPS)
        if wanted is None or wanted.spec == current.spec:
            provider.retire()
        return proof


@contextmanager
def _store(data_dir: Path, database_url: str | None, keyring: RootKeyring) -> Iterator[Database]:
    surroundings = Surroundings(clock=SystemClock(), entropy=SystemEntropy(), keyring=keyring)
    database = open_database(url=database_url, data_dir=data_dir, surroundings=surroundings)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _stopped(data_dir: Path) -> Iterator[None]:
    """Keep servers of this directory from running. Servers of other nodes on one PostgreSQL the operator stops."""
    if not data_dir.is_dir():
        raise ConfigurationError(f"{data_dir} is not a data directory: start the server once first.")
    descriptor = _locked(data_dir, fcntl.LOCK_EX, "A server runs on this data directory: stop it first.")
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(data_dir: Path, how: int, sentence: str) -> int:
    descriptor = os.open(data_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigurationError(sentence) from None
    return descriptor
