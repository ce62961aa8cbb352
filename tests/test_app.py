"""The composition root: which of several ways a worker goes."""

from __future__ import annotations

import asyncio
import platform
from pathlib import Path

import pytest

from tests.segments import recorded_bodies
from tests.trail.test_journal import bodies, entry
from turnlock import app
from turnlock.config import Config
from turnlock.core.arn import Region
from turnlock.storage import Unit


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
        readers = application.readers(asyncio.get_running_loop())
        assert await asyncio.wait_for(readers.run(work), 20) == "done"
        readers.close()

    asyncio.run(main())
    application.close()
    assert recorded_bodies(tmp_path) == bodies("a")
