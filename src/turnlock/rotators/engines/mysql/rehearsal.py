"""What MySQL and MariaDB are asked before a password change; every statement is a SELECT or a SHOW."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pymysql
from pymysql.constants import ER

from turnlock.rotators.engines.engine import Account, DatabaseFailed, Twin
from turnlock.rotators.engines.mysql.family import MySQLFamily
from turnlock.rotators.engines.mysql.grants import Right, UnreadableGrant, read_all, words_of
from turnlock.rotators.engines.mysql.session import Connection, account_name, reporting, run
from turnlock.rotators.engines.mysql.twins import foreign, located, twin_account
from turnlock.rotators.passwords import PasswordRules
from turnlock.rotators.rehearsal import Change, Finding, Outcome

_NATIVE = "mysql_native_password"


class Rehearsing(MySQLFamily):
    """What makes an engine of the family one that can be asked beforehand."""

    def rehearse(self, connection: Connection, change: Change, *, by_master: bool) -> list[Finding]:
        """Look whether the session could make the change, by SELECT and SHOW alone."""
        with reporting(connection, "The look failed"):
            return list(look(connection, change, self.account(connection), by_master=by_master))


def look(connection: Connection, change: Change, account: Account, *, by_master: bool) -> Iterator[Finding]:
    """Yield what the server says; PyMySQL's errors when it does not."""
    yield from _server(connection)
    yield from _policy(connection, change.rules)
    if change.keeps_old and change.twin is None and connection.is_mariadb:
        yield from _reuse(connection)
    try:
        rights = read_all(str(row) for (row,) in run(connection, "SHOW GRANTS"))
    except UnreadableGrant as error:
        raise DatabaseFailed(f"The session's rights could not be read: {error}.") from None
    if by_master:
        yield from _master(connection, change, rights)
    else:
        yield from _own(connection, account, change, rights)


def _server(connection: Connection) -> Iterator[Finding]:
    rows = run(connection, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'super_read_only')")
    on = sorted(str(name) for name, value in rows if str(value).upper() not in {"OFF", "0"})
    if on:
        yield Finding("server", Outcome.PROBLEM, f"{on[0]} is on: it takes no password")
    else:
        yield Finding("server", Outcome.OK, "it takes writes")


def _policy(connection: Connection, rules: PasswordRules) -> Iterator[Finding]:
    """Compare what the server demands of a password with what would be made."""
    found: dict[str, str] = {}
    for pattern in ("validate_password%", "simple_password_check%", "cracklib_password_check%"):
        rows = run(connection, "SHOW GLOBAL VARIABLES LIKE %s", pattern)
        found |= {
            str(name).replace("validate_password_", "validate_password."): str(value) for name, value in rows
        }
    least = max(
        (int(value) for name, value in found.items() if name.endswith(("length", "minimal_length"))),
        default=0,
    )
    if least > rules.length:
        yield Finding(
            "password policy",
            Outcome.PROBLEM,
            f"the server wants {least} characters; {rules.length} would be made",
        )
    elif missing := _unmet(found, rules):
        yield Finding(
            "password policy", Outcome.PROBLEM, f"the server wants {missing}, which the function leaves out"
        )
    elif found:
        yield Finding("password policy", Outcome.OK, "the new password would meet the server's policy")
    else:
        yield Finding("password policy", Outcome.OK, "nothing judges new passwords")


def _reuse(connection: Connection) -> Iterator[Finding]:
    """Look for what keeps two passwords from an account: MariaDB's ALTER USER sets the first one again beside the second."""
    query = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('password_reuse_check_interval', 'strict_password_validation')"
    found = {str(name): str(value) for name, value in run(connection, query)}
    if "password_reuse_check_interval" in found and found.get("strict_password_validation") == "ON":
        words = "password_reuse_check lets no password be set again, so there cannot be two: use alternating users"
        yield Finding("password policy", Outcome.PROBLEM, words)


