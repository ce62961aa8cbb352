"""What a PostgreSQL role can have: how it is given, and how its user sees that it is there.

A row's statements are run by a superuser in the database `shop`; `{user}` is the user's name, quoted. Its question is asked in a session
of whoever AWSCURRENT names, logged in as an application does, and answers true where the user has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One row of the table in docs/engines.md."""

    name: str
    give: Sequence[str]
    ask: str
    first: Sequence[str] = ()
    """Statements of the user itself, before the rotation."""
    meanwhile: Sequence[str] = ()
    """Statements of a superuser before each question; `{place}` is a name that nothing has yet."""
    make: Sequence[str] = ()
    """Statements of the user itself before each question; `{place}` as above."""
    database: str = "shop"
    since: int = 0
    group: str = "together"
    """Rows of one group are given to one user."""


_SELF = "FROM pg_roles WHERE rolname = session_user"

HOLDINGS = (
    Holding(name="SUPERUSER", give=["ALTER ROLE {user} SUPERUSER"], ask=f"SELECT rolsuper {_SELF}", group="superuser"),
    Holding(name="CREATEDB", give=["ALTER ROLE {user} CREATEDB"], ask=f"SELECT rolcreatedb {_SELF}"),
    Holding(name="CREATEROLE", give=["ALTER ROLE {user} CREATEROLE"], ask=f"SELECT rolcreaterole {_SELF}"),
    Holding(name="BYPASSRLS", give=["ALTER ROLE {user} BYPASSRLS"], ask=f"SELECT rolbypassrls {_SELF}", group="attributes"),
    Holding(name="REPLICATION", give=["ALTER ROLE {user} REPLICATION"], ask=f"SELECT rolreplication {_SELF}", group="replication"),
    Holding(name="NOINHERIT", give=["ALTER ROLE {user} NOINHERIT"], ask=f"SELECT NOT rolinherit {_SELF}", group="attributes"),
    Holding(name="CONNECTION LIMIT", give=["ALTER ROLE {user} CONNECTION LIMIT 7"], ask=f"SELECT rolconnlimit = 7 {_SELF}"),
    Holding(
        name="VALID UNTIL",
        give=["ALTER ROLE {user} VALID UNTIL '2099-05-04 03:02:01+00'"],
        ask=f"SELECT rolvaliduntil = '2099-05-04 03:02:01+00' {_SELF}",
    ),
    Holding(
        name="COMMENT",
        give=["COMMENT ON ROLE {user} IS 'the shop'"],
        ask=f"SELECT coalesce(shobj_description(oid, 'pg_authid') = 'the shop', false) {_SELF}",
    ),
    Holding(
        name="a setting (`ALTER ROLE … SET`)",
        give=["ALTER ROLE {user} SET work_mem TO '7MB'"],
        ask="SELECT current_setting('work_mem') = '7MB'",
    ),
    Holding(
        name="a setting that is a list (`search_path`)",
        give=['CREATE SCHEMA "A, b"', """ALTER ROLE {user} SET search_path TO "$user", 'A, b', public"""],
        ask="""SELECT current_setting('search_path') = '"$user", "A, b", public'""",
    ),
    Holding(
        name="a setting in one database",
        give=["ALTER ROLE {user} IN DATABASE shop SET lock_timeout TO '7min'"],
        ask="SELECT current_setting('lock_timeout') = '7min'",
    ),
    Holding(
        name="a superuser's setting",
        give=["ALTER ROLE {user} SET log_min_duration_statement TO '7s'"],
        ask="SELECT current_setting('log_min_duration_statement') = '7s'",
    ),
    Holding(
        name="`default_transaction_read_only`",
        give=["ALTER ROLE {user} SET default_transaction_read_only TO on"],
        ask="SELECT current_setting('default_transaction_read_only') = 'on'",
        group="read only",
    ),
    Holding(
        name="`SET role`",
        give=["CREATE ROLE hat", "GRANT hat TO {user}", "ALTER ROLE {user} SET role TO hat"],
        ask="SELECT current_user = 'hat'",
        group="hat",
    ),
    Holding(
        name="membership of a role",
        give=["CREATE ROLE team", "GRANT team TO {user} WITH ADMIN OPTION"],
        ask="SELECT pg_has_role(current_user, 'team', 'USAGE WITH ADMIN OPTION')",
    ),
    Holding(
        name="membership WITH INHERIT FALSE, SET FALSE",
        give=["CREATE ROLE club", "GRANT club TO {user} WITH INHERIT FALSE, SET FALSE"],
        ask="SELECT pg_has_role(current_user, 'club', 'MEMBER') AND NOT pg_has_role(current_user, 'club', 'SET')"
        " AND NOT pg_has_role(current_user, 'club', 'USAGE')",
        since=160000,
    ),
    Holding(
        name="ownership",
        give=["GRANT CREATE ON SCHEMA public TO {user}"],
        first=["CREATE TABLE public.owned (id int)"],
        ask="SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE relname = 'owned'",
    ),
    Holding(
        name="grant on a table, WITH GRANT OPTION",
        give=["CREATE TABLE public.goods (id int)", "GRANT SELECT ON public.goods TO {user} WITH GRANT OPTION"],
        ask="SELECT has_table_privilege(current_user, 'public.goods', 'SELECT WITH GRANT OPTION')",
    ),
    Holding(
        name="grant on a column",
        give=["CREATE TABLE public.staff (id int, pay int)", "GRANT UPDATE (pay) ON public.staff TO {user}"],
        ask="SELECT has_column_privilege(current_user, 'public.staff', 'pay', 'UPDATE')"
        " AND NOT has_column_privilege(current_user, 'public.staff', 'id', 'UPDATE')",
    ),
    Holding(
        name="grant on a sequence",
        give=["CREATE SEQUENCE public.numbers", "GRANT USAGE ON SEQUENCE public.numbers TO {user}"],
        ask="SELECT has_sequence_privilege(current_user, 'public.numbers', 'USAGE')",
    ),
    Holding(
        name="grant on a schema",
        give=["CREATE SCHEMA depot", "GRANT USAGE ON SCHEMA depot TO {user}"],
        ask="SELECT has_schema_privilege(current_user, 'depot', 'USAGE')",
    ),
    Holding(
        name="grant on a routine",
        give=[
            "CREATE FUNCTION public.count_up(int[], public.goods) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "REVOKE ALL ON FUNCTION public.count_up FROM PUBLIC",
            "GRANT EXECUTE ON FUNCTION public.count_up TO {user}",
        ],
        ask="SELECT has_function_privilege(current_user, 'public.count_up(int[], public.goods)', 'EXECUTE')",
    ),
    Holding(
        name="grant on a type",
        give=["CREATE DOMAIN public.price AS int", "REVOKE ALL ON DOMAIN public.price FROM PUBLIC",
              "GRANT USAGE ON DOMAIN public.price TO {user}"],
        ask="SELECT has_type_privilege(current_user, 'public.price', 'USAGE')",
    ),
    Holding(
        name="grant on a language",
        give=["REVOKE ALL ON LANGUAGE plpgsql FROM PUBLIC", "GRANT USAGE ON LANGUAGE plpgsql TO {user}"],
        ask="SELECT has_language_privilege(current_user, 'plpgsql', 'USAGE')",
    ),
    Holding(
        name="grant on a large object",
        give=["SELECT lo_create(4711)", "GRANT SELECT ON LARGE OBJECT 4711 TO {user}"],
        ask="SELECT loread(lo_open(4711, 262144), 1) IS NOT NULL",
    ),
    Holding(
        name="grant on a foreign data wrapper, a server",
        give=[
            "CREATE FOREIGN DATA WRAPPER wrapper", "CREATE SERVER outside FOREIGN DATA WRAPPER wrapper",
            "GRANT USAGE ON FOREIGN DATA WRAPPER wrapper TO {user}", "GRANT USAGE ON FOREIGN SERVER outside TO {user}",
        ],
        ask="SELECT has_server_privilege(current_user, 'outside', 'USAGE')"
        " AND has_foreign_data_wrapper_privilege(current_user, 'wrapper', 'USAGE')",
    ),
    Holding(
        name="grant on the database",
        give=["GRANT CREATE ON DATABASE shop TO {user}"],
        ask="SELECT has_database_privilege(current_user, 'shop', 'CREATE')",
    ),
    Holding(
        name="grant on a tablespace",
        give=["GRANT CREATE ON TABLESPACE pg_default TO {user}"],
        ask="SELECT has_tablespace_privilege(current_user, 'pg_default', 'CREATE')",
    ),
    Holding(
        name="`GRANT SET ON PARAMETER`",
        give=["GRANT SET, ALTER SYSTEM ON PARAMETER log_statement TO {user}"],
        ask="SELECT has_parameter_privilege(current_user, 'log_statement', 'SET')"
        " AND has_parameter_privilege(current_user, 'log_statement', 'ALTER SYSTEM')",
    ),
    Holding(
        name="default privileges of another role",
        give=["CREATE ROLE migrations", "GRANT CREATE ON SCHEMA public TO migrations",
              "ALTER DEFAULT PRIVILEGES FOR ROLE migrations IN SCHEMA public GRANT SELECT ON TABLES TO {user}"],
        meanwhile=["SET ROLE migrations", "CREATE TABLE public.{place} (id int)", "RESET ROLE"],
        ask="SELECT has_table_privilege(current_user, 'public.{place}', 'SELECT')",
    ),
    Holding(
        name="default privileges for others on what it makes",
        give=["CREATE ROLE reports"],
        first=["ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reports"],
        make=["CREATE TABLE public.{place} (id int)"],
        ask="SELECT has_table_privilege('reports', 'public.{place}', 'SELECT')",
    ),
    Holding(
        name="default privileges that PUBLIC has lost on what it makes",
        give=["CREATE ROLE passer_by"],
        first=["ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC"],
        make=["CREATE FUNCTION public.{place}() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
        ask="SELECT NOT has_function_privilege('passer_by', 'public.{place}()', 'EXECUTE')",
    ),
    Holding(
        name="a row security policy for it",
        give=["CREATE TABLE public.orders (id int)", "INSERT INTO public.orders VALUES (1)",
              "ALTER TABLE public.orders ENABLE ROW LEVEL SECURITY", "CREATE POLICY own ON public.orders TO {user} USING (true)",
              "GRANT SELECT ON public.orders TO PUBLIC"],
        ask="SELECT count(*) = 1 FROM public.orders",
    ),
    Holding(
        name="a user mapping",
        give=["CREATE FOREIGN DATA WRAPPER far", "CREATE SERVER abroad FOREIGN DATA WRAPPER far",
              "CREATE USER MAPPING FOR {user} SERVER abroad"],
        ask="SELECT count(*) = 1 FROM pg_user_mappings WHERE srvname = 'abroad' AND usename = current_user",
    ),
    Holding(
        name="grants in another database",
        give=[],
        ask="SELECT has_table_privilege(current_user, 'public.elsewhere', 'SELECT')",
        database="other",
    ),
)  # fmt: skip
