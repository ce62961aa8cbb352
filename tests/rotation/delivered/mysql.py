"""MySQL and MariaDB by the pymysql of the package."""

from __future__ import annotations

from typing import Any

import pymysql


def connect(secret: Any, authorities: Any) -> Any:
    try:
        return pymysql.connect(
            host=secret["host"],
            port=secret["port"],
            user=secret["username"],
            password=secret["password"],
            database=secret["dbname"],
            connect_timeout=5,
            autocommit=True,
            ssl={"ca": authorities} if authorities else None,
            ssl_disabled=not authorities,
        )
    except pymysql.OperationalError:
        return None


def change_password(connection: Any, user: Any, password: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), VERSION()")
        ((me, version),) = cursor.fetchall()
        if me == user:
            cursor.execute(
                "SET PASSWORD = PASSWORD(%s)" if "MariaDB" in version else "SET PASSWORD = %s", (password,)
            )
            return
        for host in hosts(cursor, user):
            cursor.execute("ALTER USER %s@%s IDENTIFIED BY %s", (user, host, password))


def copy_rights(connection: Any, current: Any, pending: Any) -> Any:
    user, twin = current["username"], pending["username"]
    with connection.cursor() as cursor:
        if hosts(cursor, twin):
            return
        for host in hosts(cursor, user):
            cursor.execute("CREATE USER %s@%s IDENTIFIED BY %s", (twin, host, pending["password"]))
            cursor.execute("SHOW GRANTS FOR %s@%s", (user, host))
            for (grant,) in cursor.fetchall():
                rights, _, _ = grant.partition(" TO ")
                cursor.execute(rights.replace("%", "%%") + " TO %s@%s", (twin, host))


def hosts(cursor: Any, user: Any) -> Any:
    cursor.execute("SELECT Host FROM mysql.user WHERE User = %s", (user,))
    return [row[0] for row in cursor.fetchall()]
