"""The master's rights in a database that its users shape: none of their text or code is run, nobody's role changes hands."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest
from psycopg import sql

from tests.rotators.pair import ENGINE, as_user, identifier, literal, login_of, renew, run
from turnlock.local_servers import EmbeddedPostgres
from turnlock.rotators import Credential, DatabaseFailed
from turnlock.rotators.engines.postgresql import grants as postgresql_grants
from turnlock.rotators.engines.postgresql.attributes import elements

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("environment")]


@pytest.fixture
def boss(server: EmbeddedPostgres, master: Credential) -> Credential:
    """The superuser, in the database of the master's; with the same password for all."""
    return Credential(
        host="127.0.0.1",
        port=server.port,
        username="postgres",
        password=server.password,
        dbname=master.dbname,
        tls=True,
    )


def is_superuser(boss: Credential, role: Credential) -> bool:
    return run(boss, f"SELECT rolsuper FROM pg_roles WHERE rolname = {literal(role.username)}") == [(True,)]


def test_the_text_of_a_setting_stays_a_value(boss: Credential, app: Credential) -> None:
    with as_user(app) as session:
        session.execute("SELECT set_config('search_path', 'x;CREATE/**/TABLE/**/public.pasted();--', false)")
        own = sql.SQL("ALTER ROLE {} SET search_path FROM CURRENT").format(sql.Identifier(app.username))
        session.execute(own)
    clone = renew(boss, app, f"{app.username}_clone")
    assert run(boss, "SELECT to_regclass('public.pasted') IS NULL") == [(True,)]
    assert run(clone, "SHOW search_path") == [('"x;create/**/table/**/public.pasted();--"',)]


@pytest.mark.parametrize(
    ("kept", "read"),
    [
        ('"$user", public', ["$user", "public"]),
        ('Other, "O""th,er" ,b', ["other", 'O"th,er', "b"]),
        ("", [""]),
        ('""', [""]),
        ("é" * 40, ["é" * 31]),
        ("x;ALTER/**/ROLE", ["x;alter/**/role"]),
        ('"unclosed', None),
        ('"a"b', None),
        ("a b", None),
        ("a,,b", None),
        ("a,", None),
    ],
)
def test_a_path_is_read_as_the_server_reads_it(
    kept: str, read: list[str] | None, admin: psycopg.Connection
) -> None:
    assert elements("search_path", kept) == (read and tuple(read))
    if read is None:
        with pytest.raises(psycopg.Error):
            admin.execute("SELECT set_config('search_path', %s, true)", (kept,))


def test_names_of_files_keep_their_case() -> None:
    assert elements("session_preload_libraries", 'auto_Explain, "b c"') == ("auto_Explain", "b c")


def test_functions_and_operators_of_the_users_are_not_called(boss: Credential, app: Credential) -> None:
    body = (
        f"BEGIN IF current_user <> {literal(app.username)} THEN"
        f" EXECUTE {literal(f'ALTER ROLE {identifier(app.username)} SUPERUSER')}; END IF; RETURN NULL; END"
    )
    run(boss, f"GRANT CREATE ON DATABASE {identifier(boss.dbname)} TO {identifier(app.username)}", "SELECT 1")
    with as_user(app) as session:
        for signature in (
            "pg_has_role(text, text, text)", "quote_ident(name)", "set_config(text, text, boolean)", "current_setting(text)",
            "aclexplode(aclitem[])",
        ):  # fmt: skip
            make = f"CREATE FUNCTION public.{signature} RETURNS text LANGUAGE plpgsql AS {literal(body)}"
            session.execute(make.encode())
        make = f"CREATE FUNCTION public.same(name, text) RETURNS boolean LANGUAGE plpgsql AS {literal(body)}"
        session.execute(make.encode())
        session.execute("CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.same)")
    place = f"ALTER DATABASE {identifier(boss.dbname)} SET"
    run(
        boss,
        f"{place} search_path TO public, pg_catalog",
        f"{place} datestyle TO 'SQL, DMY'",
        f"{place} role TO pg_monitor",
    )
    clone = renew(boss, app, f"{app.username}_clone")
    with closing(ENGINE.connect(clone, 5)) as session:
        ENGINE.check(session)
    assert not is_superuser(boss, app)
    assert not is_superuser(boss, clone)


