"""MariaDB as an engine.

MariaDB writes statements into its logs as they come, so a password is sent as the hash that mysql_native_password keeps. Only a
server that demands to see new passwords (a validation plugin, with strict_password_validation) gets it in clear, and its
general log, if it keeps one, with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pymysql

from turnlock.rotators.engine import Account, Twin
from turnlock.rotators.mysql_family import Connection, account_name, run
from turnlock.rotators.mysql_rehearsal import Rehearsing
from turnlock.rotators.mysql_twins import copy_rights, demands, twin_account

_PREVENTED = 1290
"""ER_OPTION_PREVENTS_STATEMENT: what strict_password_validation says to a hash."""


class MariaDB(Rehearsing):
    """The engine of `mariadb` secrets whose accounts authenticate by mysql_native_password, MariaDB's own default.

    PyMySQL does ed25519 only with PyNaCl's primitives, which are not used here: such an account is Unreachable, with that reason.
    """

    names = frozenset({"mariadb"})
    longest_username = 80

    def set_password(
        self, connection: Connection, username: str, password: str, confirm: Callable[[], None]
    ) -> None:
        """Change the session's own password."""
        with self.exclusively(connection, username, confirm):
            _with_hash_or_clear(connection, "SET PASSWORD = {}", (), [password])

    def renew_twin(self, connection: Connection, twin: Twin, confirm: Callable[[], None]) -> None:
        """Make the twin, locked, when there is none; copy what its model may; then set the password and unlock it."""
        name = account_name(twin_account(twin))
        with self.exclusively(connection, twin.username, confirm):
            create = (
                "CREATE USER IF NOT EXISTS %s@%s IDENTIFIED VIA mysql_native_password USING {} ACCOUNT LOCK"
            )
            _with_hash_or_clear(connection, create, name, [twin.password])
            copy_rights(connection, twin)
            clause, values = demands(connection, twin.model)
            run(connection, f"ALTER USER %s@%s {clause}", *name, *values)
            renew = "ALTER USER %s@%s IDENTIFIED VIA mysql_native_password USING {} ACCOUNT UNLOCK"
            _with_hash_or_clear(connection, renew, name, [twin.password])

    def add_password(
        self, connection: Connection, account: Account, password: str, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Let the account in by either password (MariaDB ≥ 10.4, "Authentication from MariaDB 10.4"); needs a master user."""
        native = "mysql_native_password USING {}"
        statement = f"ALTER USER %s@%s IDENTIFIED VIA {native} OR {native}"
        with self.exclusively(connection, account.user, confirm):
            _with_hash_or_clear(connection, statement, account_name(account), [password, kept])

    def discard_password(
        self, connection: Connection, account: Account, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Make the account accept `kept` and nothing else."""
        statement = "ALTER USER %s@%s IDENTIFIED VIA mysql_native_password USING {}"
        with self.exclusively(connection, account.user, confirm):
            _with_hash_or_clear(connection, statement, account_name(account), [kept])


def native_hash(password: str) -> str:
    """Return what mysql_native_password keeps: SHA-1 twice, in upper-case hexadecimal (MySQL Internals, "Secure Password")."""
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def _with_hash_or_clear(
    connection: Connection, statement: str, name: Sequence[str], passwords: Sequence[str]
) -> None:
    """Run a statement whose `{}` are passwords: as hashes, or in clear where the server wants to judge them."""
    holes = statement.count("{}")
    try:
        run(connection, statement.format(*["%s"] * holes), *name, *map(native_hash, passwords))
    except pymysql.err.Error as error:
        if not error.args or error.args[0] != _PREVENTED or "strict" not in str(error.args[-1]):
            raise
        run(connection, statement.format(*["PASSWORD(%s)"] * holes), *name, *passwords)
