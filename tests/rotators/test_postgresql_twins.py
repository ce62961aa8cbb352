"""Two PostgreSQL roles that may do the same: what is handed over, and whose roles are never touched."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from tests.rotators.pair import ENGINE, identifier, literal, login_of, renew, run
from turnlock.local_servers import EmbeddedPostgres
from turnlock.rotators import Credential, DatabaseFailed, Refused

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("environment")]


def test_what_the_first_makes_works_for_its_twin_and_the_other_way_round(
    master: Credential, app: Credential
) -> None:
    run(app, "CREATE TABLE by_first (id int)", "INSERT INTO by_first VALUES (1)")
    clone = renew(master, app, f"{app.username}_clone")
    assert run(clone, "SELECT id FROM by_first") == [(1,)]
    run(clone, "CREATE TABLE by_clone (id serial)", "INSERT INTO by_clone DEFAULT VALUES")
    first = renew(master, clone, app.username, first=app.username)
    assert run(first, "ALTER TABLE by_clone ADD COLUMN more int", "SELECT id FROM by_clone") == [(1,)]
    assert run(clone, "DROP TABLE by_clone", "SELECT 1") == [(1,)]


def test_every_kind_of_grant_to_one_twin_reaches_the_other(master: Credential, app: Credential) -> None:
    clone = renew(master, app, f"{app.username}_clone")
    to = identifier(clone.username)
    run(
        master,
        "CREATE SCHEMA other; CREATE TABLE other.t (a int, b int); CREATE SEQUENCE other.s;"
        " CREATE FUNCTION other.f() RETURNS int LANGUAGE sql AS 'SELECT 7'; CREATE DOMAIN other.d AS int;"
        " CREATE ROLE readers; REVOKE ALL ON FUNCTION other.f() FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA other TO {to}",
        f"GRANT SELECT (a) ON other.t TO {to}",
        f"GRANT DELETE ON other.t TO {to} WITH GRANT OPTION",
        f"GRANT USAGE ON SEQUENCE other.s TO {to}",
        f"GRANT EXECUTE ON FUNCTION other.f() TO {to}",
        f"GRANT USAGE ON DOMAIN other.d TO {to}",
        f"GRANT TEMPORARY ON DATABASE {identifier(master.dbname)} TO {to}",
        f"GRANT readers TO {to}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA other GRANT SELECT ON TABLES TO {to}",
        f"ALTER ROLE {to} SET search_path TO other, public",
        f"ALTER ROLE {to} IN DATABASE {identifier(master.dbname)} SET work_mem TO '8MB'",
        f"ALTER ROLE {to} CONNECTION LIMIT 7 CREATEDB",
    )
    try:
        first = renew(master, clone, app.username, first=app.username)
        run(master, "CREATE TABLE other.later (id int)")
        assert run(
            first,
            "SELECT a FROM t",
            "DELETE FROM t",
            "SELECT nextval('s')",
            "SELECT * FROM later",
            "SELECT f(), current_setting('work_mem'), pg_has_role(current_user, 'readers', 'member')",
        ) == [(7, "8MB", True)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(first, "SELECT b FROM t")
        query = f"SELECT rolconnlimit, rolcreatedb FROM pg_roles WHERE oid = '{to}'::regrole"
        assert run(master, query) == [(7, True)]
    finally:
        run(
            master,
            f"REVOKE readers FROM {to}",
            f"REVOKE readers FROM {identifier(app.username)}",
            "DROP ROLE readers",
        )


def test_the_master_gives_back_the_memberships_that_it_borrows(master: Credential, app: Credential) -> None:
    clone = renew(master, app, f"{app.username}_clone")
    query = "SELECT pg_has_role(current_user, rolname, 'usage') FROM pg_roles WHERE rolname LIKE '{}%'"
    assert set(run(master, query.format(app.username)) or []) == {(False,)}  # type: ignore[call-overload]
    assert clone.username != app.username


def test_twins_under_an_owner_role_make_and_get_things_as_the_owner(
    master: Credential, app: Credential
) -> None:
    owner = f"{app.username} owner"
    run(app, "CREATE TABLE before (id int)")
    clone = renew(master, app, f"{app.username}_clone", owner=owner)
    run(clone, "CREATE TABLE by_clone (id int)")
    run(app, "CREATE TABLE by_first (id int)")
    owners = "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    assert run(master, owners) == [(name, owner) for name in ("before", "by_clone", "by_first")]
    run(master, "CREATE TABLE granted (id int)", f"GRANT SELECT ON granted TO {identifier(clone.username)}")
    first = renew(master, clone, app.username, owner=owner)
    for credential in (first, clone):
        assert run(credential, "SELECT * FROM granted", "SELECT session_user, current_user") == [
            (credential.username, owner)
        ]


def test_somebody_elses_role_is_not_taken_for_a_twin(master: Credential, app: Credential) -> None:
    name = f"{app.username}_clone"
    run(master, f"CREATE ROLE {identifier(name)} LOGIN PASSWORD 'theirs'")
    with pytest.raises(DatabaseFailed, match="somebody else's"):
        renew(master, app, name)
    ENGINE.connect(login_of(master, name, "theirs"), 5).close()
    run(master, f"GRANT {identifier(app.username)} TO {identifier(name)}")  # now it was said
    renew(master, app, name)


def test_somebody_elses_role_is_not_taken_for_an_owner(master: Credential, app: Credential) -> None:
    run(master, 'CREATE ROLE "the boss"')
    try:
        with pytest.raises(DatabaseFailed, match="owner role is somebody else's"):
            renew(master, app, f"{app.username}_clone", owner="the boss")
        assert run(master, f"SELECT pg_has_role({literal(app.username)}, 'the boss', 'member')") == [(False,)]
    finally:
        run(master, 'DROP ROLE "the boss"')


def test_what_cannot_be_handed_over_leaves_everything_as_it_was(
    master: Credential, app: Credential, server: EmbeddedPostgres
) -> None:
    clone = renew(master, app, f"{app.username}_clone")
    with psycopg.connect(
        server.conninfo("postgres", server.password, master.dbname), autocommit=True
    ) as root:
        root.execute("CREATE TABLE of_root (id int)")
        root.execute(sql.SQL("GRANT SELECT ON of_root TO {}").format(sql.Identifier(clone.username)))
    with pytest.raises(DatabaseFailed, match=r"could not be handed over.*of_root"):
        renew(master, clone, app.username, first=app.username)
    ENGINE.connect(app, 5).close()
    with pytest.raises(Refused):
        ENGINE.connect(login_of(master, app.username, "twin password"), 5)
    with psycopg.connect(
        server.conninfo("postgres", server.password, master.dbname), autocommit=True
    ) as root:
        root.execute(sql.SQL("GRANT SELECT ON of_root TO {}").format(sql.Identifier(app.username)))
    renew(master, clone, app.username, first=app.username)  # what both have needs no handing over