def _unmet(found: dict[str, str], rules: PasswordRules) -> str | None:
    """Return what the policy demands and the rules leave out."""
    wanted = {name for name, value in found.items() if value.isdigit() and int(value) > 0}
    leaves_out = {
        "digits": (rules.no_numbers, ("number_count", "_digits")),
        "letters of both cases": (
            rules.no_lowercase or rules.no_uppercase,
            ("mixed_case_count", "letters_same_case"),
        ),
        "punctuation": (rules.no_punctuation, ("special_char_count", "other_characters")),
    }
    return next(
        (
            what
            for what, (left_out, endings) in leaves_out.items()
            if left_out and any(name.endswith(endings) for name in wanted)
        ),
        None,
    )


def _own(connection: Connection, account: Account, change: Change, rights: set[Right]) -> Iterator[Finding]:
    yield Finding(
        "host part", Outcome.OK, f"the account is {'@'.join(account_name(account))}, and it alone changes"
    )
    if account.locks_after is not None and not change.keeps_old:
        words = f"{account.locks_after} failed logins in a row lock the account: applications that still try the old password"
        yield Finding("failed logins", Outcome.WARNING, f"{words} right after the change can do that")
    if connection.is_mariadb and change.keeps_old:
        words = "two passwords on MariaDB need a master user (masterarn)"
        yield Finding("privileges", Outcome.PROBLEM, words)
    elif connection.is_mariadb:
        yield from _ways(connection)
    elif not change.keeps_old:
        yield Finding("privileges", Outcome.OK, "an account may change its own password")
    elif _may(rights, "APPLICATION_PASSWORD_ADMIN"):
        yield Finding("privileges", Outcome.OK, "the account may keep two passwords")
    else:
        yield Finding("privileges", Outcome.PROBLEM, "the account lacks APPLICATION_PASSWORD_ADMIN")


def _ways(connection: Connection) -> Iterator[Finding]:
    """Look at an account of MariaDB's that has several ways to authenticate."""
    ((text,),) = run(connection, "SHOW CREATE USER CURRENT_USER()")
    words = words_of(str(text).partition(" REQUIRE ")[0].partition(" WITH ")[0])
    others = sorted({after for word, after in itertools.pairwise(words) if word in {"VIA", "OR"}} - {_NATIVE})
    yield Finding("privileges", Outcome.OK, "an account may change its own password")
    if others:
        what = f"the account authenticates by {', '.join(others)} too: only the password of {_NATIVE} changes"
        yield Finding("authentication", Outcome.WARNING, what)


def _master(connection: Connection, change: Change, rights: set[Right]) -> Iterator[Finding]:
    hands_on = any(right.option and not right.place for right in rights)
    if not _may(rights, "CREATE USER"):
        yield Finding("privileges", Outcome.PROBLEM, "the master user has no CREATE USER")
    elif change.twin is not None and not hands_on:
        yield Finding("privileges", Outcome.PROBLEM, "the master user cannot hand rights on (GRANT OPTION)")
    else:
        yield Finding("privileges", Outcome.OK, "the master user may make and change the account")
    if change.twin is not None:
        yield from _twin(connection, change, change.twin)


def _may(rights: set[Right], privilege: str) -> bool:
    return any(right.privilege in {privilege, "ALL PRIVILEGES"} and not right.place for right in rights)


def _twin(connection: Connection, change: Change, twin: Twin) -> Iterator[Finding]:
    try:
        twin = replace(twin, model=located(connection, twin.model))
        rows = run(connection, "SELECT host FROM mysql.user WHERE user = %s", change.username)
        found = foreign(connection, twin)
    except pymysql.err.OperationalError as error:
        if error.args[0] != ER.TABLEACCESS_DENIED_ERROR:
            raise
        yield Finding("twin", Outcome.PROBLEM, "the master user may not read the table mysql.user (SELECT)")
        return
    hosts, name = [str(row[0]) for row in rows], twin_account(twin)
    there = name.host in hosts
    state = "is there" if there else "is not there yet and would be made"
    shown = "@".join(account_name(name))
    if found and not twin.is_proven():
        words = f"{shown} is there, AWSPREVIOUS does not log in as it, and it is more than the model: {', '.join(found)}"
        yield Finding("twin", Outcome.PROBLEM, words)
    else:
        yield Finding("twin", Outcome.OK, f"{shown} {state}")
    if others := sorted(set(hosts) - {name.host}):
        yield Finding(
            "host part",
            Outcome.WARNING,
            f"{change.username} has accounts for other hosts too: {', '.join(map(str, others))}",
        )
