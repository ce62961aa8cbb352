"""The commands of docs/rds.md, word by word, against a server: from no database to a rotated password that logs in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.loaders import Loader

from tests.clients.conftest import Served
from tests.processes import REGION, ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.engine]

PAGE = Path(__file__).parents[2] / "docs" / "rds.md"
STORY_SECONDS = 120


def commands() -> str:
    """Return what stands in the page's `sh` blocks, as one script."""
    return "".join(
        re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    )


def quick_waiters(directory: Path) -> Path:
    """Lay botocore's waiters of RDS down with a second between two looks instead of thirty."""
    waiters = Loader().load_service_model("rds", "waiters-2")
    for waiter in waiters["waiters"].values():
        waiter["delay"] = 1
    place = directory / "rds" / "2014-10-31"
    place.mkdir(parents=True)
    (place / "waiters-2.json").write_text(json.dumps(waiters))
    return directory


def test_the_story_of_the_page(tmp_path: Path, passable_dir: Path) -> None:
    programs = Path(sys.executable).parent
    with ServerProcess(passable_dir / "turnlock", options=("--regions", REGION)) as process:
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "DATA_DIR": str(process.data_dir),
            "AWS_DATA_PATH": str(quick_waiters(tmp_path / "models")),
            **Served(process=process).environment,
        }
        done = subprocess.run(
            ["bash", "-euxo", "pipefail"],
            input=commands(),
            env=environment,
            capture_output=True,
            text=True,
            timeout=STORY_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "\nshopkeeper\n" in done.stdout
        assert 'FATAL:  password authentication failed for user "shopkeeper"' in done.stderr
        assert list((process.data_dir / "databases").glob("db-*")) == []
