"""Which MySQL is run: the unpacked one by its own loader, or the system's; never MariaDB under MySQL's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from turnlock.errors import ConfigurationError
from turnlock.local_servers import mysql


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """What is found is remembered for the process."""
    mysql.mysql_command.cache_clear()
    yield
    mysql.mysql_command.cache_clear()


def program(directory: Path, words: str) -> None:
    directory.mkdir(parents=True)
    script = directory / "mysqld"
    script.write_text(f"#!/bin/sh\necho '{words}'\n")
    script.chmod(0o755)


def test_the_unpacked_release_runs_through_its_own_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = tmp_path / "turnlock" / "mysql" / "root"
    for name in ("usr/sbin/mysqld", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    loader, option, libraries, server = mysql.mysql_command()
    assert (loader, option) == (str(root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"), "--library-path")
    assert (libraries, server) == (str(root / "usr/lib/x86_64-linux-gnu"), str(root / "usr/sbin/mysqld"))


def test_mariadb_under_mysqls_name_is_no_mysql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    program(tmp_path / "bin", "mysqld  Ver 10.11.19-MariaDB for debian-linux-gnu")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(ConfigurationError, match="MariaDB is none"):
        mysql.mysql_command()


def test_the_systems_mysql_is_found_and_says_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    program(tmp_path / "bin", "/usr/sbin/mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server)")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert mysql.mysql_command() == (str(tmp_path / "bin" / "mysqld"),)
    assert mysql.mysql_version() == "8.4.3"
