"""PostgreSQL by a psycopg that loads the libpq of the package, as a compiled driver in a zip file does."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql


def connect(secret: Any, authorities: Any) -> Any:
    tls = {"sslmode": "verify-full", "sslrootcert": authorities} if authorities else {"sslmode": "disable"}
    try:
        connection = psycopg.connect(
            host=secret["host"],
            port=secret["port"],
            user=secret["username"],
            password=secret["password"],
            dbname=secret["dbname"],
            connect_timeout=5,
            autocommit=True,
            **tls,
        )
    except psycopg.OperationalError:
        return None
    with open("/proc/self/maps") as maps:
        assert "/var/task/lib/libpq.so.5" in maps.read(), "another libpq than the package's"
    return connection


def change_password(connection: Any, user: Any, password: Any) -> Any:
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(user), password))


def copy_rights(connection: Any, current: Any, pending: Any) -> Any:
    user, twin = current["username"], pending["username"]
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [twin]).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(twin)))
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(user), sql.Identifier(twin)))
