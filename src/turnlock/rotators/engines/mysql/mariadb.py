"""MariaDB as an engine.

MariaDB writes statements into its logs as they come, so a password is sent as the hash that mysql_native_password keeps. Only a
server that demands to see new passwords (a validation plugin, with strict_password_validation) gets it in clear, and its
general log, if it keeps one, with it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pymysql
from pymysql.constants import ER

from turnlock.rotators.engines.engine import Account, Twin
from turnlock.rotators.engines.mysql.grants import identifier
from turnlock.rotators.engines.mysql.policies import policies
from turnlock.rotators.engines.mysql.rehearsal import Rehearsing
from turnlock.rotators.engines.mysql.session import Connection, account_name, run
from turnlock.rotators.engines.mysql.twins import copy_rights, located, require_own, twin_account

_NATIVE = "mysql_native_password"

_NOT_APPLICABLE = 1699
"""ER_SET_PASSWORD_AUTH_PLUGIN: of several ways to authenticate, one has no password. The others are changed all the same."""

_PREVENTED = 1290
"""ER_OPTION_PREVENTS_STATEMENT: what strict_password_validation says to a hash."""


class MariaDB(Rehearsing):
    """The engine of `mariadb` secrets whose accounts authenticate by mysql_native_password, MariaDB's own default.

    PyMySQL does ed25519 only with PyNaCl's primitives, which are not used here: an account that has no other way is Refused, with
    that reason.
    """

    names = frozenset({"mariadb"})
    longest_username = 80

    def set_password(
        self, connection: Connection, username: str, password: str, confirm: Callable[[], None]
    ) -> None:
        """Change the session's own password."""
        with self.exclusively(connection, username, confirm):
            try:
                _with_hash_or_clear(connection, "SET PASSWORD = {}", (), [password])
            except pymysql.err.Error as error:
                if not (error.args and error.args[0] == _NOT_APPLICABLE and _is_set(connection, password)):
                    raise

    def renew_twin(self, connection: Connection, twin: Twin, confirm: Callable[[], None]) -> None:
        """Make the twin, locked, when there is none; copy what its model may; then set the password and unlock it."""
        with self.exclusively(connection, twin.username, confirm):
            twin = replace(twin, model=located(connection, twin.model))
            require_own(connection, twin)
            account = twin_account(twin)
            name = account_name(account)
            create = f"CREATE USER IF NOT EXISTS %s@%s IDENTIFIED VIA {_NATIVE} USING {{}} ACCOUNT LOCK"
            # Another password than the twin's: a server that remembers passwords (password_reuse_check) takes none twice.
            _with_hash_or_clear(connection, create, name, [twin.password + secrets.token_hex(8)])
            copy_rights(connection, twin)
            clause, values = policies(connection, twin.model)
            run(connection, f"ALTER USER %s@%s {clause}", *name, *values)
            others = _other_ways(connection, account)
            if others and not twin.is_proven():
                others = []
            renew = f"ALTER USER %s@%s {_identified(others, 1)} ACCOUNT UNLOCK"
            _with_hash_or_clear(connection, renew, name, [twin.password], others)

    def add_password(
        self, connection: Connection, account: Account, password: str, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Let the account in by either password (MariaDB ≥ 10.4, "Authentication from MariaDB 10.4"); needs a master user."""
        self._identify(connection, account, [password, kept], confirm)

    def discard_password(
        self, connection: Connection, account: Account, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Make the account accept `kept` and no other password."""
        self._identify(connection, account, [kept], confirm)

    def _identify(
        self, connection: Connection, account: Account, passwords: Sequence[str], confirm: Callable[[], None]
    ) -> None:
        """Set the account's passwords; its ways in without one stay."""
        with self.exclusively(connection, account.user, confirm):
            account = located(connection, account)
            others = _other_ways(connection, account)
            statement = f"ALTER USER %s@%s {_identified(others, len(passwords))}"
            _with_hash_or_clear(connection, statement, account_name(account), passwords, others)


Way = tuple[str, str]
"""A plugin beside mysql_native_password, and what it keeps of the account."""


def _other_ways(connection: Connection, account: Account) -> list[Way]:
    """Return an account's ways to authenticate beside mysql_native_password, in their order (`a OR b`)."""
    query = "SELECT priv FROM mysql.global_priv WHERE user = %s AND host = %s"
    rows = run(connection, query, *account_name(account))
    kept: Mapping[str, Any] = json.loads(rows[0][0]) if rows else {}
    # Where there are several, an empty object stands in the place of the one that the row itself names.
    ways = [way or kept for way in kept.get("auth_or", [kept])]
    found = [(str(way.get("plugin", "")), str(way.get("authentication_string", ""))) for way in ways]
    return [way for way in found if way[0] not in {"", _NATIVE}]


def _identified(others: Sequence[Way], passwords: int) -> str:
    """Return the clause for so many passwords and the other ways; `{}` is a password's place, then come the others' texts."""
    ways = [f"{_NATIVE} USING {{}}"] * passwords
    # A plugin's name is quoted, and so are braces in it; what it keeps is a value.
    ways += [
        identifier(plugin).replace("{", "{{").replace("}", "}}").replace("%", "%%") + " USING %s" * bool(text)
        for plugin, text in others
    ]
    return f"IDENTIFIED VIA {' OR '.join(ways)}"


def _is_set(connection: Connection, password: str) -> bool:
    """Tell whether the session's account has this password now."""
    ((text,),) = run(connection, "SHOW CREATE USER CURRENT_USER()")
    return f" {_NATIVE} USING '{native_hash(password)}'" in str(text)


def native_hash(password: str) -> str:
    """Return what mysql_native_password keeps: SHA-1 twice, in upper-case hexadecimal (MySQL Internals, "Secure Password")."""
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def _with_hash_or_clear(
    connection: Connection,
    statement: str,
    name: Sequence[str],
    passwords: Sequence[str],
    others: Sequence[Way] = (),
) -> None:
    """Run a statement whose `{}` are passwords: as hashes, or in clear where the server wants to judge them."""
    holes = len(passwords)
    texts = [text for _, text in others if text]
    try:
        with _told_by_its_cause(connection):
            hashes = map(native_hash, passwords)
            run(connection, statement.format(*["%s"] * holes), *name, *hashes, *texts)
    except pymysql.err.Error as error:
        if not error.args or error.args[0] != _PREVENTED or "strict" not in str(error.args[-1]):
            raise
        with _told_by_its_cause(connection):
            run(connection, statement.format(*["PASSWORD(%s)"] * holes), *name, *passwords, *texts)


@contextmanager
def _told_by_its_cause(connection: Connection) -> Iterator[None]:
    """Raise what the server names before "Operation ALTER USER failed", which says nothing."""
    try:
        yield
    except pymysql.err.OperationalError as error:
        if error.args[0] != ER.CANNOT_USER:
            raise
        causes = [
            (code, words) for level, code, words in run(connection, "SHOW WARNINGS") if level == "Error"
        ]
        raise pymysql.err.OperationalError(*(causes or [error.args])[0]) from None
