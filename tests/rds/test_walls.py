"""Code inside a database server, as a master user who got out of SQL would run it: what it tries fails confined, and works unconfined.

The server's own superuser runs shell commands: PostgreSQL's by COPY … FROM PROGRAM, MariaDB's by a function in C. The same tests are
run again by an ordinary user, in a process that root's tests start.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pymysql
import pytest
from psycopg import sql

from tests.processes import wait_until
from tests.proofs import record
from tests.rds.tries import OTHER_UID, ROOT, TRIES, Scene, Try, owned_by, scene
from turnlock.confinement import assess
from turnlock.local_servers import EmbeddedMariaDB, EmbeddedPostgres, cluster
from turnlock.local_servers.confined import FIRST_UID, LAST_UID

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(assess.missing() is not None, reason="this kernel cannot confine a database"),
]

USER = "root" if ROOT else "ordinary user"
ENGINES = ("postgresql-15", "postgresql-18", "mariadb")
PASSWORD = "all-Rights-1"
RUNS_SHELL = """
#include <stdlib.h>
struct arguments { unsigned int count; int *types; char **values; };
char run_init(void *state, struct arguments *given, char *message) { return 0; }
long long run(void *state, struct arguments *given, char *is_null, char *error) { return system(given->values[0]); }
"""


@dataclass(frozen=True, kw_only=True)
class Inside:
    """A running server in a scene, and the way to run a shell command in it."""

    scene: Scene
    server: EmbeddedPostgres | EmbeddedMariaDB
    run: Callable[[str], bool]
    """Runs a command in the server and tells whether it ended with 0."""

    def tried(self, one: Try) -> bool:
        """Tell whether a try did harm."""
        names = {**self.scene.names, "own_port": str(self.server.port)}
        done = self.run(one.command.format(**names))
        return Path(one.outside.format(**names)).exists() if one.outside else done


def postgresql(server: EmbeddedPostgres) -> Callable[[str], bool]:
    def run(command: str) -> bool:
        words = sql.Literal(f"( {command} ) > /dev/null 2>&1 < /dev/null; echo $?")
        with psycopg.connect(server.admin_url(driver=None), autocommit=True) as connection:
            connection.execute("CREATE TEMPORARY TABLE ended (status text)")
            connection.execute(sql.SQL("COPY ended FROM PROGRAM {}").format(words))
            return connection.execute("SELECT status FROM ended").fetchall() == [("0",)]

    return run


def mariadb(server: EmbeddedMariaDB, library: Path) -> Callable[[str], bool]:
    server.execute(f"CREATE FUNCTION run RETURNS INTEGER SONAME '{library.name}'")

    def run(command: str) -> bool:
        connection = server.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT run(%s)", (f"( {command} ) > /dev/null 2>&1 < /dev/null",))
            return list(cursor.fetchall()) == [(0,)]

    return run


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "mariadb" and shutil.which("gcc") is None:
        pytest.skip("NOT RUN: a C compiler makes the function that runs commands in MariaDB")
    return name


def inside(stack: ExitStack, engine: str, *, confined: bool) -> Inside:
    base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turnlock-walls-", dir="/tmp")))
    base.chmod(0o755)
    made = stack.enter_context(scene(base))
    server: EmbeddedPostgres | EmbeddedMariaDB
    if engine == "mariadb":
        library = made.own / "data" / "plugins" / "run.so"
        server = EmbeddedMariaDB(
            made.own,
            password=PASSWORD,
            fsync=False,
            confined=confined,
            settings={"plugin-dir": str(library.parent), "innodb-log-file-size": "8M"},
        )
        stack.enter_context(server)
        library.parent.mkdir()
        compile_c = ("gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library))
        subprocess.run(compile_c, input=RUNS_SHELL, text=True, check=True, timeout=60)
        for path in (library, library.parent):
            path.chmod(0o755)
        run = mariadb(server, library)
    else:
        tls = engine == "postgresql-15"
        programs = cluster.system_programs() if tls else cluster.bundled_programs(18)
        server = EmbeddedPostgres(
            made.own, password=PASSWORD, fsync=False, programs=programs, tls=tls, confined=confined
        )
        stack.enter_context(server)
        run = postgresql(server)
    owned_by(made, OTHER_UID if confined else (made.own / "data").stat().st_uid)
    return Inside(scene=made, server=server, run=run)


@pytest.fixture(scope="module")
def confined(engine: str) -> Iterator[Inside]:
    with ExitStack() as stack:
        yield inside(stack, engine, confined=True)


@pytest.fixture(scope="module")
def unconfined(engine: str) -> Iterator[Inside]:
    with ExitStack() as stack:
        yield inside(stack, engine, confined=False)


@pytest.mark.parametrize("one", TRIES, ids=str)
def test_what_a_confined_server_tries_fails(confined: Inside, engine: str, one: Try) -> None:
    assert not confined.tried(one)
    record("walls of databases", f"{engine} {USER} {one}", refused=1)


@pytest.mark.parametrize("one", [one for one in TRIES if one.works_without_walls], ids=str)
def test_the_same_is_done_without_walls(unconfined: Inside, one: Try) -> None:
    assert unconfined.tried(one)


def test_a_confined_server_can_do_its_work(confined: Inside) -> None:
    own = confined.scene.own
    assert confined.run("true")
    assert confined.run(f"touch {own}/data/mine && touch /tmp/mine && touch /dev/shm/mine && ls /usr/bin/env")
    assert (own / "data" / "mine").exists()
    assert not confined.run("false")


def test_its_user_is_its_own_and_no_other_process_has_it(confined: Inside) -> None:
    uid = (confined.scene.own / "data").stat().st_uid
    assert (FIRST_UID <= uid <= LAST_UID) if ROOT else uid == os.geteuid()
    assert confined.run(f'test $(id -u) = {uid} && test "$(id -G)" = "$(id -g)"') or not ROOT
    status = Path(f"/proc/{confined.server.pid}/status").read_text()
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status


def test_what_it_started_ends_with_it_and_it_starts_again(confined: Inside, engine: str) -> None:
    marker = f"turnlock-{os.urandom(6).hex()}"
    assert confined.run(f"setsid sh -c 'while :; do sleep 1; done; : {marker}' & sleep 0.2; true")
    assert lives(marker)
    uid = (confined.scene.own / "data").stat().st_uid
    confined.server.kill()
    assert not lives(marker)
    confined.server.start()
    assert confined.run("true")
    assert confined.run(f"setsid sh -c 'while :; do sleep 1; done; : {marker}' & sleep 0.2; true")
    confined.server.restart()
    wait_until(lambda: not lives(marker), 60, "the end of what the server had started")
    assert confined.run("true")
    assert (confined.scene.own / "data").stat().st_uid == uid
    assert confined.server.log_path.stat().st_size > 0


def lives(marker: str) -> bool:
    """Tell whether a process has this word in its command line."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in (entry / "cmdline").read_text():
                return True
        except OSError:
            continue
    return False


