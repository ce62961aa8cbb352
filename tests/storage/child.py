"""A process that works on a store until it is done or killed: `child.py URL|- DIRECTORY VERB NAME COUNT`.

write   puts COUNT notes NAME-0 …, printing each name once its Future is resolved
halve   puts the note NAME-0, then a unit that stops for ever between its first and its second note
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sqlalchemy import text

from turnlock.core.ports import SystemClock, SystemEntropy
from turnlock.root_keys import NoKeyring
from turnlock.storage import Database, Unit, open_database
from turnlock.storage.database import Surroundings


def put(unit: Unit, name: str) -> None:
    """Insert a note."""
    unit.connection.execute(text("INSERT INTO notes (name, value) VALUES (:name, 0)"), {"name": name})


def write(database: Database, name: str, count: int) -> None:
    """Put notes, one commit each."""
    for number in range(count):
        label = f"{name}-{number}"
        database.submit(lambda unit, label=label: put(unit, label)).result(timeout=60)  # type: ignore[misc]
        print(label, flush=True)


def halve(database: Database, name: str, count: int) -> None:
    """Put whole units, then half of one."""
    write(database, name, count)

    def work(unit: Unit) -> None:
        put(unit, f"{name}-half")
        print("half", flush=True)
        time.sleep(60)

    database.submit(work).result(timeout=60)


def main(url: str, directory: str, verb: str, name: str, count: str) -> None:
    """Open the store and do what was asked."""
    database = open_database(
        url=None if url == "-" else url,
        data_dir=Path(directory),
        surroundings=Surroundings(clock=SystemClock(), entropy=SystemEntropy(), keyring=NoKeyring()),
    )
    {"write": write, "halve": halve}[verb](database, name, int(count))
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
