"""What a server has left behind: read from its store and its files, with no server in between."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.processes import REGION, ServerProcess
from tests.rotated import LABELS
from tests.segments import recorded_bodies
from turnlock import app, secrets
from turnlock.core.arn import AccountId, Region
from turnlock.core.ports import SystemClock
from turnlock.storage import Database, Unit


@contextmanager
def opened(server: ServerProcess) -> Iterator[Database]:
    """Open a server's store beside it; of a dead one's SQLite store a copy, so that it recovers its files itself."""
    with tempfile.TemporaryDirectory() as copy:
        directory = server.data_dir
        if server.database is None and not server.running:
            directory = Path(copy)
            for name in ("root.key", "turnlock.db", "turnlock.db-wal"):
                shutil.copy(server.data_dir / name, directory / name)
        database = app._open(directory, server.database, SystemClock(), "evidence")
        try:
            yield database
        finally:
            database.close()


def stored_values(server: ServerProcess, arn: str) -> dict[str, dict[str, Any]]:
    """Return the values under the labels that a rotation moves."""

    def read(unit: Unit) -> dict[str, dict[str, Any]]:
        account, region = AccountId(arn.split(":")[4]), Region(REGION)
        secret = secrets.find_secret(unit, secrets.parse_secret_id(arn, account, region))
        assert secret is not None
        values: dict[str, dict[str, Any]] = {}
        for label in LABELS:
            token = secret.labels.get(label)
            version = secrets.find_version(unit, secret, token) if token is not None else None
            value = secrets.open_value(unit, secret, version) if version is not None else None
            if value is not None:
                values[label] = json.loads(value)
        return values

    with opened(server) as database:
        return database.read(read)


def versions(server: ServerProcess) -> dict[str, list[str]]:
    """Return the ids of each secret's versions, by the secret's name."""
    statement = text("SELECT name, version_id FROM secret_versions ORDER BY name, created_at, version_id")
    found: dict[str, list[str]] = {}
    with opened(server) as database:
        for name, version_id in database.read(lambda unit: unit.connection.execute(statement).all()):
            found.setdefault(name, []).append(version_id)
    return found


def records(server: ServerProcess) -> list[dict[str, Any]]:
    """Return every record of the trail: of the store, and of the segments where reads have theirs."""
    statement = text("SELECT body FROM trail_records")
    with opened(server) as database:
        rows = database.read(lambda unit: unit.connection.execute(statement).all())
    bodies = [bytes(row[0]) for row in rows]
    return [json.loads(body) for body in [*bodies, *recorded_bodies(server.data_dir)]]


def rotation_events(found: Iterable[dict[str, Any]], token: str) -> Counter[str]:
    """Count the service events of one rotation, by name."""
    return Counter(
        record["eventName"]
        for record in found
        if record["eventType"] == "AwsServiceEvent" and record["requestID"].endswith(token)
    )
