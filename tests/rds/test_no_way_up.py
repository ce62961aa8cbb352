"""A master user cannot raise itself: what it may do in SQL, tried on the real servers that are started for DB instances.

Each list is tried twice: by the master user, whom every statement must be refused, and by a superuser (PostgreSQL) or a user
with all rights (MariaDB), of whom the server takes enough of them that a refusal says something about the user.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from pymysql.constants import ER

from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedMariaDB, cluster
from turnlock.rds.local import postgresql as local_postgresql
from turnlock.rds.local.mariadb import LocalMariaDB, guarded_patterns
from turnlock.rds.local.postgresql import LocalPostgres
from turnlock.rds.local.server import Master
from turnlock.rds.model import INTERNAL_USER

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PASSWORD = "first-Password-1"
MASTER = Master(username="shop", password=PASSWORD, dbname="postgres")

POSTGRESQL_TRIES = (
    "GRANT pg_execute_server_program TO shop",
    "GRANT pg_read_server_files TO shop WITH ADMIN OPTION",
    "CREATE ROLE helper IN ROLE pg_write_server_files",
    "ALTER GROUP pg_execute_server_program ADD USER shop",
    "CREATE ROLE pg_execute_server_program",
    f"GRANT {INTERNAL_USER} TO shop",
    f"SET ROLE {INTERNAL_USER}",
    f"SET SESSION AUTHORIZATION {INTERNAL_USER}",
    f"ALTER ROLE {INTERNAL_USER} PASSWORD 'known'",
    f"ALTER ROLE {INTERNAL_USER} SET search_path = public",
    f"ALTER ROLE {INTERNAL_USER} RENAME TO nobody",
    f"ALTER ROLE {INTERNAL_USER} IN DATABASE postgres SET role = shop",
    f"ALTER DATABASE {INTERNAL_USER} SET search_path = public",
    f"ALTER DATABASE {INTERNAL_USER} OWNER TO shop",
    f"CREATE DATABASE theirs TEMPLATE {INTERNAL_USER}",
    f"COMMENT ON DATABASE {INTERNAL_USER} IS 'ours'",
    "ALTER DATABASE template1 SET search_path = public",
    "ALTER ROLE ALL SET search_path = public",
    "ALTER ROLE shop SUPERUSER",
    "ALTER ROLE shop REPLICATION",
    "ALTER ROLE shop BYPASSRLS",
    "UPDATE pg_catalog.pg_authid SET rolsuper = true WHERE rolname = 'shop'",
    "INSERT INTO pg_catalog.pg_auth_members SELECT 10, oid, 10, true FROM pg_authid WHERE rolname = 'shop'",
    "UPDATE pg_catalog.pg_database SET datdba = 0",
    "UPDATE pg_catalog.pg_proc SET prosecdef = true",
    "ALTER SYSTEM SET archive_command = 'id'",
    "SET session_preload_libraries = 'dblink'",
    "ALTER DATABASE postgres SET session_preload_libraries = 'dblink'",
    "LOAD '/usr/lib/x86_64-linux-gnu/libc.so.6'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY (SELECT 1) TO '/tmp/turnlock-none'",
    "CREATE TABLE c (l text); COPY c FROM '/etc/passwd'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_read_binary_file('postgresql.conf')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_stat_file('PG_VERSION')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(lo_creat(-1), '/tmp/turnlock-none')",
    "CREATE EXTENSION file_fdw",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION postgres_fdw",
    "CREATE EXTENSION adminpack",
    "CREATE EXTENSION plpython3u",
    "CREATE EXTENSION plperlu",
    "CREATE FUNCTION run(cstring) RETURNS int LANGUAGE c AS '/usr/lib/x86_64-linux-gnu/libc.so.6', 'system'",
    "CREATE FUNCTION run() RETURNS int LANGUAGE internal AS 'pg_read_file'",
    "CREATE EVENT TRIGGER on_all ON ddl_command_start EXECUTE FUNCTION pg_notify()",
    "CREATE TABLESPACE away LOCATION '/tmp'",
    "CREATE SUBSCRIPTION away CONNECTION 'host=127.0.0.1 dbname=postgres' PUBLICATION all_of_it",
    "SELECT pg_create_physical_replication_slot('away')",
    "SELECT pg_reload_conf(), 1/(SELECT count(*) FROM pg_roles WHERE rolname = current_user AND rolsuper)",
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {INTERNAL_USER} GRANT ALL ON TABLES TO shop",
    f"REASSIGN OWNED BY {INTERNAL_USER} TO shop",
    f"DROP ROLE {INTERNAL_USER}",
    f"DROP DATABASE {INTERNAL_USER}",
)

MARIADB_TRIES = (
    "SELECT LENGTH(LOAD_FILE('/etc/passwd')) / (LOAD_FILE('/etc/passwd') IS NOT NULL)",
    "INSERT INTO mysql.global_priv SELECT '%', 'big', Priv FROM mysql.global_priv LIMIT 1",
    "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.access', 549755813887)",
    "DELETE FROM mysql.global_priv",
    "REPLACE INTO mysql.db (Host, Db, User, Select_priv) VALUES ('%', 'mysql', 'shop', 'Y')",
    "INSERT INTO mysql.proxies_priv (Host, User) VALUES ('%', 'shop')",
    "INSERT INTO mysql.func VALUES ('run', 0, 'x.so', 'function')",
    "INSERT INTO mysql.plugin VALUES ('x', 'x.so')",
    "ALTER TABLE mysql.plugin ADD COLUMN more INT",
    "CREATE TABLE mysql.mine (a INT)",
    "DROP TABLE mysql.func",
    "RENAME TABLE shops.t TO mysql.t",
    "CREATE TRIGGER mysql.t BEFORE INSERT ON mysql.func FOR EACH ROW SET @a = 1",
    "CREATE PROCEDURE mysql.p() SELECT 1",
    "CREATE EVENT mysql.e ON SCHEDULE EVERY 1 SECOND DO SELECT 1",
    "CREATE VIEW mysql.v AS SELECT 1",
    "SELECT * FROM `#mysql50#mysql`.global_priv",
    "DELETE FROM mysql.`#mysql50#global_priv`",
    "GRANT FILE ON *.* TO shop@'%'",
    "GRANT SUPER ON *.* TO shop@'%'",
    "GRANT SET USER ON *.* TO shop@'%'",
    "GRANT SELECT ON *.* TO shop@'%'",
    "GRANT ALL PRIVILEGES ON *.* TO shop@'%'",
    "GRANT INSERT ON mysql.* TO shop@'%'",
    "GRANT INSERT ON `%`.* TO shop@'%'",
    "GRANT INSERT ON `m%`.* TO shop@'%'",
    "GRANT INSERT ON `_____`.* TO shop@'%'",
    "GRANT INSERT ON `_%_`.* TO shop@'%'",
    "GRANT INSERT ON `mysq_`.* TO shop@'%'",
    "GRANT INSERT ON `_ysql`.* TO shop@'%'",
    "GRANT INSERT ON `_____%`.* TO shop@'%'",
    "GRANT INSERT ON mysql.db TO shop@'%'",
    "GRANT PROXY ON ''@'' TO shop@'%'",
    "CREATE USER root@'127.0.0.1', root@localhost; GRANT PROXY ON admin TO root@localhost",
    "SELECT 1 INTO OUTFILE '/tmp/turnlock-none'",
    "SELECT 1 INTO DUMPFILE '/tmp/turnlock-none'",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE shops.t",
    "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE shops.t",
    "CREATE FUNCTION run RETURNS STRING SONAME 'x.so'",
    "INSTALL SONAME 'ha_federatedx'",
    "INSTALL PLUGIN x SONAME 'server_audit.so'",
    "CREATE SERVER away FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1')",
    f"CREATE DEFINER='{INTERNAL_USER}'@'%' VIEW shops.v AS SELECT 1",
    f"CREATE DEFINER='{INTERNAL_USER}'@'%' PROCEDURE shops.p() SELECT 1",
    f"CREATE DEFINER='{INTERNAL_USER}'@'%' EVENT shops.e ON SCHEDULE EVERY 1 SECOND DO SELECT 1",
    "SET GLOBAL general_log_file = '/tmp/turnlock-none'",
    "SET GLOBAL init_connect = 'SELECT 1'",
    "SET GLOBAL local_infile = ON",
    "SET GLOBAL secure_auth = OFF",
    "CHANGE MASTER TO MASTER_HOST = '127.0.0.1'",
    "BINLOG 'AAAA'",
    "SHUTDOWN",
)


@pytest.fixture(scope="module", params=["15", "18"])
def postgresql(request: pytest.FixtureRequest) -> Iterator[LocalPostgres]:
    programs = cluster.system_programs() if request.param == "15" else cluster.bundled_programs(18)
    server = LocalPostgres(superuser=INTERNAL_USER, tls=request.param == "15", fsync=False, programs=programs)
    with server:
        server.set_master(MASTER)
        yield server


@pytest.fixture(scope="module")
def mariadb() -> Iterator[LocalMariaDB]:
    with LocalMariaDB(user=INTERNAL_USER, fsync=False, tls=True) as server:
        server.set_master(Master(username="shop", password=PASSWORD, dbname="shops"))
        run(server, "shop", "CREATE TABLE shops.t (a TEXT)")
        yield server


def run(server: EmbeddedMariaDB, user: str, statement: str) -> list[tuple[Any, ...]]:
    connection = server.connect(user, PASSWORD)
    try:
        with connection.cursor() as cursor:
            for part in statement.split("; "):
                cursor.execute(part)
            return list(cursor.fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize("statement", POSTGRESQL_TRIES)
def test_the_master_of_a_postgresql_is_refused(postgresql: LocalPostgres, statement: str) -> None:
    target = postgresql.conninfo("shop", PASSWORD)
    with psycopg.connect(target) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    assert not isinstance(caught.value, psycopg.errors.SyntaxError)


def test_a_superuser_of_postgresql_is_not_refused(postgresql: LocalPostgres) -> None:
    """The tries fail because of who makes them: most of the same statements are done for a superuser."""
    taken = 0
    for statement in POSTGRESQL_TRIES:
        with psycopg.connect(postgresql.admin_url(driver=None)) as connection:
            try:
                connection.execute(statement.encode())
            except psycopg.Error:
                pass
            else:
                taken += 1
            connection.rollback()
    assert taken >= 25


def test_the_master_has_what_rds_gives(postgresql: LocalPostgres) -> None:
    with psycopg.connect(postgresql.conninfo("shop", PASSWORD), autocommit=True) as connection:
        for statement in (
            "CREATE DATABASE orders",
            "CREATE ROLE app LOGIN PASSWORD 'x'",
            "GRANT pg_monitor TO app",
            "ALTER ROLE app PASSWORD 'y'",
            "DROP ROLE app",
            "DROP DATABASE orders",
        ):
            connection.execute(statement.encode())


def test_what_the_owner_of_a_database_sets_does_not_reach_the_superuser(postgresql: LocalPostgres) -> None:
    """The owner of `postgres` shapes the sessions of everybody in it: with a view that stands for the catalogue's, say."""
    with psycopg.connect(postgresql.conninfo("shop", PASSWORD), autocommit=True) as connection:
        for statement in (
            "CREATE SCHEMA trap",
            """CREATE FUNCTION trap.raise() RETURNS name LANGUAGE plpgsql AS
            $$ BEGIN ALTER ROLE shop SUPERUSER; RETURN 'shop'; END $$""",
            "CREATE VIEW trap.pg_roles AS SELECT trap.raise() AS rolname",
            "CREATE VIEW trap.pg_database AS SELECT trap.raise() AS datname",
            "GRANT USAGE ON SCHEMA trap TO PUBLIC",
            "GRANT SELECT ON ALL TABLES IN SCHEMA trap TO PUBLIC",
            "ALTER DATABASE postgres SET search_path = trap, pg_catalog",
            "ALTER DATABASE postgres SET default_transaction_read_only = on",
        ):
            connection.execute(statement.encode())
    postgresql.set_master(MASTER)
    with psycopg.connect(postgresql.conninfo("shop", PASSWORD), autocommit=True) as connection:
        may = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = 'shop'"
        assert connection.execute(may).fetchone() == (False,)
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("ALTER DATABASE postgres RESET ALL")
        connection.execute("DROP SCHEMA trap CASCADE")