def event_trigger(boss: Credential, owner: str) -> None:
    run(
        boss,
        "CREATE FUNCTION public.on_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        f"ALTER FUNCTION public.on_event() OWNER TO {identifier(owner)}",
        "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION public.on_event()",
    )


def test_an_event_trigger_with_code_of_others_is_not_fired(boss: Credential, app: Credential) -> None:
    event_trigger(boss, app.username)
    with pytest.raises(DatabaseFailed, match="event trigger t would run a function of"):
        renew(boss, app, f"{app.username}_clone")
    with closing(ENGINE.connect(app, 5)) as session:
        assert ENGINE.strangers(session) == {"event trigger t": app.username}


def test_an_event_trigger_of_the_administrators_is_fired(boss: Credential, app: Credential) -> None:
    event_trigger(boss, "postgres")
    renew(boss, app, f"{app.username}_clone")


def test_who_administers_the_user_does_not_say_whose_the_twin_is(
    boss: Credential, master: Credential, app: Credential
) -> None:
    """A role's administrator makes anyone a member of it: that does not make the other role's password its own."""
    name = f"{app.username}_clone"
    with as_user(boss) as root:
        for statement in (
            f"CREATE ROLE {identifier(name)} LOGIN PASSWORD 'theirs'",
            f"CREATE ROLE {identifier(app.username + ' admin')} LOGIN PASSWORD 'old password'",
            f"GRANT {identifier(app.username)} TO {identifier(app.username + ' admin')} WITH ADMIN OPTION",
        ):
            root.execute(statement.encode())
    run(
        login_of(master, f"{app.username} admin"),
        f"GRANT {identifier(app.username)} TO {identifier(name)}",
        "SELECT 1",
    )
    with pytest.raises(DatabaseFailed, match="somebody else's"):
        renew(boss, app, name)
    ENGINE.connect(login_of(master, name, "theirs"), 5).close()


@pytest.mark.parametrize("owner", ["pg_monitor", "postgres"])
def test_a_role_of_the_system_is_nobodys_owner_role(boss: Credential, app: Credential, owner: str) -> None:
    run(boss, f"GRANT {owner} TO {identifier(app.username)}", "SELECT 1")
    with pytest.raises(DatabaseFailed, match="can be neither"):
        renew(boss, app, f"{app.username}_clone", owner=owner)


def test_a_superuser_is_not_the_twin_of_an_ordinary_user(boss: Credential, app: Credential) -> None:
    name = f"{app.username}_clone"
    run(boss, f"CREATE ROLE {identifier(name)} SUPERUSER IN ROLE {identifier(app.username)}", "SELECT 1")
    with pytest.raises(DatabaseFailed, match="A superuser can be neither"):
        renew(boss, app, name)


def test_an_object_that_takes_anothers_name_meanwhile_gets_no_grant(
    boss: Credential, app: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of two schemas exchanges their names between the look at the grants and the grant."""
    clone = renew(boss, app, f"{app.username}_clone")
    run(
        boss,
        "CREATE SCHEMA decoy; CREATE SCHEMA treasure; CREATE TABLE decoy.t (id int); CREATE TABLE treasure.t (id int)",
        f"ALTER SCHEMA decoy OWNER TO {identifier(app.username)}",
        f"ALTER SCHEMA treasure OWNER TO {identifier(app.username)}",
        f"GRANT CREATE ON DATABASE {identifier(boss.dbname)} TO {identifier(app.username)}",
        f"GRANT SELECT ON decoy.t TO {identifier(clone.username)}",
    )
    composed = postgresql_grants._Grant.statement

    def late(self: postgresql_grants._Grant, group: str) -> sql.Composed:
        if self.names == ["decoy", "t"]:
            run(app, "ALTER SCHEMA decoy RENAME TO gone", "ALTER SCHEMA treasure RENAME TO decoy", "SELECT 1")
        return composed(self, group)

    monkeypatch.setattr(postgresql_grants._Grant, "statement", late)
    with pytest.raises(DatabaseFailed, match="was renamed"):
        renew(boss, clone, app.username, first=app.username)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(app, "SELECT * FROM decoy.t")
