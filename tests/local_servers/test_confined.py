"""The user of an instance's files, what is handed over to it, and how one knows that a former server has ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from tests.processes import family, wait_until
from tests.rds.tries import ROOT
from turnlock.confinement import assess, cgroups
from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedPostgres, cluster
from turnlock.local_servers.confined import (
    FIRST_UID,
    LAST_UID,
    MEMORY_BYTES,
    Enclosure,
    hand_over,
    instance_account,
)
from turnlock.local_servers.process import Account, open_log, read_since, read_theirs
from turnlock.rds.local.mariadb import LocalMariaDB
from turnlock.rds.local.postgresql import LocalPostgres
from turnlock.rds.local.server import Master
from turnlock.rds.model import INTERNAL_USER

only_root = pytest.mark.skipif(not ROOT, reason="only root gives files to another user")
confining = pytest.mark.skipif(assess.missing() is not None, reason="this kernel cannot confine a database")
FORMER, NEW = 54_001, Account(uid=FIRST_UID + 7, gid=FIRST_UID + 7)
MASTER = Master(username="shop", password="first-Password-1", dbname=None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A former user's directory, with something in it."""
    made = tmp_path / "shop" / "data"
    (made / "base").mkdir(parents=True)
    (made / "base" / "table").write_text("rows")
    (made / "link").symlink_to("base/table")
    if ROOT:
        for path in (made, *made.rglob("*")):
            os.chown(path, FORMER, FORMER, follow_symlinks=False)
    return made


def owner(path: Path) -> int:
    return path.lstat().st_uid


@only_root
def test_an_instance_keeps_its_user_and_another_gets_another(tmp_path: Path) -> None:
    uids = set()
    for name in ("a", "b", "c"):
        (tmp_path / name / "data").mkdir(parents=True)
        account = instance_account(tmp_path / name)
        assert account is not None
        assert FIRST_UID <= account.uid == account.gid <= LAST_UID
        hand_over(tmp_path / name / "data", account)
        assert instance_account(tmp_path / name) == account
        uids.add(account.uid)
    assert len(uids) == 3


@only_root
def test_a_user_that_another_instance_has_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([FIRST_UID, FIRST_UID, FIRST_UID + 1])
    monkeypatch.setattr("turnlock.local_servers.confined._random.randint", lambda *_: next(drawn))
    for name, uid in (("a", FIRST_UID), ("b", FIRST_UID + 1)):
        (tmp_path / name / "data").mkdir(parents=True)
        account = instance_account(tmp_path / name)
        assert account == Account(uid=uid, gid=uid)
        hand_over(tmp_path / name / "data", account)


@only_root
def test_a_former_users_directory_is_handed_over_whole(data: Path) -> None:
    hand_over(data, NEW)
    assert {owner(path) for path in (data, *data.rglob("*"))} == {NEW.uid}
    hand_over(data, NEW)


@only_root
def test_what_was_planted_is_not_followed(data: Path, tmp_path: Path) -> None:
    private = tmp_path / "root.key"
    private.write_text("key")
    (data / "to-key").symlink_to(private)
    (data / "to-directory").symlink_to(tmp_path)
    os.mkfifo(data / "pipe")
    left = data / "of-root"
    left.write_text("left by root")
    for name in ("to-key", "to-directory", "pipe"):
        os.chown(data / name, FORMER, FORMER, follow_symlinks=False)
    hand_over(data, NEW)
    assert (owner(private), owner(tmp_path), owner(left)) == (0, 0, 0)
    assert (owner(data / "to-key"), owner(data / "pipe")) == (NEW.uid, FORMER)


@only_root
def test_a_file_with_a_second_name_is_refused(data: Path, tmp_path: Path) -> None:
    """The other name may be in another instance, which ran as the same user."""
    theirs = tmp_path / "theirs"
    theirs.write_text("rows")
    os.chown(theirs, FORMER, FORMER)
    os.link(theirs, data / "stolen")
    with pytest.raises(ConfigurationError, match="second name"):
        hand_over(data, NEW)
    assert (owner(theirs), owner(data)) == (FORMER, FORMER)


