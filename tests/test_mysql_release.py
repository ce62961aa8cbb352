"""tools/mysql.sh and postgresql.sh with an archive of ours in apt's and dpkg's place: two at once, one that is stopped, and files that are lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
APT = """#!/bin/sh
for word; do case $word in
  indextargets) [ -z "${NO_ARCHIVE-}" ] || exit 0; echo 'Packages some file:/archive/' ;;
  update) echo fetched >> "$FETCHES" ;;
  --simulate) echo 'Inst mysql-server-core (9.9.9-1 Debian:unstable [amd64])'; echo 'Inst postgresql-18 (18.9-1 Debian:unstable [amd64])'
    echo 'Inst libc6 (2.99 Debian:unstable [amd64])' ;;
  download) sleep 0.3; touch server.deb libc.deb ;;
esac; done
"""
DPKG = """#!/bin/sh
[ -z "${DPKG_FAILS-}" ] || { mkdir -p "$3/usr"; echo half > "$3/usr/half"; exit 7; }
mkdir -p "$3/usr/sbin" "$3/usr/lib"
echo "$2" | sed 's,.*/,,' > "$3/usr/sbin/$(basename "$2")"
ln -sf sbin/server.deb "$3/usr/link"
mkdir -p "$3/usr/lib/postgresql/18/bin" "$3/usr/lib/x86_64-linux-gnu"
touch "$3/usr/lib/postgresql/18/bin/postgres" "$3/usr/lib/postgresql/18/bin/initdb"
printf '#!/bin/sh\\necho "$0" "$@"\\n' > "$3/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
chmod 755 "$3/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
"""


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """A machine whose package tools are ours; each fetch is a line of the file `fetches`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("apt-get", APT), ("dpkg", DPKG)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "keyring").touch()
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_CODENAME=some\n")
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TURNLOCK_DEBIAN_KEYRING": str(tmp_path / "keyring"),
        "TURNLOCK_OS_RELEASE": str(tmp_path / "os-release"),
        "FETCHES": str(tmp_path / "fetches"),
    }


def start(environment: Mapping[str, str], tool: str = "mysql.sh", **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["/bin/sh", str(TOOLS / tool)],
        env={**environment, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(environment: Mapping[str, str], tool: str = "mysql.sh", **more: str) -> tuple[int, str, str]:
    process = start(environment, tool, **more)
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors


def cache(environment: Mapping[str, str]) -> Path:
    return Path(environment["XDG_CACHE_HOME"]) / "turnlock" / "mysql"


def fetches(environment: Mapping[str, str]) -> int:
    return len(Path(environment["FETCHES"]).read_text().splitlines())


def test_it_unpacks_once_and_leaves_nothing_else_behind(environment: Mapping[str, str]) -> None:
    assert run(environment) == (0, "MySQL 9.9.9-1\n", "")
    assert run(environment) == (0, "MySQL 9.9.9-1\n", "")
    assert fetches(environment) == 1
    assert {path.name for path in cache(environment).iterdir()} == {"root", "contents", "version", "lock"}
    assert (cache(environment) / "root/usr/link").read_text() == "server.deb\n"
    assert (cache(environment) / "root").stat().st_mode & 0o777 == 0o755


def test_several_at_once_fetch_once(environment: Mapping[str, str]) -> None:
    processes = [start(environment) for _ in range(4)]
    ended = [process.communicate(timeout=30) for process in processes]
    assert ended == [("MySQL 9.9.9-1\n", "")] * 4
    assert fetches(environment) == 1


@pytest.mark.parametrize("damage", ["lost", "changed", "added", "link", "unlisted"])
def test_what_is_not_whole_is_told_of_and_fetched_again(environment: Mapping[str, str], damage: str) -> None:
    run(environment)
    root = cache(environment) / "root/usr"
    if damage == "lost":
        (root / "sbin/libc.deb").unlink()
    elif damage == "changed":
        (root / "sbin/libc.deb").write_text("libc.dex\n")
    elif damage == "added":
        (root / "more").touch()
    elif damage == "link":
        (root / "link").unlink()
        (root / "link").symlink_to("sbin/libc.deb")
    else:
        (cache(environment) / "contents").unlink()
    status, output, errors = run(environment)
    assert (status, output) == (0, "MySQL 9.9.9-1\n")
    assert ("has no list" if damage == "unlisted" else "is not whole") in errors
    assert fetches(environment) == 2
    assert run(environment) == (0, "MySQL 9.9.9-1\n", "")


def test_one_that_fails_or_is_killed_leaves_nothing_that_counts(environment: Mapping[str, str]) -> None:
    status, output, _ = run(environment, DPKG_FAILS="yes")
    assert (status, output) == (7, "")
    assert {path.name for path in cache(environment).iterdir()} == {"lock"}
    killed = start(environment)
    while not Path(environment["FETCHES"]).exists() or fetches(environment) < 2:
        assert killed.poll() is None
    os.killpg(killed.pid, 9)
    killed.communicate(timeout=30)
    assert not (cache(environment) / "root").exists()
    assert run(environment) == (0, "MySQL 9.9.9-1\n", "")
    assert {path.name for path in cache(environment).iterdir()} == {"root", "contents", "version", "lock"}


def test_where_there_is_no_debian_it_says_so(environment: Mapping[str, str]) -> None:
    status, output, errors = run(environment, TURNLOCK_DEBIAN_KEYRING="/nowhere")
    assert (status, output) == (0, "")
    assert "this is no Debian" in errors


def test_where_apt_knows_no_archive_of_this_system_it_says_so(environment: Mapping[str, str]) -> None:
    status, output, errors = run(environment, NO_ARCHIVE="yes")
    assert (status, output) == (0, "")
    assert "apt knows no archive of this system" in errors
    assert run(environment, NO_ARCHIVE="yes", TURNLOCK_DEBIAN_MIRROR="file:/other") == (
        0,
        "MySQL 9.9.9-1\n",
        "",
    )


def test_postgresqls_programs_go_through_the_folders_own_loader(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    assert run(environment, "postgresql.sh") == (0, "PostgreSQL 18.9-1\n", "")
    root = tmp_path / "cache/turnlock/postgresql/root"
    loader = root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    for name in ("postgres", "initdb"):
        program = root / "usr/lib/postgresql/18/bin" / name
        ended = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
        libraries = f"--library-path {loader.parent}"
        assert ended.stdout == f"{loader} --argv0 {program} {libraries} {program}.program --version\n"
