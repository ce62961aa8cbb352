"""What an account of MySQL's family is bound to beside its rights: demands on the client, limits, and rules for its password."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from turnlock.rotators.engines.engine import Account
from turnlock.rotators.engines.mysql.session import Connection, account_name, rows_by_name

_LIMITS = {
    "max_questions": "MAX_QUERIES_PER_HOUR",
    "max_updates": "MAX_UPDATES_PER_HOUR",
    "max_connections": "MAX_CONNECTIONS_PER_HOUR",
    "max_user_connections": "MAX_USER_CONNECTIONS",
}

Clause = tuple[str, list[str]]
"""The end of an ALTER USER statement, with its values."""


def policies(connection: Connection, model: Account) -> Clause:
    """Return the clauses that bind another account as `model` is bound; raises PyMySQL's errors.

    That a password has expired, and when it was changed, are an account's own: they are not in it.
    """
    query = "SELECT * FROM mysql.user WHERE user = %s AND host = %s"
    rows = rows_by_name(connection, query, *account_name(model))
    row = rows[0] if rows else {}
    clause, values = demands(row)
    clause += " WITH " + " ".join(f"{word} {int(row.get(column) or 0)}" for column, word in _LIMITS.items())
    if connection.is_mariadb:
        query = "SELECT priv FROM mysql.global_priv WHERE user = %s AND host = %s"
        kept = rows_by_name(connection, query, *account_name(model))
        more, others = _of_mariadb(row, _object(kept[0]["priv"]) if kept else {}), list[str]()
    else:
        more, others = _of_mysql(row, _object(row.get("user_attributes")))
    return f"{clause} {more}".rstrip(), values + others


def history(connection: Connection, account: Account) -> str:
    """Return the clauses of MySQL's that say which of its old passwords an account may not have again."""
    query = "SELECT * FROM mysql.user WHERE user = %s AND host = %s"
    (row,) = rows_by_name(connection, query, *account_name(account))
    return _history(row)


def demands(row: Mapping[str, Any]) -> Clause:
    """Return the REQUIRE of a row of mysql.user."""
    kind = _text(row.get("ssl_type"))
    if kind != "SPECIFIED":
        return {"ANY": "REQUIRE SSL", "X509": "REQUIRE X509"}.get(kind, "REQUIRE NONE"), []
    named = [("CIPHER", "ssl_cipher"), ("ISSUER", "x509_issuer"), ("SUBJECT", "x509_subject")]
    given = [(word, _text(row.get(column))) for word, column in named if row.get(column)]
    return "REQUIRE " + " AND ".join(f"{word} %s" for word, _ in given), [value for _, value in given]


def _of_mysql(row: Mapping[str, Any], attributes: Mapping[str, Any]) -> Clause:
    if "password_reuse_history" not in row:
        return "", []
    locking = attributes.get("Password_locking") or {}
    days = int(locking.get("password_lock_time_days", 0))
    current = {"Y": "", "N": "OPTIONAL"}.get(_text(row.get("password_require_current")), "DEFAULT")
    clauses = [
        f"PASSWORD EXPIRE {_expiry(row.get('password_lifetime'))}",
        _history(row),
        f"PASSWORD REQUIRE CURRENT {current}".rstrip(),
    ]
    if "user_attributes" not in row:
        return " ".join(clauses), []
    clauses.append(f"FAILED_LOGIN_ATTEMPTS {int(locking.get('failed_login_attempts', 0))}")
    clauses.append(f"PASSWORD_LOCK_TIME {'UNBOUNDED' if days < 0 else days}")
    metadata = attributes.get("metadata")
    if isinstance(metadata, dict):
        return " ".join([*clauses, "ATTRIBUTE %s"]), [json.dumps(metadata)]
    return " ".join(clauses), []


def _of_mariadb(row: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    lifetime = int(kept.get("password_lifetime", -1))
    seconds = float(row.get("max_statement_time") or 0)
    return f"MAX_STATEMENT_TIME {seconds:f} PASSWORD EXPIRE {_expiry(None if lifetime < 0 else lifetime)}"


def _history(row: Mapping[str, Any]) -> str:
    times = _number(row.get("password_reuse_history"))
    return (
        f"PASSWORD HISTORY {times} PASSWORD REUSE INTERVAL {_number(row.get('password_reuse_time'), ' DAY')}"
    )


def _expiry(days: Any) -> str:
    if days is None:
        return "DEFAULT"
    return "NEVER" if int(days) == 0 else f"INTERVAL {int(days)} DAY"


def _number(value: Any, unit: str = "") -> str:
    return "DEFAULT" if value is None else f"{int(value)}{unit}"


def _object(text: Any) -> Mapping[str, Any]:
    parsed = json.loads(_text(text) or "{}")
    return parsed if isinstance(parsed, dict) else {}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
