"""All that anybody may do on a server of MySQL's family, read from its own tables by another way than the engines', and who gained."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pymysql

from tests.engines.hostile_mysql import Name, Scene
from turnlock.local_servers.mysqld import MySQLServer

Right = tuple[str, ...]
Row = Mapping[str, Any]
Rights = dict[Name, set[Right]]


@dataclass(slots=True)
class Everything:
    """What everybody may do on a server."""

    rights: Rights = field(default_factory=dict)
    withheld: Rights = field(default_factory=dict)
    """MySQL's partial revokes."""
    ways_in: dict[Name, str] = field(default_factory=dict)
    """How each account authenticates."""

    def add(self, row: Row, *right: object) -> None:
        self.rights.setdefault((row["user"], row.get("host", "")), set()).add(tuple(map(str, right)))


def everything(server: MySQLServer, *, mariadb: bool) -> Everything:
    """Read what everybody may do from the tables of the schema mysql."""
    found = Everything()
    with closing(server.connect()) as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:

        def rows(table: str) -> Iterable[Row]:
            cursor.execute(f"SELECT * FROM mysql.{table}")
            return [{key.lower(): _plain(value) for key, value in row.items()} for row in cursor.fetchall()]

        for row in rows("global_priv" if mariadb else "user"):
            (_account_of_mariadb if mariadb else _account_of_mysql)(found, row)
        for row in rows("db"):
            for column, value in row.items():
                if column.endswith("_priv") and value == "Y":
                    found.add(row, "db", row["db"], column)
        for table, place in _PLACES.items():
            for row in rows(table):
                for privilege in filter(None, row[place[-1]].split(",")):
                    found.add(_mended(row), table, *(row[column] for column in place[:-1]), privilege)
        for row in rows("proxies_priv"):
            found.add(row, "proxy", row["proxied_user"], row["proxied_host"], row["with_grant"])
        _lent(found, rows, mariadb=mariadb)
    return found


def _lent(found: Everything, rows: Callable[[str], Iterable[Row]], *, mariadb: bool) -> None:
    if mariadb:
        for row in rows("roles_mapping"):
            found.add(row, "role", row["role"], row["admin_option"])
        return
    for row in rows("global_grants"):
        found.add(row, "global", row["priv"], row["with_grant_option"])
    for row in rows("role_edges"):
        to = {"user": row["to_user"], "host": row["to_host"]}
        found.add(to, "role", row["from_user"], row["from_host"], row["with_admin_option"])


def _mended(row: Row) -> Row:
    """MySQL 9 writes the user's name into procs_priv in UTF-8 that it takes for Latin-1."""
    try:
        return {**row, "user": row["user"].encode("cp1252").decode()}
    except UnicodeError:
        return row


_PLACES = {
    "tables_priv": ("db", "table_name", "table_priv"),
    "columns_priv": ("db", "table_name", "column_name", "column_priv"),
    "procs_priv": ("db", "routine_name", "routine_type", "proc_priv"),
}


def _account_of_mariadb(found: Everything, row: Row) -> None:
    name, kept = (row["user"], row["host"]), json.loads(row["priv"])
    found.rights.setdefault(name, set()).update(
        ("global", str(bit)) for bit in range(64) if kept.get("access", 0) >> bit & 1
    )
    found.ways_in[name] = json.dumps(
        [kept.get(key) for key in ("plugin", "authentication_string", "auth_or")]
    )


def _account_of_mysql(found: Everything, row: Row) -> None:
    name, attributes = (row["user"], row["host"]), json.loads(row["user_attributes"] or "{}")
    found.rights.setdefault(name, set()).update(
        ("global", column) for column, value in row.items() if column.endswith("_priv") and value == "Y"
    )
    found.ways_in[name] = (
        f"{row['plugin']} {row['authentication_string']} {attributes.get('additional_password')}"
    )
    found.withheld[name] = {
        (one["Database"], privilege)
        for one in attributes.get("Restrictions", [])
        for privilege in one["Privileges"]
    }


def gains(scene: Scene, before: Everything, after: Everything, *, twins: bool) -> list[str]:
    """Return, in words, what anybody may do now and should not."""
    changing = {scene.user, scene.twin} if twins else {scene.user}
    found = [f"{name} is new" for name in after.rights.keys() - before.rights.keys() - changing]
    for name, rights in after.rights.items():
        allowed = before.rights.get(name, set()) | (before.rights[scene.user] if name in changing else set())
        found += [f"{name} has gained {right}" for right in rights - allowed]
        lapsed = before.withheld.get(name, set()) - after.withheld.get(name, set())
        if name != scene.twin:
            found += [f"{name} has lost the revoke {one}" for one in lapsed]
        if name not in changing and after.ways_in.get(name) != before.ways_in.get(name):
            found.append(f"{name} authenticates otherwise")
    return found + (_of_the_twin(scene, before, after) if twins else [])


def _of_the_twin(scene: Scene, before: Everything, after: Everything) -> list[str]:
    user, twin, found = scene.user, scene.twin, list[str]()
    held, model = before.rights.get(twin, set()), before.rights[user]
    if twin in before.ways_in and after.ways_in[twin] != before.ways_in[twin]:
        found += [f"the twin was taken with its {right}" for right in held if not _covered(model, right)]
        lent = [name for name, rights in before.rights.items() if _uses(rights, twin)]
        found += [f"the twin was taken while {name} may act as it" for name in lent]
    everywhere = {right[1] for right in after.rights.get(twin, set()) - held if right[0] == "global"}
    lacking = before.withheld.get(user, set()) - after.withheld.get(twin, set())
    return found + [
        f"the twin lacks the revoke {one}" for one in lacking if f"{one[1].lower()}_priv" in everywhere
    ]


def _uses(rights: set[Right], twin: Name) -> bool:
    return any(right[0] in {"role", "proxy"} and right[1:3] == twin for right in rights)


def _covered(model: set[Right], right: Right) -> bool:
    return right in model or ("global", right[-1]) in model


def _plain(value: object) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
