"""A MariaDB of one's own: closed to everyone without the password, whole after a crash, gone with its owner."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from tests.processes import wait_until
from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedMariaDB
from turnlock.local_servers.mysql_files import quoted

pytestmark = [pytest.mark.slow, pytest.mark.engine]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedMariaDB]:
    with EmbeddedMariaDB(tls=True) as running:
        yield running


def test_the_master_user_gets_in_over_verified_tls_with_every_right(server: EmbeddedMariaDB) -> None:
    ((cipher,),) = server.execute("SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS"
                                  " WHERE VARIABLE_NAME = 'Ssl_cipher'")  # fmt: skip
    assert cipher.startswith("TLS_")
    grants = server.execute("SHOW GRANTS")
    assert any("ALL PRIVILEGES ON *.*" in row[0] and "WITH GRANT OPTION" in row[0] for row in grants)


@pytest.mark.parametrize("user", ["root", "", "mariadb.sys", "admin"])
def test_nobody_gets_in_without_a_password(server: EmbeddedMariaDB, user: str) -> None:
    with pytest.raises(pymysql.err.OperationalError) as caught:
        server.connect(user, "")
    assert caught.value.args[0] in {1045, 1698, 4151}
    with pytest.raises(pymysql.err.OperationalError):
        pymysql.connect(unix_socket=str(server.socket_path), user=user, password="")


def test_it_listens_on_this_machine_only_and_not_as_root(server: EmbeddedMariaDB) -> None:
    assert server.execute("SELECT @@bind_address") == [("127.0.0.1",)]
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def test_without_tls_it_offers_none() -> None:
    with EmbeddedMariaDB() as plain:
        assert plain.ssl_ca_path is None
        assert plain.execute("SELECT @@have_ssl")[0][0] != "YES"


def test_a_committed_row_survives_a_kill_and_the_port_stays(passable_dir: Path) -> None:
    with EmbeddedMariaDB(passable_dir / "data") as server:
        port = server.port
        server.execute(
            "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT)", "INSERT INTO shop.orders VALUES (7)"
        )
        server.kill()
        assert not server.running
        server.start()
        assert (server.port, server.execute("SELECT id FROM shop.orders")) == (port, [(7,)])
        server.restart()
        assert server.execute("SELECT id FROM shop.orders") == [(7,)]
        password = server.password
    with pytest.raises(ConfigurationError, match="password is needed"):
        EmbeddedMariaDB(passable_dir / "data").start()
    with EmbeddedMariaDB(passable_dir / "data", password=password) as again:
        assert again.execute("SELECT id FROM shop.orders") == [(7,)]


def test_an_unknown_setting_is_a_configuration_error_in_the_servers_words(passable_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match="no-such-setting"):
        EmbeddedMariaDB(passable_dir / "data", settings={"no-such-setting": "1"}).start()


def test_it_ends_with_its_owner(passable_dir: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from turnlock.local_servers import EmbeddedMariaDB\n"
        "server = EmbeddedMariaDB(Path(sys.argv[1])); server.start(); print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(passable_dir / "data")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == -9, ended.stderr
    pid = int(ended.stdout)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 30, f"the end of {pid}")
    assert os.getpid() != pid


def test_it_does_not_start_when_its_first_statements_fail(passable_dir: Path) -> None:
    class LeftOpen(EmbeddedMariaDB):
        _root_goes = ("no statement",)

    server = LeftOpen(passable_dir / "data")
    with pytest.raises(ConfigurationError, match="error in your SQL syntax"):
        server.start()
    assert not server.running


def test_any_printable_password_will_do(passable_dir: Path) -> None:
    password = "it's a \"b\" \\ back'slash"
    with EmbeddedMariaDB(passable_dir / "data", user="o'brien", password=password) as server:
        assert server.execute("SELECT CURRENT_USER()") == [("o'brien@%",)]
    with pytest.raises(ValueError, match="unprintable"):
        quoted("line\nbreak")
