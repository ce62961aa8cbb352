"""Databases of MySQL's family that others have shaped, built by the seed.

An attacker has an application's account, whose secret a rotation by a master user renews, and another account, and has made
whatever such accounts can make: names that look like statements, functions named as the server's own, views, triggers, an
account with the twin's name.
"""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import dataclass, field

import pymysql

from turnlock.local_servers.mysqld import MySQLServer

PIECES = (
    "app", "o'b", "a`b", 'q"q', "b\\s", "p%c", "u_s", "x` TO 'r'@'%'", "'; --", "é尧", "l\nb", "\t", "%s{}", "@%", "a@b", "_clone",
    "NULL", "-- ", "/*!9 x*/", "\u00bf\u5c27", "PUBLIC", "ON *.*", "root",
)  # fmt: skip
HOSTS = ("%", "127.0.0.%", "127.%", "127.0.0.1")
MODES = (
    "",
    "ANSI_QUOTES",
    "NO_BACKSLASH_ESCAPES",
    "ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
    "IGNORE_SPACE",
    "PIPES_AS_CONCAT",
)
FUNCTIONS = (
    "now",
    "current_user",
    "user",
    "get_lock",
    "release_lock",
    "version",
    "password",
    "left",
    "if",
    "concat",
)
PRIVILEGES = (
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "ALTER",
    "INDEX",
    "CREATE VIEW",
    "SHOW VIEW",
)
GLOBALS = ("SELECT", "INSERT", "PROCESS", "RELOAD", "CREATE USER", "SHOW DATABASES")
SYSTEM = frozenset({"mysql", "information_schema", "performance_schema", "sys", "witness"})
LET_PROXY = (
    "REPLACE INTO mysql.proxies_priv (host, user, proxied_host, proxied_user, with_grant, grantor)"
    " VALUES ('%', 'admin', '', '', 1, '')"
)
"""Let `admin` grant PROXY on anybody: GRANT ALL does not, and the server's first superuser, who could, is gone."""
PASSWORD, PLANTED, MASTER = "the app's password", "known to mallory", "the master's password"

Name = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One hostile database."""

    user: Name
    """The application's account."""
    dbname: str
    master: Name
    planted: str
    """What the account with the twin's name is, before: `none`, `equal`, `more`, `second`, `lent`."""

    @property
    def twin(self) -> Name:
        name = self.user[0]
        return (name.removesuffix("_clone") if name.endswith("_clone") else f"{name}_clone", self.user[1])


