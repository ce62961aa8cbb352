"""CHANGELOG.md: versions with dates, newest first, each by kind; the newest is the version that is installed."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

from click.testing import CliRunner

from turnlock.cli import cli

ROOT = Path(__file__).parents[2]
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]

_VERSION = re.compile(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)")


def sections() -> list[tuple[str, str]]:
    """Return (heading, text) of each version, as they stand."""
    parts = re.split(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    return [*zip(parts[1::2], parts[2::2], strict=True)]


def released() -> list[tuple[tuple[int, ...], date]]:
    """Return the numbers and the date of each version that has them."""
    found = []
    for heading, _ in sections()[1:]:
        version = _VERSION.fullmatch(heading)
        assert version, f"not `1.2.3 - 2026-11-28`: {heading}"
        found.append((tuple(int(number) for number in version[1].split(".")), date.fromisoformat(version[2])))
    return found


def project_version() -> str:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert isinstance(version, str)
    return version


def test_what_is_not_released_stands_on_top_and_the_newest_version_follows() -> None:
    assert sections()[0][0] == "Unreleased"
    assert released() == sorted(released(), reverse=True)


def test_changes_are_told_by_kind_once_for_each_version() -> None:
    for heading, text in sections():
        kinds = re.findall(r"^### (.*)$", text, flags=re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds], heading
        before_kinds = text.split("### ", 1)[0]
        assert not re.search(r"^-", before_kinds, flags=re.MULTILINE), f"{heading}: a change of no kind"


def test_the_newest_version_is_that_of_the_project() -> None:
    newest, _ = released()[0]
    assert ".".join(str(number) for number in newest) == project_version()


def test_the_command_says_the_project_s_version() -> None:
    said = CliRunner().invoke(cli, ["--version"], prog_name="turnlock")
    assert (said.exit_code, said.output) == (0, f"turnlock, version {project_version()}\n")
