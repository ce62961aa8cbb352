"""The composition root: which of several ways a worker goes, and what it makes of a store from before."""

from __future__ import annotations

import asyncio
import platform
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.calling import Client, token
from tests.secrets.test_seals import make_former
from tests.segments import recorded_bodies
from tests.support import SettableClock, StorePlace
from tests.trail.test_journal import bodies, entry
from turnlock import app
from turnlock.config import Config
from turnlock.core.arn import Region
from turnlock.storage import Database, Unit


@pytest.mark.parametrize("machine", [platform.machine(), "pdp11"])
def test_records_are_kept_where_the_kernel_syncs_by_itself_and_where_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    config = Config(
        data_dir=tmp_path, host="127.0.0.1", port=7768, regions=frozenset({Region("eu-central-1")})
    )
    app.initialise(config)
    application = app.build(config)

    def work(unit: Unit) -> str:
        unit.record(entry("a"))
        return "done"

    async def main() -> None:
        readers = application.readers(asyncio.get_running_loop(), arriving=lambda: 0)
        assert await asyncio.wait_for(readers.run(work), 20) == "done"
        readers.close()

    asyncio.run(main())
    application.close()
    assert recorded_bodies(tmp_path) == bodies("a")


def test_the_first_opening_seals_a_store_from_before(store_place: StorePlace) -> None:
    config = Config(
        data_dir=store_place.data_dir,
        host="127.0.0.1",
        port=7768,
        database=store_place.url,
        regions=frozenset({Region("eu-central-1")}),
    )
    app.initialise(config)

    def read(database: Database) -> str:
        client = Client(database=database, clock=SettableClock())
        return str(client("GetSecretValue", SecretId="db")["SecretString"])

    with app.existing_store(config.data_dir, config.database, "test") as database:
        client = Client(database=database, clock=SettableClock())
        client("CreateSecret", Name="db", SecretString="v", ClientRequestToken=token())
        make_former(database)
    with capture_logs() as logged:
        for _ in range(2):
            with app.existing_store(config.data_dir, config.database, "test") as database:
                assert read(database) == "v"
    assert [(line["action"], line["count"]) for line in logged] == [("secrets_sealed", 1)]
