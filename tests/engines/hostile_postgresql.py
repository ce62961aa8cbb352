"""PostgreSQL databases made by an attacker who owns them: what is drawn for each one.

The attacker is the user whose secret is rotated, or another one who owns the database. Every function that it makes writes a line
to the server's log when it runs, with the role that it runs as, and tries to make the attacker a superuser.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from turnlock.local_servers import EmbeddedPostgres

Session = psycopg.Connection[tuple[Any, ...]]

PASSWORD = "old password"
CANARY = "code of others ran"
AT_LOGIN = "login trigger ran"
"""A user's own login fires them whoever it is that logs in: that is no gain, unless it is another's login."""

EVIL = (
    "x;ALTER/**/ROLE/**/{app}/**/SUPERUSER;--",
    '"; ALTER ROLE {app} SUPERUSER; --',
    "'; ALTER ROLE {app} SUPERUSER; --",
    "\\'; ALTER ROLE {app} SUPERUSER; --",
    "$$; ALTER ROLE {app} SUPERUSER; --",
    '"a"", "b"; ALTER ROLE {app} SUPERUSER',
    "public, pg_catalog",
    '"$user", public, "Ünï ""c"" \\d", pg_catalog',
    "{{0}} %s %(x)s {{}}",
    'a b, "unclosed',
    "ﬁ\u202e\u00a0'\"\\",
    "",
    "é" * 40,
)
"""Texts for names and settings; `{app}` is the attacker's own."""

FUNCTIONS = (
    "set_config(text, text, boolean)", "set_config(varchar, varchar, boolean)", "current_setting(text)",
    "current_setting(text, boolean)", "pg_has_role(text, text, text)", "pg_has_role(text, text)",
    "pg_has_role(name, name, text)", "quote_ident(name)", "quote_literal(text)", "pg_is_in_recovery()",
    "pg_get_userbyid(oid)", "aclexplode(aclitem[])", "unnest(text[])", "unnest(oidvector)", "lower(text)",
    "split_part(text, text, integer)", "substr(text, integer)", "strpos(text, text)", "age(xid)",
    "pg_advisory_xact_lock(bigint)", "string_to_array(text, text)", "isfinite(timestamptz)",
    "has_parameter_privilege(text, text)", "current_timestamp()", "encode(bytea, text)",
)  # fmt: skip
OPERATORS = (
    ("=", "name", "text"), ("=", "name", "name"), ("=", "text", "text"), ("=", "oid", "oid"), ("=", "text", "name"),
    ("=", "oid", "oid[]"), ("<>", "text", "text"), ("<>", "oid", "oid"), ("<>", "name", "text"), ("||", "text", "text"),
    ("=", '"char"', '"char"'), ("=", "name", "varchar"), ("<>", '"char"', "text"), (">", "timestamptz", "timestamptz"),
    ("=", "integer", "integer"), ("<=", "integer", "integer"), ("&&", "text[]", "text[]"), ("=", "bigint", "bigint"),
)  # fmt: skip
RELATIONS = (
    "pg_roles", "pg_authid", "pg_class", "pg_proc", "pg_settings", "pg_database", "pg_auth_members", "pg_namespace",
    "pg_db_role_setting", "pg_default_acl", "pg_type", "pg_stat_activity", "pg_event_trigger", "pg_attribute",
)  # fmt: skip
TYPES = ("name", "text", "oid", "int4", "bool", '"char"', "regclass", "aclitem", "int8")
DATABASE_SETTINGS = (
    ("search_path", "public, pg_catalog"), ("search_path", "evil, public, pg_catalog"), ("search_path", ""),
    ("standard_conforming_strings", "off"), ("client_encoding", "LATIN1"), ("client_encoding", "SQL_ASCII"),
    ("datestyle", "SQL, DMY"), ("timezone", "Asia/Kathmandu"), ("row_security", "off"), ("backslash_quote", "on"),
    ("default_transaction_read_only", "on"), ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"), ("password_encryption", "md5"), ("quote_all_identifiers", "on"),
    ("createrole_self_grant", "set, inherit"), ("role", "{app}"), ("role", "{bystander}"), ("session_authorization", "{app}"),
    ("array_nulls", "off"), ("bytea_output", "escape"), ("transform_null_equals", "on"), ("check_function_bodies", "off"),
    ("default_tablespace", "nowhere"), ("temp_tablespaces", "nowhere"),
    ("plan_cache_mode", "force_generic_plan"), ("extra_float_digits", "-5"), ("session_replication_role", "replica"),
    ("escape_string_warning", "off"), ("lo_compat_privileges", "on"), ("synchronous_commit", "off"),
)  # fmt: skip
ROLE_SETTINGS = ("search_path", "temp_tablespaces", "application_name", "DateStyle",
                 "default_tablespace", "role", "TimeZone", "default_text_search_config", "password_encryption",
                 "default_transaction_read_only", "client_encoding", "standard_conforming_strings", "work_mem")  # fmt: skip
