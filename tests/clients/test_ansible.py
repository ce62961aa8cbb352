"""Ansible keeps secrets and what stands beside them: a play that is run again finds nothing to change."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import proofs
from tests.functions.api.calling import package
from tests.processes import ServerProcess

PLAY = Path(__file__).with_name("ansible")
INSTALL_SECONDS, PLAY_SECONDS = 900, 300

pytestmark = [
    pytest.mark.skipif(
        not proofs.FULL,
        reason="Ansible's modules take 550 MB: TURNLOCK_PROOF=full installs them for this test",
    ),
    pytest.mark.timeout(INSTALL_SECONDS + 4 * PLAY_SECONDS),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of its own with Ansible as the lock file names it, by hash; its programs."""
    place = tmp_path_factory.mktemp("ansible") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=INSTALL_SECONDS)
    pip = [str(place / "bin" / "pip"), "install", "--quiet", "--require-hashes"]
    subprocess.run(
        [*pip, "--requirement", str(PLAY / "requirements.txt")], check=True, timeout=INSTALL_SECONDS
    )
    return place / "bin"


def play(programs: Path, process: ServerProcess, directory: Path) -> str:
    """Run the play; return its last lines."""
    zipped = directory / "package.zip"
    zipped.write_bytes(package({"main.py": "def handler(event, context):\n    return event\n"}))
    done = subprocess.run(
        [
            str(programs / "ansible-playbook"),
            *("-i", "localhost,"),
            *("-e", f"ansible_python_interpreter={programs / 'python'}"),
            *("-e", f"package={zipped}"),
            str(PLAY / "play.yml"),
        ],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{process.port}",
            "AWS_SHARED_CREDENTIALS_FILE": str(process.data_dir / "credentials"),
            "AWS_REGION": "us-east-1",
        },
        capture_output=True,
        text=True,
        timeout=PLAY_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout[-300:]


def test_a_play_that_is_run_again_changes_nothing(programs: Path, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "turnlock", options=("--regions", "us-east-1")) as process:
        first, second = (play(programs, process, tmp_path) for _ in range(2))
    tasks = len(re.findall(r"^    - name:", (PLAY / "play.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert re.search(rf"ok={tasks} +changed={tasks} ", first)
    assert re.search(rf"ok={tasks} +changed=0 ", second)
