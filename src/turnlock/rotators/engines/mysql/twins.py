"""Two accounts of MySQL's family that may do the same: what a model was granted, for its twin.

The master user's statements run here in a database that others shape. What the server says is read into values
(`mysql_grants`), never sent back as it came; a twin gets only what it lacks; and an account that is there already and is not
proven to be this secret's (`Twin.is_proven`) is taken only when it may do nothing that the model may not, by itself or lent by others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pymysql
from pymysql.constants import ER

from turnlock.rotators.engines.engine import Account, DatabaseFailed, Twin
from turnlock.rotators.engines.mysql.grants import (
    Grants,
    Right,
    UnreadableGrant,
    excess,
    granting,
    missing,
    quoted,
    read,
    withholding,
)
from turnlock.rotators.engines.mysql.session import Connection, account_name, run

_GONE = frozenset({ER.NO_SUCH_TABLE, ER.SP_DOES_NOT_EXIST, ER.BAD_FIELD_ERROR})
"""A table, routine or column that was dropped, while the grant on it was kept: it allows nothing until the object is back."""


def twin_account(twin: Twin) -> Account:
    """Return the twin's account: it may come from where its model may."""
    return Account(user=twin.username, host=twin.model.host)


def located(connection: Connection, account: Account) -> Account:
    """Return the account with its host part, which a session with an expired password cannot tell.

    DatabaseFailed when the user has several accounts: nobody knows then which of them has logged in.
    """
    if account.host is not None:
        return account
    rows = run(connection, "SELECT user, host FROM mysql.user WHERE user = %s", account.user)
    hosts = [_text(host) for user, host in rows if _text(user) == account.user]
    if len(hosts) != 1:
        raise DatabaseFailed(
            "The user's password has expired, and which of its accounts logged in is not known."
        )
    return replace(account, host=hosts[0])


def is_there(connection: Connection, account: Account) -> bool:
    """Tell whether the account exists."""
    query = "SELECT user, host FROM mysql.user WHERE user = %s AND host = %s"
    return account_name(account) in [
        (_text(user), _text(host)) for user, host in run(connection, query, *account_name(account))
    ]


def granted(connection: Connection, account: Account) -> Grants:
    """Return what an account was granted; DatabaseFailed when the server's words cannot be read."""
    name = account_name(account)
    hands_on = run(connection, "SELECT grant_priv FROM mysql.user WHERE user = %s AND host = %s", *name)
    rows = [str(row) for (row,) in run(connection, "SHOW GRANTS FOR %s@%s", *name)]
    try:
        grants = read(rows, name, hands_on=[_text(flag) for (flag,) in hands_on] == ["Y"])
    except UnreadableGrant as error:
        raise DatabaseFailed(f"The rights of the account or its twin could not be read: {error}.") from None
    query = (
        "SELECT proxied_user, proxied_host, with_grant FROM mysql.proxies_priv WHERE user = %s AND host = %s"
    )
    grants.proxied = {
        ((_text(user), _text(host)), bool(option)) for user, host, option in run(connection, query, *name)
    }
    return grants


def foreign(connection: Connection, twin: Twin) -> list[str]:
    """Return, in words, why an account that is there is not simply the model's twin: what it alone may do, and who may use it."""
    account = twin_account(twin)
    if not is_there(connection, account):
        return []
    found = excess(granted(connection, twin.model), granted(connection, account))
    query = "SELECT user, host FROM mysql.proxies_priv WHERE proxied_user = %s AND proxied_host = %s"
    users = run(connection, query, *account_name(account))
    if not connection.is_mariadb:
        query = "SELECT to_user, to_host FROM mysql.role_edges WHERE from_user = %s AND from_host = %s"
        users += run(connection, query, *account_name(account))
    return found + [f"{_text(user)}@{_text(host)} may act as it" for user, host in users]


def require_own(connection: Connection, twin: Twin) -> None:
    """DatabaseFailed when the twin's account is there, is not proven to be this secret's, and may do what its model may not."""
    if (found := foreign(connection, twin)) and not twin.is_proven():
        shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
        raise DatabaseFailed(
            "The account with the twin's name is there already, AWSPREVIOUS does not log in as it, and it is more than its"
            f" model: {' '.join(shown.split())}. It was left as it is."
        )


def copy_rights(connection: Connection, twin: Twin) -> None:
    """Grant the twin what its model was granted and it lacks; raises PyMySQL's errors, DatabaseFailed.

    Nothing is taken from the twin: a right that was given to it alone is kept, and its model gets it with the next turn.
    """
    account = twin_account(twin)
    name = account_name(account)
    model, held = granted(connection, twin.model), granted(connection, account)
    differing = {right.privilege for right in model.withheld ^ held.withheld}
    lacking = missing(model.rights, held.rights)
    lacking |= {right for right in model.rights if not right.place and right.privilege in differing}
    regranted = {right.privilege for right in lacking if not right.place}
    withheld = [right for right in model.withheld if right.privilege in regranted]
    if withheld:
        # To grant a privilege on everything undoes its partial revokes: nobody logs in until they are there again.
        run(connection, "ALTER USER %s@%s ACCOUNT LOCK", *name)
    _grant(connection, lacking, name)
    for statement in withholding(withheld, name):
        run(connection, statement)
    _hand_on(connection, model, held, name)


def _grant(connection: Connection, rights: Iterable[Right], name: tuple[str, str]) -> None:
    for statement, group in granting(rights, name):
        try:
            run(connection, statement)
        except pymysql.err.Error as error:
            if not error.args or error.args[0] not in _GONE:
                raise
            if len(group) > 1:
                for right in group:
                    _grant(connection, [right], name)


def _hand_on(connection: Connection, model: Grants, held: Grants, name: tuple[str, str]) -> None:
    for role, option in sorted(model.roles):
        if not {(role, option), (role, True)} & held.roles:
            suffix = " WITH ADMIN OPTION" if option else ""
            run(connection, f"GRANT {quoted(role)} TO {quoted(name)}{suffix}")
    for other, option in sorted(model.proxied):
        if not {(other, option), (other, True)} & held.proxied:
            suffix = " WITH GRANT OPTION" if option else ""
            run(connection, f"GRANT PROXY ON {quoted(other)} TO {quoted(name)}{suffix}")
    if model.default_role is not None and model.default_role != held.default_role:
        run(connection, f"SET DEFAULT ROLE {quoted(model.default_role)} FOR {quoted(name)}")


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