@only_root
def test_a_hand_over_that_was_cut_off_is_done_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = os.fchown, [1]

    def fail_soon(descriptor: int, uid: int, gid: int) -> None:
        if not left:
            raise OSError(5, "the power went")
        left.pop()
        real(descriptor, uid, gid)

    monkeypatch.setattr(os, "fchown", fail_soon)
    with pytest.raises(OSError, match="the power went"):
        hand_over(data, NEW)
    assert owner(data) == FORMER
    monkeypatch.setattr(os, "fchown", real)
    hand_over(data, NEW)
    assert {owner(path) for path in (data, *data.rglob("*"))} == {NEW.uid}


@only_root
def test_directories_without_end_are_refused(data: Path) -> None:
    place = os.open(data, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=place)
        os.chown("d", FORMER, FORMER, dir_fd=place)
        deeper = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = deeper
    os.close(place)
    try:
        with pytest.raises(ConfigurationError, match="too deep"):
            hand_over(data, NEW)
    finally:
        subprocess.run(["/bin/rm", "-rf", str(data)], check=True)


def test_a_log_is_free_when_the_last_who_writes_it_has_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    held = open_log(log, 1)
    command = ["/bin/sh", "-c", "sleep 60 & exit"]
    with subprocess.Popen(command, stdout=held, stderr=held, start_new_session=True) as first:
        first.wait()
    os.close(held)
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match="former server still write log"):
        open_log(log, 0.3)
    assert time.monotonic() - began < 30
    os.killpg(first.pid, signal.SIGKILL)
    free = open_log(log, 10)
    with pytest.raises(BlockingIOError), log.open() as another:
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(free)


def test_a_log_that_is_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        open_log(tmp_path / "log", 1)


def test_what_a_server_wrote_is_read_as_a_strangers(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 1_000_000)
    (tmp_path / "bytes").write_bytes(b"12\xff\n")
    read = {name: read_theirs(tmp_path / name) for name in ("link", "pipe", "absent", "bytes")}
    assert read == {"link": "", "pipe": "", "absent": "", "bytes": "12\ufffd\n"}
    assert read_theirs(tmp_path) == ""
    assert len(read_theirs(tmp_path / "large")) == 1 << 16
    assert read_since(tmp_path / "bytes", 1) == "2\ufffd\n"
    assert len(read_since(tmp_path / "large", 0)) == 1 << 16
    assert read_since(tmp_path / "absent", 0) == ""


@pytest.fixture
def place(passable_dir: Path) -> Path:
    (passable_dir / "databases").mkdir(mode=0o711)
    return passable_dir / "databases" / "shop"


@pytest.mark.engine
@pytest.mark.slow
@confining
@pytest.mark.parametrize("major", [15, 18])
def test_a_postgresql_of_before_goes_on_confined_and_back(place: Path, major: int) -> None:
    programs = cluster.system_programs() if major == 15 else cluster.bundled_programs(major)

    def server(*, confined: bool) -> LocalPostgres:
        return LocalPostgres(
            place,
            superuser=INTERNAL_USER,
            password="internal",
            tls=major == 15,
            programs=programs,
            confined=confined,
        )

    with server(confined=False) as former:
        former.set_master(MASTER)
        with psycopg.connect(former.conninfo("shop", MASTER.password, "template1")) as connection:
            connection.execute("CREATE ROLE app")
        before = owner(place / "data")
    for confined in (True, True, False, True):
        with server(confined=confined) as now:
            with psycopg.connect(now.conninfo("shop", MASTER.password)) as connection:
                there = connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'app'").fetchone()
                assert there == (1,)
            if ROOT:
                uid = owner(place / "data")
                assert (FIRST_UID <= uid <= LAST_UID) if confined else uid == before
                assert {owner(path) for path in (place / "data").rglob("*")} == {uid}