def test_a_database_that_its_owner_closes_does_not_keep_the_superuser_out(postgresql: LocalPostgres) -> None:
    with psycopg.connect(postgresql.conninfo("shop", PASSWORD, "template1"), autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgresql.admin_url(driver=None))
    postgresql.set_master(MASTER)
    with postgresql._as_superuser(INTERNAL_USER) as connection:
        connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")


def test_a_server_that_goes_silent_does_not_keep_the_superuser_for_ever(
    postgresql: LocalPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_postgresql, "_SESSION_SECONDS", 1.0)
    with contextlib.suppress(psycopg.OperationalError), postgresql._as_superuser(INTERNAL_USER) as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        finally:
            os.kill(backend, signal.SIGCONT)


def test_what_a_master_gave_itself_before_is_taken_away_at_the_next_start() -> None:
    """A directory of before: the predefined roles were there, and the master user had them."""
    programs = cluster.system_programs()
    with LocalPostgres(superuser=INTERNAL_USER, tls=True, fsync=False, programs=programs) as server:
        server.set_master(MASTER)
        with psycopg.connect(server.admin_url(driver=None), autocommit=True) as connection:
            for statement in (
                """INSERT INTO pg_catalog.pg_authid SELECT 4571, 'pg_execute_server_program', rolsuper, rolinherit,
                rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, NULL, NULL
                FROM pg_catalog.pg_authid WHERE rolname = 'pg_monitor'""",
                "GRANT pg_execute_server_program TO shop",
                "CREATE ROLE hidden SUPERUSER LOGIN",
                f"DROP DATABASE {INTERNAL_USER}",
            ):
                connection.execute(statement.encode())
        with psycopg.connect(server.conninfo("shop", PASSWORD)) as connection:
            connection.execute("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'")
        server.restart()
        with psycopg.connect(server.conninfo("shop", PASSWORD)) as connection:
            assert connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper").fetchall() == [
                (INTERNAL_USER,)
            ]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'")


