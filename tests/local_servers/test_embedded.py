"""The embedded PostgreSQL: who gets in, what it survives, when it ends."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedPostgres, cluster
from turnlock.local_servers.process import free_port

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tls=True, fsync=False) as running:
        yield running


def superuser(server: EmbeddedPostgres) -> str:
    return server.conninfo("postgres", server.password)


def query(conninfo: str, text: str) -> object:
    with psycopg.connect(conninfo, connect_timeout=5) as connection:
        row = connection.execute(text.encode()).fetchone()
        return row[0] if row else None


def eventually(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 15
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_answers_over_verified_tls(server: EmbeddedPostgres) -> None:
    text = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert query(superuser(server), text) is True


def test_answers_over_the_unix_socket_with_a_password(server: EmbeddedPostgres) -> None:
    local = make_conninfo(
        "", host=str(server.socket_directory), port=server.port, user="postgres", dbname="postgres"
    )
    assert query(make_conninfo(local, password=server.password), "SELECT 1") == 1
    with pytest.raises(psycopg.OperationalError):
        query(make_conninfo(local, password="", passfile="/dev/null"), "SELECT 1")


def test_listens_on_loopback_only(server: EmbeddedPostgres) -> None:
    assert query(superuser(server), "SHOW listen_addresses") == "127.0.0.1"


def test_lets_nobody_in_but_by_scram(server: EmbeddedPostgres) -> None:
    count = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'"
    assert query(superuser(server), count) == 0
    for change in ({"password": "wrong"}, {"password": "", "passfile": "/dev/null"}, {"require_auth": "md5"}):
        with pytest.raises(psycopg.OperationalError):
            query(make_conninfo(superuser(server), **change), "SELECT 1")


def test_keeps_no_password_file_and_a_private_data_directory(server: EmbeddedPostgres) -> None:
    root = server.log_path.parent
    assert not list(root.glob("initial-password*"))
    assert stat.S_IMODE((root / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "data" / "server.key").stat().st_mode) == 0o600
    assert server.password not in server.log_path.read_text()


def test_never_runs_as_root(server: EmbeddedPostgres) -> None:
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def test_makes_logins_without_telling_the_server_the_password(server: EmbeddedPostgres) -> None:
    password = "p@ss word/with:every'thing"
    server.create_login('odd "name', password, database="theirs")
    assert query(server.conninfo('odd "name', password, "theirs"), "SELECT current_database()") == "theirs"
    assert query(server.dsn('odd "name', password, "theirs"), "SELECT 1") == 1
    assert password not in server.log_path.read_text()


def test_gives_urls_for_sqlalchemy_and_for_libpq(server: EmbeddedPostgres) -> None:
    assert server.admin_url().startswith("postgresql+psycopg://postgres:")
    assert query(server.admin_url(driver=None), "SELECT 1") == 1


def test_recovers_from_a_kill_on_the_same_port() -> None:
    with EmbeddedPostgres() as server:
        port, first = server.port, server.pid
        with psycopg.connect(superuser(server), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
            server.kill()
        assert not server.running
        assert not lives(first)
        server.start()
        assert server.port == port
        assert query(superuser(server), "SELECT n FROM kept") == 7
        assert "automatic recovery in progress" in server.log_path.read_text()


def test_a_kept_directory_is_used_again_with_its_password() -> None:
    directory = Path(tempfile.mkdtemp(prefix="turnlock-pg-test-"))
    try:
        with EmbeddedPostgres(directory, password="first password", fsync=False) as server:
            server.create_login("kept", "kept")
        with EmbeddedPostgres(directory, password="first password", fsync=False) as server:
            assert query(server.conninfo("kept", "kept"), "SELECT 1") == 1
        with pytest.raises(ConfigurationError, match="its password is needed"):
            EmbeddedPostgres(directory).start()
    finally:
        shutil.rmtree(directory)


def test_a_temporary_directory_goes_with_its_server() -> None:
    with EmbeddedPostgres(fsync=False) as server:
        root, process = server.log_path.parent, server.pid
    assert not root.exists()
    assert not lives(process)


OWNER = """
import sys, threading, time
from turnlock.local_servers import EmbeddedPostgres
server = EmbeddedPostgres(fsync=False)
thread = threading.Thread(target=server.start)
thread.start(); thread.join()
print(server.pid, server.log_path.parent, flush=True)
time.sleep(60)
"""


def test_does_not_outlive_an_owner_that_is_killed() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid_text, _, directory = owner.stdout.readline().strip().partition(" ")
    try:
        time.sleep(0.2)  # the thread that called start() has ended: the server must not mind
        assert lives(int(pid_text))
        owner.send_signal(signal.SIGKILL)
        owner.wait(60)
        assert eventually(lambda: not lives(int(pid_text)))
    finally:
        owner.kill()
        owner.stdout.close()
        shutil.rmtree(directory, ignore_errors=True)


def test_says_in_the_servers_words_why_it_does_not_start() -> None:
    server = EmbeddedPostgres(fsync=False, port=1, settings={"shared_buffers": "nonsense"})
    try:
        with pytest.raises(ConfigurationError, match="shared_buffers"):
            server.start()
    finally:
        server.stop()


SAYS_NOTHING = """#!/bin/sh
exec perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
    bind(S, pack_sockaddr_in($ARGV[0], INADDR_LOOPBACK)) && listen(S, 9) or exit 1; sleep 60' {port}