FILE_TRIES = (
    "SELECT LENGTH(LOAD_FILE('{data}/root.key'))",
    "SELECT LENGTH(LOAD_FILE('{data}/databases/ca-bundle.pem'))",
    "SELECT LENGTH(LOAD_FILE('{other}/data/table'))",
    "SELECT LENGTH(LOAD_FILE('{home}/notes'))",
    "LOAD DATA INFILE '{data}/root.key' INTO TABLE test.t",
    "LOAD DATA INFILE '{other}/data/table' INTO TABLE test.t",
    "LOAD DATA INFILE '{home}/notes' INTO TABLE test.t",
    "SELECT 1 INTO OUTFILE '{data}/by-sql'",
    "SELECT 1 INTO OUTFILE '{data}/databases/by-sql'",
    "SELECT 1 INTO DUMPFILE '{home}/by-sql'",
    "SELECT 1 INTO DUMPFILE '{other}/data/by-sql'",
    "SET GLOBAL general_log_file = '{data}/log-by-sql', GLOBAL general_log = ON",
)
_UNREADABLE = ("root.key", "other")
"""The server itself reads no file that is not everyone's, unless a setting names its directory."""


def filed(inside: Inside, words: str) -> bool:
    """Tell whether a statement about files was done."""
    assert isinstance(inside.server, EmbeddedMariaDB)
    inside.server.execute("CREATE DATABASE IF NOT EXISTS test", "CREATE TABLE IF NOT EXISTS test.t (a TEXT)")
    statement = words.format(**inside.scene.names)
    try:
        rows = inside.server.execute(statement)
    except pymysql.Error:
        return False
    made = re.search(r"(?:OUTFILE|DUMPFILE|general_log_file =) '(.*?)'", statement)
    return Path(made[1]).exists() if made else rows != [(None,)]


@pytest.mark.parametrize("words", FILE_TRIES)
def test_a_confined_mariadb_reaches_no_file_of_others(confined: Inside, engine: str, words: str) -> None:
    if engine == "mariadb":
        assert not filed(confined, words)
        record("walls of databases", f"{engine} {USER} {words}", refused=1)


@pytest.mark.parametrize("words", FILE_TRIES)
def test_an_unconfined_mariadb_reaches_them(unconfined: Inside, engine: str, words: str) -> None:
    reads = "LOAD" in words
    if engine == "mariadb" and not ROOT and not (reads and any(name in words for name in _UNREADABLE)):
        assert filed(unconfined, words)


ORDINARY = """
import sys
from pathlib import Path
base, root, *arguments = sys.argv[1:]
sys.path.insert(0, root)
from tests.confinement.ordinary import become_ordinary
become_ordinary(Path(base), Path(root))
import os
os.chdir(root)
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *arguments]))
"""


@pytest.mark.skipif(not ROOT, reason="it is what root does to be an ordinary user")
@pytest.mark.parametrize("engine_name", ENGINES)
def test_an_ordinary_user_meets_the_same(tmp_path: Path, engine_name: str) -> None:
    root = Path(__file__).parents[2]
    arguments = ("-rA", "tests/rds/test_walls.py", "-k", engine_name)
    ended = subprocess.run(
        [sys.executable, "-c", ORDINARY, str(tmp_path), str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "TURNLOCK_PROOF": ""},
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-2000:]
    passed = re.findall(
        r"^PASSED .*::test_what_a_confined_server_tries_fails\[(\S+)\]$", ended.stdout, re.MULTILINE
    )
    assert len(passed) == len(TRIES), ended.stdout[-3000:]
    assert ", 1 skipped," in ended.stdout.splitlines()[-1], "only this test"
    for case in passed:
        record(
            "walls of databases",
            f"{engine_name} ordinary user {case.removeprefix(engine_name)[1:]}",
            refused=1,
        )


def test_the_table_of_the_documents_is_of_these_tries() -> None:
    document = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text()
    table = document.partition("<!-- database tries -->")[2].partition("<!-- database tries end -->")[0]
    named = re.findall(r"^\| ([^|]+?) \| held \| held \| not made \| held \|$", table, re.MULTILINE)
    assert named == [one.name for one in TRIES]