OBJECT_KINDS = (
    ("CREATE TABLE {} (id int, {} int)", "GRANT SELECT ON {} TO {}", "GRANT UPDATE ({1}) ON {0} TO {2}"),
    ("CREATE SEQUENCE {}", "GRANT USAGE ON SEQUENCE {} TO {}"),
    ("CREATE FUNCTION {}() RETURNS int LANGUAGE sql AS 'SELECT 1'", "GRANT EXECUTE ON FUNCTION {}() TO {}"),
    ("CREATE DOMAIN {} AS int", "GRANT USAGE ON DOMAIN {} TO {}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """One hostile database: its roles, and what was drawn for it."""

    name: str
    app: str
    bystander: str
    """A role that has nothing to do with the secret; it may own the database."""
    master: str
    strategy: str | None
    """`rotationStrategy`; None is that of the function."""
    owner_role: str | None
    single: bool
    seed: str
    strangers: frozenset[str] = frozenset()
    """Roles of the pair's names that are somebody else's."""
    drawn: list[str] = field(default_factory=list)

    @property
    def clone(self) -> str:
        return self.app + "_clone"

    @property
    def owner(self) -> str:
        return self.owner_role if self.owner_role is not None else self.app + "_owner"

    @property
    def pair(self) -> frozenset[str]:
        """The roles that a rotation may change."""
        roles = {self.app} if self.single else {self.app, self.clone, self.owner}
        return frozenset(roles) - self.strangers


class Drawer:
    """Draws one hostile database on a server, and makes it."""

    def __init__(self, server: EmbeddedPostgres, seed: str, number: int) -> None:
        self.server, self.random, self.number = server, random.Random(seed), number
        self.seed = seed
        self.statements: list[str] = []

    def make(self, admin: Session) -> Hostile:
        draw, name = self.random, f"h{self.number}"
        app = draw.choice(
            (f"{name}_app", f"{name} \"a'p\\p", f"{name}_é;--", f"{name}_" + "x" * (56 - len(name)))
        )
        strategy = draw.choice((None, None, "owner-role", "single"))
        hostile = Hostile(
            name=name, app=app, bystander=f"{name}_bystander", master=f"{name}_master", seed=self.seed,
            strategy="owner-role" if strategy == "owner-role" else None, single=strategy == "single",
            owner_role=self._owner_role(name) if strategy == "owner-role" else None,
            strangers=frozenset(), drawn=self.statements,
        )  # fmt: skip
        superuser = draw.random() < 0.5
        for role in (hostile.app, hostile.bystander):
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), PASSWORD))
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(
                sql.Identifier(hostile.master), sql.SQL("SUPERUSER" if superuser else "CREATEROLE"), PASSWORD
            )
        )
        if not superuser:
            admin.execute(
                sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(
                    sql.Identifier(app), sql.Identifier(hostile.master)
                )
            )
        owner = draw.choice((hostile.app, hostile.bystander))
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
        )
        strangers = self._others(admin, hostile)
        with self._session(name, "postgres", self.server.password) as root:
            root.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
            self._as_master(root, hostile)
            with self._session(name, owner, PASSWORD) as attacker:
                self._attack(attacker, hostile)
            with self._session(name, hostile.app, PASSWORD) as user:
                self._attack_by_user(user, hostile)
            self._careless(root, hostile, owner)
        self._settings(hostile, owner)
        return Hostile(
            **{**{slot: getattr(hostile, slot) for slot in Hostile.__slots__}, "strangers": strangers}
        )

    def _owner_role(self, name: str) -> str | None:
        return self.random.choice(
            (
                None,
                None,
                f"{name} 'own\"er",
                "pg_monitor",
                "public",
                "none",
                "postgres",
                f"{name}_boss",
                f"{name}_master",
            )
        )

    def _try(self, session: Session, statement: sql.Composed | sql.SQL) -> None:
        text = statement.as_string(session)
        try:
            session.execute(statement)
        except (psycopg.Error, UnicodeError):
            return
        self.statements.append(text)

    @contextmanager
    def _session(self, database: str, role: str, password: str) -> Iterator[Session]:
        with psycopg.connect(
            host="127.0.0.1",
            port=self.server.port,
            user=role,
            password=password,
            dbname=database,
            autocommit=True,
        ) as session:
            yield session

    def _some(self, many: tuple[Any, ...], most: int) -> list[Any]:
        return self.random.sample(many, self.random.randint(0, min(most, len(many))))

    def _body(self, hostile: Hostile, returns: str) -> str:
        evil = f"ALTER ROLE {_quoted(hostile.app)} SUPERUSER"
        return (
            f"BEGIN RAISE LOG '{CANARY} {hostile.name} %', current_user;"
            f" IF current_user <> {_literal(hostile.app)} THEN BEGIN EXECUTE {_literal(evil)};"
            f" EXCEPTION WHEN OTHERS THEN NULL; END; END IF; RETURN {returns}; END"
        )

    # By the database's owner.

    def _attack(self, session: Session, hostile: Hostile) -> None:
        session.execute("CREATE SCHEMA IF NOT EXISTS evil")
        session.execute("GRANT USAGE, CREATE ON SCHEMA evil TO PUBLIC")
        for schema in self.random.sample(("public", "evil"), self.random.randint(1, 2)):
            self._shadow(session, hostile, schema)
        for kind, *_ in self._some(OBJECT_KINDS, 3):
            evil = sql.Identifier(self._evil(hostile) or "x")
            self._try(session, sql.SQL(kind).format(evil, sql.Identifier("col; --")))

    def _shadow(self, session: Session, hostile: Hostile, schema: str) -> None:
        for signature in self._some(FUNCTIONS, 20):
            returns = self.random.choice(("text", "boolean", "integer", "name"))
            make = "CREATE FUNCTION {}.{} RETURNS {} LANGUAGE plpgsql AS {}"
            self._plain(session, make, schema, signature, returns, _literal(self._body(hostile, "NULL")))
        for place, (operator, left, right) in enumerate(self._some(OPERATORS, 14)):
            make = "CREATE FUNCTION {}.op{}({}, {}) RETURNS boolean LANGUAGE plpgsql AS {}"
            self._plain(session, make, schema, place, left, right, _literal(self._body(hostile, "true")))
            make = "CREATE OPERATOR {}.{} (LEFTARG = {}, RIGHTARG = {}, FUNCTION = {}.op{})"
            self._plain(session, make, schema, operator, left, right, schema, place)
        for relation in self._some(RELATIONS, 6):
            self._plain(
                session, "CREATE FUNCTION {}.v_{}() RETURNS boolean LANGUAGE plpgsql AS {}", schema, relation,
                _literal(self._body(hostile, "true")),
            )  # fmt: skip
            view = "CREATE VIEW {0}.{1} AS SELECT * FROM pg_catalog.{1} WHERE {0}.v_{1}()"
            self._plain(session, view, schema, relation)
        for kind in self._some(TYPES, 3):
            self._plain(session, "CREATE TYPE {}.{} AS ENUM ('a', 'b')", schema, kind)
            make = "CREATE FUNCTION {0}.to_{2}({0}.{1}) RETURNS text LANGUAGE plpgsql AS {3}"
            plain = kind.strip('"')
            self._plain(session, make, schema, kind, plain, _literal(self._body(hostile, "''")))
            self._plain(
                session,
                "CREATE CAST ({0}.{1} AS text) WITH FUNCTION {0}.to_{2}({0}.{1}) AS IMPLICIT",
                schema,
                kind,
                plain,
            )
        self._triggers(session, hostile, schema)

    def _triggers(self, session: Session, hostile: Hostile, schema: str) -> None:
        make = "CREATE FUNCTION {}.fired() RETURNS trigger LANGUAGE plpgsql SECURITY {} AS {}"
        security = self.random.choice(("INVOKER", "DEFINER"))
        self._plain(session, make, schema, security, _literal(self._body(hostile, "NEW")))
        self._plain(session, "CREATE TABLE {}.t (id int)", schema)
        self._plain(
            session,
            "CREATE TRIGGER t BEFORE INSERT OR UPDATE ON {0}.t FOR EACH ROW EXECUTE FUNCTION {0}.fired()",
            schema,
        )
        self._plain(session, "CREATE FUNCTION {}.checked(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS {}", schema,
                    _literal(self._body(hostile, "1")))  # fmt: skip
        self._plain(session, "CREATE INDEX ON {0}.t ({0}.checked(id))", schema)
        self._plain(session, "GRANT ALL ON {}.t TO PUBLIC", schema)

    def _plain(self, session: Session, statement: str, *words: object) -> None:
        self._try(session, sql.SQL(statement.format(*words)) + sql.SQL(""))

    # By the user itself.

    def _attack_by_user(self, session: Session, hostile: Hostile) -> None:
        chosen = [(setting, self._evil(hostile)) for setting in self._some(ROLE_SETTINGS, 4)]
        if self.random.random() < 0.3:
            chosen.append(("search_path", EVIL[0].format(app=hostile.app)))
        for setting, value in chosen:
            try:
                session.execute("SELECT pg_catalog.set_config(%s, %s, false)", (setting, value))
            except (psycopg.Error, UnicodeError):
                continue
            role = sql.Identifier(hostile.app)
            place = (
                sql.SQL(" IN DATABASE {}").format(sql.Identifier(hostile.name))
                if self.random.random() < 0.3
                else sql.SQL("")
            )
            self._try(
                session,
                sql.SQL("ALTER ROLE {}{} SET {} FROM CURRENT").format(role, place, sql.Identifier(setting)),
            )
            self._try(session, sql.SQL("RESET ALL"))
        for kind, *_ in self._some(OBJECT_KINDS, 2):
            self._try(
                session,
                sql.SQL(kind).format(sql.Identifier("own " + self._evil(hostile)), sql.Identifier("c")),
            )
        if self.random.random() < 0.4:
            self._try(
                session,
                sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {0} GRANT SELECT ON TABLES TO {1}").format(
                    sql.Identifier(hostile.app), sql.Identifier(hostile.bystander)
                ),
            )
        if self.random.random() < 0.3:
            self._try(session, sql.SQL("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC"))

    def _evil(self, hostile: Hostile) -> str:
        return self.random.choice(EVIL).format(app=hostile.app)

    # By administrators, some of whom are careless.

    def _as_master(self, root: Session, hostile: Hostile) -> None:
        """Objects of the master's, granted to the user by name."""
        for kind, *grants in self._some(OBJECT_KINDS, 3):
            name = sql.Identifier("public", "of master " + self._evil(hostile))
            column = sql.Identifier("c " + self._evil(hostile))
            self._try(root, sql.SQL("SET ROLE {}").format(sql.Identifier(hostile.master)))
            self._try(root, sql.SQL(kind).format(name, column))
            for grant in grants:
                given = (
                    (name, column, sql.Identifier(hostile.app))
                    if "{2}" in grant
                    else (name, sql.Identifier(hostile.app))
                )
                self._try(root, sql.SQL(grant).format(*given))
            self._try(root, sql.SQL("RESET ROLE"))

    def _careless(self, root: Session, hostile: Hostile, owner: str) -> None:
        """Event triggers of a superuser whose function is another's."""
        if self.random.random() > 0.25:
            return
        event = self.random.choice(("ddl_command_start", "ddl_command_end", "login"))
        body = self._body(hostile, "NULL").replace(" RETURN NULL;", "")
        if event == "login":
            body = body.replace(CANARY, AT_LOGIN)
        self._plain(
            root,
            "CREATE FUNCTION evil.on_event() RETURNS event_trigger LANGUAGE plpgsql AS {}",
            _literal(body),
        )
        self._plain(root, "ALTER FUNCTION evil.on_event() OWNER TO {}", _quoted(owner))
        self._plain(
            root, "CREATE EVENT TRIGGER {}_event ON {} EXECUTE FUNCTION evil.on_event()", hostile.name, event
        )

    def _others(self, admin: Session, hostile: Hostile) -> frozenset[str]:
        """Roles of the names that the rotation would take, that are somebody else's; what the attacker may say about them."""
        strangers = set[str]()
        chance = self.random.random()
        new = admin.info.server_version >= 160000
        if chance < 0.25 and not hostile.single:
            extra = self.random.choice(("", "SUPERUSER", "CREATEDB"))
            self._plain(admin, "CREATE ROLE {} LOGIN {} PASSWORD 'theirs'", _quoted(hostile.clone), extra)
            strangers.add(hostile.clone)
            bond = self.random.choice((None, "by attacker", "no rights"))
            if bond == "by attacker":  # who administers the user may make anyone a member of it
                self._plain(
                    admin,
                    "GRANT {} TO {} WITH ADMIN OPTION",
                    _quoted(hostile.app),
                    _quoted(hostile.bystander),
                )
                with self._session("postgres", hostile.bystander, PASSWORD) as session:
                    self._plain(session, "GRANT {} TO {}", _quoted(hostile.app), _quoted(hostile.clone))
            elif bond == "no rights" and new:
                self._plain(
                    admin,
                    "GRANT {} TO {} WITH INHERIT FALSE, SET FALSE",
                    _quoted(hostile.clone),
                    _quoted(hostile.app),
                )
        if hostile.owner_role == f"{hostile.name}_boss":
            extra = self.random.choice(("", "SUPERUSER"))
            self._plain(admin, "CREATE ROLE {} {}", _quoted(hostile.owner_role), extra)
            strangers.add(hostile.owner_role)
            if new:
                self._plain(
                    admin,
                    "GRANT {} TO {} WITH INHERIT FALSE, SET FALSE",
                    _quoted(hostile.owner_role),
                    _quoted(hostile.app),
                )
        if hostile.owner_role in {"pg_monitor", "postgres", f"{hostile.name}_master"}:
            strangers.add(hostile.owner_role)
            if hostile.owner_role == "pg_monitor":
                self._plain(admin, "GRANT pg_monitor TO {}", _quoted(hostile.app))
        if self.random.random() < 0.3:
            team = f"{hostile.name}_team"
            self._plain(admin, "CREATE ROLE {}", team)
            options = " WITH INHERIT FALSE, SET FALSE" if new and self.random.random() < 0.5 else ""
            self._plain(admin, "GRANT {} TO {}{}", team, _quoted(hostile.app), options)
        return frozenset(strangers)

    def _settings(self, hostile: Hostile, owner: str) -> None:
        """What the owner sets for every session in its database, last: it is in the way of the attacker too."""
        with self._session(hostile.name, owner, PASSWORD) as session:
            for name, value in self._some(DATABASE_SETTINGS, 5):
                text = value.format(app=hostile.app, bystander=hostile.bystander)
                set_to = sql.SQL("ALTER DATABASE {} SET {} TO {}").format(
                    sql.Identifier(hostile.name), sql.Identifier(name),
                    sql.SQL(", ").join(map(sql.Literal, text.split(", "))),
                )  # fmt: skip
                self._try(session, set_to)


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _literal(text: str) -> str:
    return " E'{}'".format(text.replace("\\", "\\\\").replace("'", "''"))
