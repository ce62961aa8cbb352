"""MySQL and Aurora MySQL as an engine.

The new password goes to the server in a statement, over TLS: an account that changes its own password may not send a hash, and
a hash would pass by the server's password policy. MySQL itself keeps it out of its general, slow and binary logs (reference
manual, "Passwords and Logging").
"""

from __future__ import annotations

from collections.abc import Callable

import pymysql

from turnlock.rotators.engine import Account, Twin
from turnlock.rotators.mysql_family import Connection, account_name, run
from turnlock.rotators.mysql_rehearsal import Rehearsing
from turnlock.rotators.mysql_twins import copy_rights, demands, twin_account

_MISSING_CURRENT = 3892
"""ER_MISSING_CURRENT_PASSWORD: the account's policy wants the old password to be named (PASSWORD REQUIRE CURRENT)."""


class MySQL(Rehearsing):
    """The engine of `mysql` and `aurora-mysql` secrets: caching_sha2_password, sha256_password and mysql_native_password."""

    names = frozenset({"mysql", "aurora-mysql"})

    def set_password(
        self, connection: Connection, username: str, password: str, confirm: Callable[[], None]
    ) -> None:
        """Change the session's own password; the account keeps its way to authenticate."""
        with self.exclusively(connection, username, confirm):
            _set_own(connection, password)

    def renew_twin(self, connection: Connection, twin: Twin, confirm: Callable[[], None]) -> None:
        """Make the twin, locked, when there is none; copy what its model may; then set the password and unlock it."""
        name = account_name(twin_account(twin))
        with self.exclusively(connection, twin.username, confirm):
            query = "SELECT plugin FROM mysql.user WHERE user = %s AND host = %s"
            plugin = "".join(str(row[0]) for row in run(connection, query, *account_name(twin.model)))
            identified = (
                f"IDENTIFIED WITH `{plugin.replace('`', '``')}` BY %s" if plugin else "IDENTIFIED BY %s"
            )
            run(
                connection,
                f"CREATE USER IF NOT EXISTS %s@%s {identified} ACCOUNT LOCK",
                *name,
                twin.password,
            )
            copy_rights(connection, twin)
            _copy_default_roles(connection, twin)
            clause, values = demands(connection, twin.model)
            run(connection, f"ALTER USER %s@%s {clause}", *name, *values)
            run(connection, f"ALTER USER %s@%s {identified} ACCOUNT UNLOCK", *name, twin.password)

    def add_password(
        self, connection: Connection, account: Account, password: str, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Make `password` the first and `kept` the second one (MySQL ≥ 8.0.14, "Dual Password Support").

        The server keeps whichever is the first as the second, and nobody can ask it which one that is: an earlier attempt
        that was given up may have left another there. So `kept` is made the first one before. A session of the account
        itself needs the privilege APPLICATION_PASSWORD_ADMIN.
        """
        own = self.account(connection) == account
        with self.exclusively(connection, account.user, confirm):
            for word in (kept, password):
                if own:
                    run(connection, "ALTER USER USER() IDENTIFIED BY %s RETAIN CURRENT PASSWORD", word)
                else:
                    run(
                        connection,
                        "ALTER USER %s@%s IDENTIFIED BY %s RETAIN CURRENT PASSWORD",
                        *account_name(account),
                        word,
                    )

    def discard_password(
        self, connection: Connection, account: Account, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Make the account accept `kept` and nothing else."""
        own = self.account(connection) == account
        who, name = ("USER()", ()) if own else ("%s@%s", account_name(account))
        with self.exclusively(connection, account.user, confirm):
            run(connection, f"ALTER USER {who} IDENTIFIED BY %s", *name, kept)
            run(connection, f"ALTER USER {who} DISCARD OLD PASSWORD", *name)


def _set_own(connection: Connection, password: str) -> None:
    try:
        run(connection, "SET PASSWORD = %s", password)
    except pymysql.err.Error as error:
        if not error.args or error.args[0] != _MISSING_CURRENT:
            raise
        run(connection, "SET PASSWORD = %s REPLACE %s", password, bytes(connection.password).decode())


def _copy_default_roles(connection: Connection, twin: Twin) -> None:
    query = (
        "SELECT default_role_user, default_role_host FROM mysql.default_roles WHERE user = %s AND host = %s"
    )
    roles = run(connection, query, *account_name(twin.model))
    if roles:
        places = ", ".join("%s@%s" for _ in roles)
        halves = [half for role in roles for half in role]
        run(connection, f"ALTER USER %s@%s DEFAULT ROLE {places}", *account_name(twin_account(twin)), *halves)