@dataclass(slots=True)
class Builder:
    """Makes one scene; a statement that the server does not take is left out."""

    server: MySQLServer
    draw: random.Random
    mariadb: bool
    refused: int = 0
    made: list[str] = field(default_factory=list)

    def build(self) -> Scene:
        draw = self.draw
        user = (self.name(20), draw.choice(HOSTS))
        scene = Scene(
            user=user,
            dbname=self.name(24),
            master=("admin", "%") if draw.random() < 0.5 else ("boss", "%"),
            planted=draw.choice(("none", "none", "equal", "more", "second", "lent")),
        )
        self.run(
            f"CREATE USER {account(user)} IDENTIFIED BY {text(PASSWORD)}",
            f"CREATE USER {account(('mallory', '%'))} IDENTIFIED BY {text(PLANTED)}",
            f"CREATE DATABASE IF NOT EXISTS {quoted(scene.dbname)}",
            "CREATE DATABASE IF NOT EXISTS witness",
            "CREATE TABLE IF NOT EXISTS witness.called (name TEXT, who TEXT)",
            f"GRANT INSERT ON witness.called TO {account(user)}",
            "CREATE DATABASE IF NOT EXISTS vault",
        )
        self._boss()
        self._objects(scene)
        self._grants(scene)
        self._plant(scene)
        mode = draw.choice(MODES)
        self.run(
            f"SET GLOBAL sql_mode = {text(mode)}",
            f"SET GLOBAL init_connect = {text(draw.choice(('', f'SET sql_mode = {text(draw.choice(MODES))}', 'SET NAMES latin1')))}",
        )
        return scene

    def name(self, longest: int) -> str:
        pieces = (self.draw.choice(PIECES) for _ in range(self.draw.randint(1, 4)))
        return "".join(pieces)[:longest].strip() or "app"

    def run(self, *statements: str) -> None:
        with closing(self.server.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                try:
                    cursor.execute(statement)
                    self.made.append(statement)
                except pymysql.err.Error:
                    self.refused += 1

    def _boss(self) -> None:
        """A master user without the highest rights, as on RDS."""
        more = "" if self.mariadb else ", CREATE ROLE, DROP ROLE"
        self.run(
            f"CREATE USER boss@'%' IDENTIFIED BY {text(MASTER)}",
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES,"
            " EXECUTE, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER"
            f"{more} ON *.* TO boss@'%' WITH GRANT OPTION",
        )
        if not self.mariadb:
            self.run("GRANT ROLE_ADMIN, APPLICATION_PASSWORD_ADMIN ON *.* TO boss@'%' WITH GRANT OPTION")

    def _objects(self, scene: Scene) -> None:
        """What an application's user can make in its own database."""
        database, table = quoted(scene.dbname), quoted(self.name(24))
        column = quoted(self.name(24))
        self.run(f"CREATE TABLE {database}.{table} (id INT, {column} INT)")
        for name in FUNCTIONS:
            self.run(
                f"CREATE FUNCTION {database}.{quoted(name)}({self.draw.choice(('', 'a TEXT'))}) RETURNS TEXT DETERMINISTIC"
                f" SQL SECURITY {self.draw.choice(('INVOKER', 'DEFINER'))}"
                f" BEGIN INSERT INTO witness.called VALUES ({text(name)}, CURRENT_USER()); RETURN 'x'; END"
            )
        for view in self.draw.sample(("user", "global_priv", "role_edges", "proxies_priv"), 2):
            self.run(
                f"CREATE VIEW {database}.{quoted(view)} AS SELECT {database}.{quoted('version')}() AS host"
            )
        self.run(
            f"CREATE TRIGGER {database}.{quoted(self.name(20))} BEFORE INSERT ON {database}.{table}"
            " FOR EACH ROW INSERT INTO witness.called VALUES ('trigger', CURRENT_USER())",
            f"CREATE EVENT {database}.{quoted(self.name(20))} ON SCHEDULE AT '2037-01-01 00:00:00'"
            " DO INSERT INTO witness.called VALUES ('event', CURRENT_USER())",
            f"GRANT SELECT ({column}), INSERT (id, {column}) ON {database}.{table} TO {account(scene.user)}",
            f"GRANT EXECUTE ON FUNCTION {database}.`now` TO {account(scene.user)}",
        )

    def _grants(self, scene: Scene) -> None:
        draw, who = self.draw, account(scene.user)
        for _ in range(draw.randint(0, 4)):
            place = quoted(draw.choice((scene.dbname, self.name(12), "sh\\_op", "sh%", "vault")))
            self.run(
                f"GRANT {', '.join(draw.sample(PRIVILEGES, draw.randint(1, 3)))} ON {place}.* TO {who}"
                + draw.choice(("", " WITH GRANT OPTION"))
            )
        if draw.random() < 0.4:
            self.run(f"GRANT {', '.join(draw.sample(GLOBALS, draw.randint(1, 3)))} ON *.* TO {who}")
        role = quoted(self.name(16))
        if draw.random() < 0.4:
            option = draw.choice(("", " WITH ADMIN OPTION"))
            self.run(
                f"CREATE ROLE {role}", f"GRANT SELECT ON vault.* TO {role}", f"GRANT {role} TO {who}{option}"
            )
            self.run(f"SET DEFAULT ROLE {role} {'FOR' if self.mariadb else 'TO'} {who}")
        if draw.random() < 0.15:
            self.run(f"GRANT PROXY ON mallory@'%' TO {who}")
        if not self.mariadb and draw.random() < 0.4:
            self.run(
                "SET GLOBAL partial_revokes = ON",
                f"GRANT SELECT, INSERT ON *.* TO {who}",
                f"REVOKE SELECT ON mysql.* FROM {who}",
                f"REVOKE INSERT ON vault.* FROM {who}",
            )
        if draw.random() < 0.15:
            self.run(f"ALTER USER {who} WITH MAX_USER_CONNECTIONS 9 PASSWORD EXPIRE NEVER")

    def _plant(self, scene: Scene) -> None:
        """What stands in the twin's place; whoever could make it is the attacker."""
        if scene.planted == "none" or not scene.twin[0]:
            return
        twin, draw = account(scene.twin), self.draw
        self.run(f"CREATE USER {twin} IDENTIFIED BY {text(PLANTED)}")
        if scene.planted == "more":
            place = draw.choice(("*.*", "vault.*"))
            self.run(
                f"GRANT {draw.choice(('ALL PRIVILEGES', 'DROP, REFERENCES', 'EVENT'))} ON {place} TO {twin}"
            )
        if scene.planted == "second" and self.mariadb:
            way = f"mysql_native_password USING PASSWORD({text(PLANTED)})"
            self.run(
                f"ALTER USER {twin} IDENTIFIED VIA mysql_native_password USING PASSWORD('x') OR {way} OR unix_socket"
            )
        elif scene.planted == "second":
            self.run(f"ALTER USER {twin} IDENTIFIED BY 'x' RETAIN CURRENT PASSWORD")
        if scene.planted == "lent":
            self.run(
                f"GRANT PROXY ON {twin} TO mallory@'%'" if self.mariadb else f"GRANT {twin} TO mallory@'%'"
            )
            self.run(f"GRANT PROXY ON {twin} TO mallory@'%'")


def clear(server: MySQLServer) -> None:
    """Take away all that a scene has made."""
    mariadb = "MariaDB" in str(server.execute("SELECT VERSION()")[0][0])
    fixed = {"admin", "mysql.infoschema", "mysql.session", "mysql.sys", "mariadb.sys"}
    rows = server.execute("SELECT user, host FROM mysql.user")
    accounts = [
        (str(user), str(host)) for user, host in rows if user not in fixed and (user, host) != ("PUBLIC", "")
    ]
    databases = [str(name) for (name,) in server.execute("SHOW DATABASES") if name not in SYSTEM]
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL init_connect = ''")
        cursor.execute("SET GLOBAL sql_mode = DEFAULT")
        cursor.execute("SET SESSION sql_mode = ''")
        for database in databases:
            cursor.execute(f"DROP DATABASE {quoted(database)}")
        for name in accounts:
            cursor.execute(
                f"DROP ROLE {quoted(name[0])}" if mariadb and not name[1] else f"DROP USER {account(name)}"
            )
        if not mariadb:
            cursor.execute("SET GLOBAL partial_revokes = OFF")
        cursor.execute("DROP DATABASE IF EXISTS witness")
        # Rights on routines outlive an account whose name is not ASCII, and whoever has the name next gets them.
        cursor.execute("DELETE FROM mysql.procs_priv")
        cursor.execute(LET_PROXY)
        cursor.execute("FLUSH PRIVILEGES")


def quoted(name: str) -> str:
    return "`{}`".format(name.replace("`", "``"))


def account(name: Name) -> str:
    return f"{quoted(name[0])}@{quoted(name[1])}"


def text(value: str) -> str:
    return "'{}'".format(value.replace("\\", "\\\\").replace("'", "''"))
