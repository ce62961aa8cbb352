"""`turnlock functions try`, as an operator runs it."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.own_functions import EXAMPLES
from turnlock.cli import cli
from turnlock.cli.functions.package import package
from turnlock.confinement import landlock
from turnlock.errors import ConfigurationError

needs_confinement = pytest.mark.skipif(
    landlock.abi() < 3, reason="this kernel cannot confine functions of one's own"
)


@needs_confinement
@pytest.mark.slow
def test_a_trial_shows_each_step_and_ends_well_in_spite_of_injected_faults() -> None:
    ended = CliRunner().invoke(
        cli,
        [
            *("functions", "try", str(EXAMPLES / "rotation-template"), "--secret", "prod/api"),
            *("--value", '{"user": "app", "password": "first-password"}', "--fault", "setSecret=lost"),
            *("--env", "PASSWORD_LENGTH=20"),
        ],
    )
    assert ended.exit_code == 0, ended.output
    steps = re.findall(r"^(\w+) +(\d+) ms.*?(ok|FAILED)", ended.output, re.MULTILINE)
    assert [(step, outcome) for step, _, outcome in steps] == [
        ("createSecret", "ok"),
        ("setSecret", "FAILED"),
        ("createSecret", "ok"),
        ("setSecret", "ok"),
        ("testSecret", "ok"),
        ("finishSecret", "ok"),
    ]
    assert '"ClientRequestToken": ' in ended.output
    assert "first-password" not in ended.output
    assert "rotated: AWSCURRENT is " in ended.output


STOPS = {
    "does not load": ("import not_there\ndef handler(event, context):\n    pass\n", 1),
    "has no such handler": ("def other(event, context):\n    pass\n", 1),
    "does what its role may not": (
        'import boto3\ndef handler(event, context):\n    boto3.client("secretsmanager").list_secrets()\n', 1,
    ),
    "names what is not there": ("def handler(event, context):\n    absent()\n", 1),
    "says the same again": ('def handler(event, context):\n    raise RuntimeError("no")\n', 3),
}  # fmt: skip


@needs_confinement
@pytest.mark.slow
@pytest.mark.parametrize("kind", STOPS)
def test_a_trial_ends_at_once_where_no_other_attempt_can_do_better(kind: str, tmp_path: Path) -> None:
    code, attempts = STOPS[kind]
    (tmp_path / "main.py").write_text(code)
    ended = CliRunner().invoke(cli, ["functions", "try", str(tmp_path), "--secret", "prod/api"])
    assert ended.exit_code == 1
    assert len(re.findall("FAILED", ended.output)) == attempts, ended.output
    assert "No further attempt is made: it would fail in the same way." in ended.output
    assert f"not rotated: {attempts} steps failed" in ended.output


@pytest.mark.parametrize("fault", ["setSecret", "setSecret=badly", "probe=error"])
def test_a_fault_that_cannot_be_injected_is_refused(fault: str) -> None:
    ended = CliRunner().invoke(cli, ["functions", "try", str(EXAMPLES), "--secret", "x", "--fault", fault])
    assert ended.exit_code == 2
    assert "must be STEP=HOW" in ended.output


def test_a_package_holds_the_files_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "__pycache__").mkdir()
    for name in ("main.py", "lib/x.py", ".env", "__pycache__/main.pyc"):
        (tmp_path / name).write_text(name)
    assert sorted(zipfile.ZipFile(BytesIO(package(tmp_path))).namelist()) == ["lib/x.py", "main.py"]


def test_a_directory_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no file"):
        package(tmp_path)
