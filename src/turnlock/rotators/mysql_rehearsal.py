"""What MySQL and MariaDB are asked before a password change; every statement is a SELECT or a SHOW."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pymysql
from pymysql.constants import ER

from turnlock.rotators.engine import Account
from turnlock.rotators.mysql_family import Connection, MySQLFamily, account_name, reporting, run
from turnlock.rotators.mysql_twins import twin_account
from turnlock.rotators.passwords import PasswordRules
from turnlock.rotators.rehearsal import Change, Finding, Outcome

_EVERYTHING = re.compile(r"GRANT ALL PRIVILEGES ON \*\.\* .*WITH GRANT OPTION")
_HANDS_ON = re.compile(r"GRANT .* ON \*\.\* .*WITH GRANT OPTION")


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
    grants = [str(row[0]) for row in run(connection, "SHOW GRANTS")]
    if by_master:
        yield from _master(connection, change, grants)
    else:
        yield from _own(account, change, grants, mariadb=_is_mariadb(connection))


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


def _own(account: Account, change: Change, grants: list[str], *, mariadb: bool) -> Iterator[Finding]:
    yield Finding(
        "host part", Outcome.OK, f"the account is {'@'.join(account_name(account))}, and it alone changes"
    )
    if not change.keeps_old:
        yield Finding("privileges", Outcome.OK, "an account may change its own password")
    elif mariadb:
        yield Finding(
            "privileges", Outcome.PROBLEM, "two passwords on MariaDB need a master user (masterarn)"
        )
    elif any("APPLICATION_PASSWORD_ADMIN" in grant or _EVERYTHING.search(grant) for grant in grants):
        yield Finding("privileges", Outcome.OK, "the account may keep two passwords")
    else:
        yield Finding("privileges", Outcome.PROBLEM, "the account lacks APPLICATION_PASSWORD_ADMIN")


def _master(connection: Connection, change: Change, grants: list[str]) -> Iterator[Finding]:
    all_of_it = any(_EVERYTHING.search(grant) for grant in grants)
    creates = any("CREATE USER" in grant and " ON *.* " in grant for grant in grants)
    if not (all_of_it or creates):
        yield Finding("privileges", Outcome.PROBLEM, "the master user has no CREATE USER")
    elif change.twin is not None and not (all_of_it or any(_HANDS_ON.search(grant) for grant in grants)):
        yield Finding("privileges", Outcome.PROBLEM, "the master user cannot hand rights on (GRANT OPTION)")
    else:
        yield Finding("privileges", Outcome.OK, "the master user may make and change the account")
    if change.twin is not None:
        yield from _twin(connection, change, twin_account(change.twin))


def _twin(connection: Connection, change: Change, name: Account) -> Iterator[Finding]:
    try:
        rows = run(connection, "SELECT host FROM mysql.user WHERE user = %s", change.username)
    except pymysql.err.OperationalError as error:
        if error.args[0] != ER.TABLEACCESS_DENIED_ERROR:
            raise
        yield Finding("twin", Outcome.PROBLEM, "the master user may not read the table mysql.user (SELECT)")
        return
    hosts = [str(row[0]) for row in rows]
    there = name.host in hosts
    state = "is there" if there else "is not there yet and would be made"
    yield Finding("twin", Outcome.OK, f"{'@'.join(account_name(name))} {state}")
    if others := sorted(set(hosts) - {name.host}):
        yield Finding(
            "host part",
            Outcome.WARNING,
            f"{change.username} has accounts for other hosts too: {', '.join(map(str, others))}",
        )


def _is_mariadb(connection: Connection) -> bool:
    ((version,),) = run(connection, "SELECT VERSION()")
    return "MariaDB" in str(version)
