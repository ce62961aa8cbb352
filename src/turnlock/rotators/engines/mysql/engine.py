"""MySQL and Aurora MySQL as an engine.

The new password goes to the server in a statement, over TLS: an account that changes its own password may not send a hash, and
a hash would pass by the server's password policy. MySQL itself keeps it out of its general, slow and binary logs (reference
manual, "Passwords and Logging").
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pymysql

from turnlock.rotators.engines.engine import Account, Twin
from turnlock.rotators.engines.mysql.grants import UnreadableGrant, identifier, words_of
from turnlock.rotators.engines.mysql.policies import history, policies
from turnlock.rotators.engines.mysql.rehearsal import Rehearsing
from turnlock.rotators.engines.mysql.session import Connection, account_name, reporting, run
from turnlock.rotators.engines.mysql.twins import copy_rights, located, require_own, twin_account

_MISSING_CURRENT = 3892
"""ER_MISSING_CURRENT_PASSWORD: the account's policy wants the old password to be named (PASSWORD REQUIRE CURRENT)."""

_IN_HISTORY = 3638
"""ER_CREDENTIALS_CONTRADICT_TO_HISTORY: the password was this account's before (PASSWORD HISTORY, PASSWORD REUSE INTERVAL)."""

_NO_HISTORY = "PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY"


class MySQL(Rehearsing):
    """The engine of `mysql` and `aurora-mysql` secrets: caching_sha2_password, sha256_password and mysql_native_password."""

    names = frozenset({"mysql", "aurora-mysql"})

    def set_password(
        self, connection: Connection, username: str, password: str, confirm: Callable[[], None]
    ) -> None:
        """Change the session's own password; the account keeps its way to authenticate."""
        with self.exclusively(connection, username, confirm):
            _set_own(connection, password)

    def account(self, connection: Connection) -> Account:
        """Return the account that the login was matched with, and after how many failed logins it is locked."""
        account = super().account(connection)
        if connection.expired:
            return account
        with reporting(connection, "The query failed"):
            return replace(account, locks_after=_locks_after(connection))

    def renew_twin(self, connection: Connection, twin: Twin, confirm: Callable[[], None]) -> None:
        """Make the twin, locked, when there is none; copy what its model may; then set the password and unlock it."""
        with self.exclusively(connection, twin.username, confirm):
            twin = replace(twin, model=located(connection, twin.model))
            require_own(connection, twin)
            name = account_name(twin_account(twin))
            identified = _identified(connection, twin.model)
            first = f"{twin.password}-"  # another one than the last statement's: a password history may refuse that
            run(connection, f"CREATE USER IF NOT EXISTS %s@%s {identified} ACCOUNT LOCK", *name, first)
            # A second password that somebody else has set would let them in as the model.
            run(connection, "ALTER USER %s@%s DISCARD OLD PASSWORD", *name)
            copy_rights(connection, twin)
            _copy_default_roles(connection, twin)
            clause, values = policies(connection, twin.model)
            run(connection, f"ALTER USER %s@%s {clause}", *name, *values)
            statement = f"ALTER USER %s@%s {identified}"
            try:
                run(connection, f"{statement} ACCOUNT UNLOCK", *name, twin.password)
            except pymysql.err.Error as error:
                if not _is(error, _IN_HISTORY):
                    raise
                run(connection, f"{statement} {_NO_HISTORY} ACCOUNT UNLOCK", *name, twin.password)
                run(connection, f"ALTER USER %s@%s {clause}", *name, *values)

    def add_password(
        self, connection: Connection, account: Account, password: str, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Make `password` the first and `kept` the second one (MySQL ≥ 8.0.14, "Dual Password Support").

        The server keeps whichever is the first as the second, and nobody can ask it which one that is: an earlier attempt
        that was given up may have left another there. So `kept` is made the first one before. A session of the account
        itself needs the privilege APPLICATION_PASSWORD_ADMIN.
        """
        with self.exclusively(connection, account.user, confirm):
            who = _Changed.by(connection, account, own=self.account(connection) == account)
            for word in (kept, password):
                who.make_first(word, "RETAIN CURRENT PASSWORD")

    def discard_password(
        self, connection: Connection, account: Account, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Make the account accept `kept` and nothing else."""
        with self.exclusively(connection, account.user, confirm):
            who = _Changed.by(connection, account, own=self.account(connection) == account)
            who.make_first(kept, "")
            who.run("DISCARD OLD PASSWORD")


class _Changed:
    """An account whose passwords are changed, by itself or by a master user."""

    def __init__(self, connection: Connection, words: str, name: tuple[str, ...]) -> None:
        self._connection = connection
        self._words = words
        self._name = name

    @classmethod
    def by(cls, connection: Connection, account: Account, *, own: bool) -> _Changed:
        """Name the account as its own session must, or as a master user's does."""
        if own:
            return cls(connection, "USER()", ())
        return cls(connection, "%s@%s", account_name(located(connection, account)))

    def run(self, clause: str, *values: str) -> None:
        """Run an ALTER USER statement."""
        run(self._connection, f"ALTER USER {self._words} {clause}", *self._name, *values)

    def make_first(self, word: str, retaining: str) -> None:
        """Set the first password, one that it had before too: a master user lifts the password history for that statement."""
        clause = f"IDENTIFIED BY %s {retaining}"
        try:
            self.run(clause, word)
        except pymysql.err.Error as error:
            if not (_is(error, _IN_HISTORY) and self._name):
                raise
            kept = history(self._connection, Account(user=self._name[0], host=self._name[1]))
            self.run(f"{clause} {_NO_HISTORY}", word)
            self.run(kept)


def _set_own(connection: Connection, password: str) -> None:
    """Change the session's own password; one that has expired names the old one: no lock keeps a late attempt from it."""
    named = ("SET PASSWORD = %s REPLACE %s", password, bytes(connection.password).decode())
    if connection.expired:
        run(connection, *named)
        return
    try:
        run(connection, "SET PASSWORD = %s", password)
    except pymysql.err.Error as error:
        if not _is(error, _MISSING_CURRENT):
            raise
        run(connection, *named)


def _identified(connection: Connection, model: Account) -> str:
    """Return the clause that gives an account its password and the model's way to authenticate."""
    query = "SELECT plugin FROM mysql.user WHERE user = %s AND host = %s"
    rows = run(connection, query, *account_name(model))
    return f"IDENTIFIED WITH {identifier(str(rows[0][0]))} BY %s" if rows else "IDENTIFIED BY %s"


def _locks_after(connection: Connection) -> int | None:
    """Return how many failed logins in a row lock the session's account; 1 where the server's words cannot be read."""
    try:
        ((text,),) = run(connection, "SHOW CREATE USER CURRENT_USER()")
        words = words_of(str(text))
    except (UnreadableGrant, ValueError):
        return 1
    following = dict(itertools.pairwise(words))
    return int(following.get("FAILED_LOGIN_ATTEMPTS", "0")) or None


def _copy_default_roles(connection: Connection, twin: Twin) -> None:
    query = (
        "SELECT default_role_user, default_role_host FROM mysql.default_roles WHERE user = %s AND host = %s"
    )
    roles = run(connection, query, *account_name(twin.model))
    if roles:
        places = ", ".join("%s@%s" for _ in roles)
        halves = [half for role in roles for half in role]
        run(connection, f"ALTER USER %s@%s DEFAULT ROLE {places}", *account_name(twin_account(twin)), *halves)


def _is(error: pymysql.err.Error, number: int) -> bool:
    return bool(error.args) and error.args[0] == number
