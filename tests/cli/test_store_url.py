"""The store's URL holds a password: a file, a variable or libpq's password file keep it from `ps`, and no log has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.cli.test_root_keys import turnlock
from tests.cli.test_serve import refusal
from tests.processes import ServerProcess
from turnlock.cli.store_url import VARIABLE, read_url, shows_password
from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedPostgres

PASSWORD = "The-Store-s_Own.Word"
SERVE = "import os; os.environ.update({variables!r}); from turnlock.cli import main; main()"


@pytest.fixture
def store(postgresql_server: EmbeddedPostgres) -> Iterator[str]:
    """A database for one store; its URL without the password."""
    name = f"store_{os.getpid()}_{os.urandom(4).hex()}"
    postgresql_server.create_login(name, PASSWORD, database=name)
    yield postgresql_server.dsn(name, PASSWORD, name).replace(f":{PASSWORD}@", "@")
    with psycopg.connect(postgresql_server.admin_url(driver=None), autocommit=True) as connection:
        for words in ("DROP DATABASE {} WITH (FORCE)", "DROP ROLE {}"):
            connection.execute(sql.SQL(words).format(sql.Identifier(name)))


def with_password(store: str) -> str:
    return store.replace("@", f":{PASSWORD}@", 1)


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def by_file(store: str, place: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    return {}, ("--database-url-file", str(private(place / "url", with_password(store) + "\n")))


def by_variable(store: str, place: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    return {VARIABLE: with_password(store)}, ()


def by_pgpassfile(store: str, place: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    file = private(place / "pgpass", f"*:*:*:*:{PASSWORD}\n")
    return {"PGPASSFILE": str(file)}, ("--database", store)


def by_passfile(store: str, place: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    file = private(place / "pgpass", f"*:*:*:*:{PASSWORD}\n")
    mark = "&" if "?" in store else "?"
    return {}, ("--database", f"{store}{mark}passfile={file}")


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("way", [by_file, by_variable, by_pgpassfile, by_passfile])
def test_no_process_of_the_server_shows_the_stores_password(
    way: Callable[[str, Path], tuple[dict[str, str], tuple[str, ...]]], store: str, tmp_path: Path
) -> None:
    variables, options = way(store, tmp_path)
    entry = ("-c", SERVE.format(variables=variables), "serve")
    if VARIABLE in variables:
        # Given as an operator gives it: in the environment from the start, so that it is not in these words either.
        file = private(tmp_path / "variable", variables[VARIABLE])
        code = f"import os; os.environ[{VARIABLE!r}] = open({str(file)!r}).read(); from turnlock.cli import main; main()"
        entry = ("-c", code, "serve")
    with ServerProcess(tmp_path / "data", entry=entry, options=("--workers", "2", *options)) as server:
        server.client().create_secret(Name="kept", SecretString="v")
        lines = [Path(f"/proc/{one.pid}/cmdline").read_bytes() for one in server.family()]
        assert len(lines) >= 3
        assert not any(PASSWORD.encode() in line for line in lines)
        assert PASSWORD not in server.log_path.read_text()
        assert "password_on_command_line" not in server.log_path.read_text()
    assert not (tmp_path / "data" / "turnlock.db").exists()


@pytest.mark.slow
@pytest.mark.engine
def test_a_password_on_the_command_line_works_and_is_warned_of(store: str, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", database=with_password(store)) as server:
        server.client().create_secret(Name="kept", SecretString="v")
        words = server.log_path.read_text()
        assert words.count("password_on_command_line") == 1
        assert PASSWORD not in words


@pytest.mark.slow
@pytest.mark.engine
def test_other_commands_take_it_the_same_ways(store: str, tmp_path: Path) -> None:
    _, options = by_file(store, tmp_path)
    with ServerProcess(tmp_path / "data", options=options):
        for more, given in ((options, {}), ((), {VARIABLE: with_password(store)})):
            command = ("accounts", "create", "--data-dir", str(tmp_path / "data"), *more)
            account = "111122223333" if given else "444455556666"
            process = turnlock(*command, "--account-id", account, **given)
            out, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (0, ""), err
            assert account in out


@pytest.mark.slow
def test_a_file_that_others_may_read_and_two_sources_are_refused(tmp_path: Path) -> None:
    file = private(tmp_path / "url", f"postgresql://u:{PASSWORD}@h/d")
    file.chmod(0o640)
    serve = ("serve", "--data-dir", str(tmp_path / "data"))
    words = refusal(*serve, "--database-url-file", str(file))
    assert "chmod 600" in words
    assert PASSWORD not in words
    file.chmod(0o600)
    words = refusal(*serve, "--database-url-file", str(file), "--database", "postgresql://h/d")
    assert "give one of them" in words
    words = refusal(*serve, "--database-url-file", str(tmp_path / "absent"))
    assert "No such file" in words
    file.write_text(f"not a URL: {PASSWORD}")
    assert PASSWORD not in refusal(*serve, "--database-url-file", str(file))


@pytest.mark.parametrize("text", ["", "\n\n", "postgresql://a\npostgresql://b", "x" * 9000, "\xff"])
def test_a_file_without_exactly_one_line_is_refused(tmp_path: Path, text: str) -> None:
    file = private(tmp_path / "url", "")
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="one line"):
        read_url(file)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/d", True),
        ("postgresql://u@h/d?password=p", True),
        ("postgresql://u@h/d", False),
        ("postgresql://u@h/d?passfile=/p", False),
        ("postgresql://u:p@[h/d", True),
    ],
)
def test_a_password_in_a_url_is_found(url: str, shown: bool) -> None:
    assert shows_password(url) is shown
