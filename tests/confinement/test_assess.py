"""What a server finds out about its machine before it serves."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.confinement.test_start import landlocked
from turnlock.confinement import assess, cgroups, landlock
from turnlock.errors import ConfigurationError
from turnlock.functions import refuse_in_sight, settle_confinement


@landlocked
def test_a_machine_that_has_it_all_lacks_nothing() -> None:
    assert assess.missing() is None


@landlocked
def test_without_user_namespaces_an_ordinary_user_is_told_what_is_missing(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
sys.path.append(sys.argv[2])
from tests.confinement.ordinary import become_ordinary, forbid_namespaces
become_ordinary(Path(sys.argv[1]), Path(sys.argv[2], "tests"))
forbid_namespaces()
from turnlock.confinement import assess
print(assess.missing())
"""
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), root],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Namespaces with a root directory of its own are needed" in ended.stdout


def test_what_is_left_open_is_said_for_each_feature_that_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "own", lambda: None)
    monkeypatch.setattr(landlock, "abi", lambda: 3)
    assert assess.left_open() == [
        assess.NO_PORTS,
        assess.NO_SCOPES,
        assess.NO_MEMORY,
        assess.NO_DATABASE_MEMORY,
        assess.NO_FREEZING,
        assess.NO_CPU,
    ]


@pytest.mark.parametrize(
    ("pattern", "hard", "is_open"),
    [("|/usr/bin/reports %p", 0, True), ("|/usr/bin/reports %p", 1, False), ("core", 0, False)],
)
def test_a_program_that_the_kernel_would_start_for_a_crash_is_told_of(
    monkeypatch: pytest.MonkeyPatch, pattern: str, hard: int, is_open: bool
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: pattern)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, hard))
    assert (assess.CORES_PIPED in assess.left_open()) is is_open


@pytest.mark.parametrize("reason", [None, "Namespaces are needed."])
def test_an_operator_is_told_once_at_the_start_what_is_left_open(
    monkeypatch: pytest.MonkeyPatch, reason: str | None
) -> None:
    monkeypatch.setattr(cgroups, "own", lambda: None)
    monkeypatch.setattr(cgroups, "settle", lambda: None)
    monkeypatch.setattr(assess, "missing", lambda: reason)
    with capture_logs() as logged:
        settle_confinement()
    (line,) = logged
    told = assess.left_open()
    assert assess.NO_FREEZING in told
    assert assess.NO_CPU in told
    if reason is None:
        assert (line["action"], line["log_level"], line["left_open"]) == ("confinement", "info", told)
    else:
        assert (line["action"], line["log_level"]) == ("confinement_missing", "warning")
        assert line["reason"] == reason
        assert line["left_open"] == [assess.NO_PLACES, *told]


@pytest.mark.parametrize(
    "place",
    [
        Path(sys.prefix, "lib", f"python3.{sys.version_info.minor}", "site-packages"),
        Path("/usr/share"),
        Path("/usr"),
    ],
)
def test_a_data_directory_that_children_would_see_is_refused(place: Path) -> None:
    with pytest.raises(ConfigurationError, match="which functions and local databases can read"):
        refuse_in_sight([Path("/srv/turnlock"), place / "turnlock-data"])


def test_a_link_does_not_hide_where_a_data_directory_is(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("/usr/share/turnlock-data")
    with pytest.raises(ConfigurationError):
        refuse_in_sight([tmp_path / "data"])


def test_a_data_directory_elsewhere_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONPATH and the script's own directory are not seen by children."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # Test runners put the checkout itself on the path, and with it the virtual environment.
    packages = [path for path in sys.path if path and not Path(sys.prefix).is_relative_to(path)]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *packages])
    refuse_in_sight([tmp_path / "data", Path(sys.prefix) / "turnlock-data"])