"""


def test_a_server_that_listens_and_says_nothing_holds_nobody_up(passable_dir: Path) -> None:
    """Who got into a server, or is quicker at its port, must not stop the process that starts it, nor that one's other threads."""
    (passable_dir / "cluster" / "data").mkdir(parents=True)
    (passable_dir / "cluster" / "data" / "PG_VERSION").write_text("15")
    program = passable_dir / "postgresql" / "15" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    port = free_port()
    program.write_text(SAYS_NOTHING.format(port=port))
    program.chmod(0o755)
    words = f"""
import threading, time
from pathlib import Path
from turnlock.local_servers import EmbeddedPostgres
EmbeddedPostgres._patience = 3.0
server = EmbeddedPostgres(Path({str(passable_dir / "cluster")!r}), password="x", port={port}, programs=Path({str(program.parent)!r}))
done = threading.Event()
threading.Thread(target=lambda: print("beats", sum(not done.wait(0.1) for _ in range(25)), flush=True), daemon=True).start()
try:
    server.start()
except Exception as error:
    print(type(error).__name__)
"""
    ended = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.stdout.split() == ["beats", "25", "ConfigurationError"], ended.stderr


def test_knows_nothing_before_its_first_start() -> None:
    server = EmbeddedPostgres()
    assert not server.running
    for attribute in ("port", "password", "log_path"):
        with pytest.raises(ConfigurationError, match="first start"):
            getattr(server, attribute)
    with pytest.raises(ConfigurationError, match="not running"):
        _ = server.pid


def test_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"turnlock\[demo\]"):
        EmbeddedPostgres()


def test_says_which_version_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no PostgreSQL 9"):
        cluster.bundled_programs(9)
    assert (cluster.bundled_programs(16) / "postgres").exists()
    with pytest.raises(ConfigurationError, match="the package postgresql"):
        cluster.system_programs(tmp_path)


def test_takes_the_newest_of_the_systems_versions(tmp_path: Path) -> None:
    for version in ("9", "15", "18", "old"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "postgres").touch()
    assert cluster.system_programs(tmp_path) == tmp_path / "18" / "bin"


def test_uses_a_short_socket_path_below_a_long_directory() -> None:
    root = Path(tempfile.mkdtemp(prefix="turnlock-pg-test-"))
    try:
        with EmbeddedPostgres(root / ("long" * 25), fsync=False) as server:
            short = server.socket_directory
            assert len(str(short)) < 80
            assert (short / f".s.PGSQL.{server.port}").exists()
        assert not short.exists()
    finally:
        shutil.rmtree(root)