def test_a_users_database_with_the_superusers_name_is_not_entered() -> None:
    with LocalPostgres(superuser=INTERNAL_USER, fsync=False, programs=cluster.bundled_programs()) as server:
        server.set_master(MASTER)
        with psycopg.connect(server.admin_url(driver=None), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {INTERNAL_USER} OWNER TO shop".encode())
        server._shut_down()
        with pytest.raises(ConfigurationError, match="belongs to a user"):
            server.start()
        assert not server.running


@pytest.mark.parametrize("statement", MARIADB_TRIES)
def test_the_master_of_a_mariadb_is_refused(mariadb: LocalMariaDB, statement: str) -> None:
    if "LOAD_FILE" in statement:
        assert run(mariadb, "shop", statement) == [(None,)]
        return
    with pytest.raises((pymysql.Error, RuntimeError)) as caught:
        run(mariadb, "shop", statement)
    assert caught.value.args[0] != ER.PARSE_ERROR, statement


def test_a_user_with_all_rights_of_a_mariadb_is_not_refused(passable_dir: Path) -> None:
    with EmbeddedMariaDB(passable_dir / "data", user="all", password=PASSWORD, fsync=False) as server:
        run(server, "all", "CREATE USER shop@'%'; CREATE DATABASE shops; CREATE TABLE shops.t (a TEXT)")
        taken = 0
        for statement in MARIADB_TRIES:
            if "DROP TABLE" in statement or "DELETE" in statement or statement == "SHUTDOWN":
                continue
            try:
                taken += run(server, "all", statement) != [(None,)]
            except (pymysql.Error, RuntimeError):
                continue
        assert taken >= 25


def test_no_account_has_more_rights_than_the_master(mariadb: LocalMariaDB) -> None:
    """Whoever has CREATE USER can take every account over, so that nothing is to be had by it."""
    run(mariadb, "shop", f"ALTER USER {INTERNAL_USER}@'%' IDENTIFIED BY '{PASSWORD}'")
    for statement in MARIADB_TRIES[1:4]:
        with pytest.raises(pymysql.Error):
            run(mariadb, INTERNAL_USER, statement)
    run(
        mariadb,
        "shop",
        "RENAME USER 'mariadb.sys'@localhost TO sys@'%'; "
        f"ALTER USER sys@'%' IDENTIFIED BY '{PASSWORD}' ACCOUNT UNLOCK",
    )
    with pytest.raises(pymysql.Error, match="UPDATE command denied"):
        run(mariadb, "sys", "UPDATE mysql.global_priv SET Priv = '{}'")
    run(mariadb, "shop", "RENAME USER sys@'%' TO 'mariadb.sys'@localhost")


@pytest.mark.parametrize(
    "change", ["DROP USER rdsadmin@'%'", "ALTER USER rdsadmin@'%' IDENTIFIED BY 'x' ACCOUNT LOCK"]
)
def test_the_master_cannot_keep_turnlock_out_for_longer_than_a_restart(
    mariadb: LocalMariaDB, change: str
) -> None:
    run(mariadb, "shop", change)
    mariadb.set_master(Master(username="shop", password=PASSWORD, dbname="shops"))
    assert run(mariadb, "shop", "SELECT 1") == [(1,)]


def test_the_master_of_a_mariadb_has_what_rds_gives(mariadb: LocalMariaDB) -> None:
    for name in (
        "a",
        "ab",
        "mysq",
        "mysqm",
        "MYSQ1",
        "my_ql",
        "order",
        "Order",
        "long name",
        "mysql2",
        "mysqlmysql",
    ):
        run(
            mariadb,
            "shop",
            f"CREATE DATABASE `{name}`; CREATE TABLE `{name}`.t (a INT); DROP DATABASE `{name}`",
        )
    run(
        mariadb,
        "shop",
        f"CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL PRIVILEGES ON shops.* TO app@'%'; "
        "SHOW GRANTS FOR app@'%'; SELECT plugin FROM mysql.user; DROP USER app@'%'",
    )


def test_a_table_of_a_mariadb_stays_in_its_directory(mariadb: LocalMariaDB) -> None:
    words = (
        "CREATE TABLE shops.away (a INT) ENGINE=MyISAM DATA DIRECTORY='/tmp'; SHOW CREATE TABLE shops.away"
    )
    ((_, shown),) = run(mariadb, "shop", words)
    assert "/tmp" not in shown


def test_patterns_fit_every_name_but_mysql() -> None:
    patterns = list(guarded_patterns())
    assert len(patterns) == len(set(patterns)) == 325
    assert all(len(pattern.replace("\\", "")) == 5 for pattern in patterns[5:])


def test_a_master_user_of_a_mariadb_with_more_rights_has_its_own_after_a_start(passable_dir: Path) -> None:
    place = passable_dir / "data"
    with EmbeddedMariaDB(place, user=INTERNAL_USER, password=PASSWORD, fsync=False) as old:
        old.execute(
            f"CREATE USER shop@'%' IDENTIFIED BY '{PASSWORD}'",
            "GRANT ALL PRIVILEGES ON *.* TO shop@'%' WITH GRANT OPTION",
            "CREATE DATABASE shops",
            "CREATE TABLE shops.t (a TEXT)",
        )
        run(old, "shop", "UPDATE mysql.global_priv SET Priv = Priv")
    with LocalMariaDB(place, user=INTERNAL_USER, password=PASSWORD, fsync=False) as server:
        server.restate_rights("shop")
        run(server, "shop", "INSERT INTO shops.t VALUES ('a')")
        for user in ("shop", INTERNAL_USER):
            with pytest.raises(pymysql.Error):
                run(server, user, "INSERT INTO mysql.func VALUES ('run', 0, 'x.so', 'function')")
        for statement in ("GRANT SUPER ON *.* TO shop@'%'", "UPDATE mysql.global_priv SET Priv = Priv"):
            with pytest.raises(pymysql.Error):
                run(server, "shop", statement)