@pytest.mark.engine
@pytest.mark.slow
@confining
def test_a_mariadb_of_before_goes_on_confined_and_back(place: Path) -> None:
    for confined in (False, True, True, False):
        with LocalMariaDB(
            place, user=INTERNAL_USER, password="internal", tls=True, confined=confined
        ) as server:
            server.set_master(MASTER)
            server.execute("CREATE DATABASE IF NOT EXISTS kept")
            assert ("kept",) in server.execute("SHOW DATABASES")


OWNER = """
import sys, time
from pathlib import Path
from turnlock.local_servers import cluster
from turnlock.rds.local.postgresql import LocalPostgres
server = LocalPostgres(Path(sys.argv[1]), superuser="rdsadmin", password="internal", programs=cluster.bundled_programs(), confined=True)
server.start()
print(server.port, flush=True)
time.sleep(600)
"""


@pytest.mark.engine
@pytest.mark.slow
@confining
def test_a_server_whose_owner_was_killed_is_started_again_once_all_of_it_has_ended(place: Path) -> None:
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", OWNER, str(place)], stdout=subprocess.PIPE) as one:
            assert one.stdout is not None
            line = one.stdout.readline()
            assert line, "the server did not start"
            port = int(line)
            target = f"host=127.0.0.1 port={port} user=rdsadmin password=internal dbname=rdsadmin"
            busy = psycopg.connect(target, autocommit=True)
            busy.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
            busy.execute("INSERT INTO kept VALUES (1)")
            one.kill()
            with contextlib.closing(busy):
                pass
    programs = cluster.bundled_programs()
    last = LocalPostgres(
        place, superuser=INTERNAL_USER, password="internal", programs=programs, confined=True
    )
    with last, psycopg.connect(last.conninfo(INTERNAL_USER, "internal", INTERNAL_USER)) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (3,)
    wait_until(lambda: not last.running, 60, "its end")


def cgroup_of(pid: int) -> str:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


@pytest.mark.engine
@pytest.mark.slow
@confining
@pytest.mark.skipif(cgroups.own() is None, reason="this process may make no cgroups of version 2")
def test_all_processes_of_a_database_are_in_a_cgroup_of_its_own(place: Path) -> None:
    with EmbeddedPostgres(place, fsync=False, confined=True) as server:
        members = family(server.pid)
        (its_own,) = {cgroup_of(one.pid) for one in members}
        assert len(members) > 3, "the launcher, the server and its workers"
        assert its_own != cgroup_of(os.getpid())
        placed = next(cgroups._mounts())[1] / its_own.lstrip("/")
        assert placed.parent.name.startswith(f"turnlock-{os.getpid()}-")
        server.restart()
        (after,) = {cgroup_of(one.pid) for one in family(server.pid)}
        assert after != its_own
    made = [placed.parent / Path(name).name for name in (its_own, after)]
    wait_until(lambda: not any(path.exists() for path in made), 60, "their removal")


class Standing:
    """Stands for the cgroups of a server to which the controllers were handed: a directory of ordinary files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for file in ("memory.max", "memory.swap.max", "pids.max", "cpu.weight"):
            (path / file).touch()

    def make(self) -> cgroups.Cgroup:
        return cgroups.Cgroup(self.path)


@confining
@pytest.mark.parametrize("killed", [0, 1])
def test_a_databases_memory_and_processes_are_counted_where_there_are_controllers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    (tmp_path / "cgroup").mkdir()
    standing = Standing(tmp_path / "cgroup")
    (standing.path / "memory.events").write_text(f"oom_kill {killed}\n")
    monkeypatch.setattr(cgroups, "own", lambda: standing)
    monkeypatch.setattr(cgroups, "_EMPTY_SECONDS", 0)
    with capture_logs() as logged:
        Enclosure(mount=tmp_path / "mount", account=None).run(["/bin/true"], seconds=60)
    written = {file.name: file.read_text() for file in standing.path.iterdir()}
    assert int(written["cgroup.procs"]) > 1
    assert (written["memory.max"], written["memory.swap.max"]) == (str(MEMORY_BYTES), "0")
    assert (written["pids.max"], written["cpu.weight"], written["cgroup.kill"]) == ("512", "100", "1")
    assert [line["action"] for line in logged] == ["database_out_of_memory"] * killed
