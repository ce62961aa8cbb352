"""Two accounts of MySQL's family that may do the same: a model's grants, limits and demands on its client, for its twin."""

from __future__ import annotations

import re
from collections.abc import Iterator

from turnlock.rotators.engine import Account, Twin
from turnlock.rotators.mysql_family import Connection, account_name, quoted_account, run

_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"")
_OPTIONS = re.compile(r"\bWITH\b.*\b(GRANT|ADMIN) OPTION\b")

_LIMITS = {
    "max_questions": "MAX_QUERIES_PER_HOUR",
    "max_updates": "MAX_UPDATES_PER_HOUR",
    "max_connections": "MAX_CONNECTIONS_PER_HOUR",
    "max_user_connections": "MAX_USER_CONNECTIONS",
}


def twin_account(twin: Twin) -> Account:
    """Return the twin's account: it may come from where its model may."""
    return Account(user=twin.username, host=twin.model.host)


def copy_rights(connection: Connection, twin: Twin) -> None:
    """Grant the twin whatever its model was granted; raises PyMySQL's errors.

    Nothing is taken from the twin: a right that was given to it alone is kept, and its model gets it with the next turn.
    """
    model, account = account_name(twin.model), twin_account(twin)
    for (row,) in run(connection, "SHOW GRANTS FOR %s@%s", *model):
        for statement in retargeted(str(row), twin.model, account):
            run(connection, statement)


def demands(connection: Connection, model: Account) -> tuple[str, list[str]]:
    """Return the clauses, with their values, that give an account its model's REQUIRE and resource limits."""
    columns = ("ssl_type", "ssl_cipher", "x509_issuer", "x509_subject", *_LIMITS)
    query = f"SELECT {', '.join(columns)} FROM mysql.user WHERE user = %s AND host = %s"  # noqa: S608  (fixed names)
    rows = run(connection, query, *account_name(model))
    row = dict(zip(columns, rows[0], strict=True)) if rows else {}
    texts = {name: _text(row.get(name)) for name in columns[:4]}
    clause, values = {"ANY": ("REQUIRE SSL", []), "X509": ("REQUIRE X509", [])}.get(
        texts["ssl_type"], ("REQUIRE NONE", list[str]())
    )
    if texts["ssl_type"] == "SPECIFIED":
        named = [("CIPHER", "ssl_cipher"), ("ISSUER", "x509_issuer"), ("SUBJECT", "x509_subject")]
        given = [(word, texts[column]) for word, column in named if texts[column]]
        clause = "REQUIRE " + " AND ".join(f"{word} %s" for word, _ in given)
        values = [value for _, value in given]
    limits = " ".join(f"{word} {int(row.get(column) or 0)}" for column, word in _LIMITS.items())
    return f"{clause} WITH {limits}", values


def retargeted(row: str, model: Account, twin: Account) -> Iterator[str]:
    """Yield the statement that does for `twin` what a row of SHOW GRANTS says of `model`; none for a row about others.

    What follows the account's name is dropped but for the right to hand on: passwords and demands have their own statement.
    """
    for word in ("TO", "FROM", "FOR"):
        for spelling in (quoted_account(model), _in_single_quotes(model)):
            before, found, after = row.rpartition(f" {word} {spelling}")
            if found:
                option = _OPTIONS.search(_LITERAL.sub("''", after))
                suffix = f" WITH {option[1]} OPTION" if option else ""
                yield f"{before} {word} {quoted_account(twin)}{suffix}"
                return


def _in_single_quotes(account: Account) -> str:
    return "@".join(
        "'{}'".format(part.replace("\\", "\\\\").replace("'", "\\'")) for part in account_name(account)
    )


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
