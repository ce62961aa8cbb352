"""What an account of MySQL's family can have: how each is given, and how it is read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.engines.estates import ALTERNATING, DUAL, SINGLE

WHO = "{who}"
"""Stands for the account in a statement."""
_USER = "SELECT {columns} FROM mysql.user WHERE CONCAT('`', user, '`@`', host, '`') = '{who}'"
_GLOBAL = "SELECT {columns} FROM mysql.global_priv WHERE CONCAT('`', user, '`@`', host, '`') = '{who}'"
GRANTS = "SHOW GRANTS FOR {who}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute, setting or grant, which is a row of the table in docs/engines.md."""

    name: str
    given: Sequence[str]
    read: str
    """A query; of SHOW GRANTS's rows, those with `mark`."""
    mark: str = ""
    identified: str = ""
    """How the account is identified, instead of by a password alone; `{word}` is the password."""
    because: Mapping[str, str] = field(default_factory=dict)
    """Reasons for the table, by strategy or by outcome."""


def _row(columns: str, table: str = _USER) -> str:
    return table.replace("{columns}", columns)


def _same(reason: str) -> dict[str, str]:
    return dict.fromkeys((SINGLE, ALTERNATING, DUAL), reason)


_NO_CERTIFICATE = _same("the function has no client certificate")
_LOCKED = _same("nobody can log in to it")
_NEW = {ALTERNATING: "the twin's password is a new one"}

_COMMON: Sequence[Attribute] = (
    Attribute(name="host part (`app@'127.0.0.%'`)", given=(), read="SELECT SUBSTRING_INDEX('{who}', '@', -1)"),
    Attribute(
        name="accounts of the same name for other hosts",
        given=("CREATE USER {other} IDENTIFIED BY 'another'",),
        read="SELECT COUNT(*) FROM mysql.user WHERE CONCAT('`', user, '`@`', host, '`') = '{other}'",
        because={ALTERNATING: "each account has a secret of its own"},
    ),
    Attribute(name="`REQUIRE SSL`", given=("ALTER USER {who} REQUIRE SSL",), read=_row("ssl_type")),
    Attribute(
        name="`REQUIRE CIPHER`",
        given=("ALTER USER {who} REQUIRE CIPHER '{cipher}'",),
        read=_row("ssl_type, ssl_cipher"),
        because={"refused": "MySQL wants a client certificate with it"},
    ),
    Attribute(name="`REQUIRE X509`", given=("ALTER USER {who} REQUIRE X509",), read=_row("ssl_type"), because=_NO_CERTIFICATE),
    Attribute(
        name="`REQUIRE ISSUER`, `REQUIRE SUBJECT`",
        given=("ALTER USER {who} REQUIRE ISSUER '/CN=a' AND SUBJECT '/CN=b'",),
        read=_row("ssl_type"),
        because=_NO_CERTIFICATE,
    ),
    Attribute(
        name="`MAX_QUERIES_PER_HOUR` and the three other limits",
        given=(
            ("ALTER USER {who} WITH MAX_QUERIES_PER_HOUR 1001 MAX_UPDATES_PER_HOUR 1002 MAX_CONNECTIONS_PER_HOUR 1003"
            " MAX_USER_CONNECTIONS 104"),
        ),
        read=_row("max_questions, max_updates, max_connections, max_user_connections"),
    ),
    Attribute(
        name="`PASSWORD EXPIRE` (it has expired)",
        given=("ALTER USER {who} PASSWORD EXPIRE",),
        read=_row("password_expired"),
        because=_NEW,
    ),
    Attribute(name="`ACCOUNT LOCK`", given=("ALTER USER {who} ACCOUNT LOCK",), read=_row("user"), because=_LOCKED),
    Attribute(name="privileges on everything", given=("GRANT PROCESS, RELOAD ON *.* TO {who}",), read=GRANTS, mark="RELOAD"),
    Attribute(
        name="privileges on databases, patterns too, `WITH GRANT OPTION`",
        given=("GRANT SELECT ON `sh\\_p%`.* TO {who} WITH GRANT OPTION",),
        read=GRANTS,
        mark="sh",
    ),
    Attribute(
        name="privileges on tables and columns",
        given=("GRANT INSERT, SELECT (id) ON shop.things TO {who}",),
        read=GRANTS,
        mark="things",
    ),
    Attribute(
        name="privileges on tables that were dropped since",
        given=(
            "CREATE TABLE shop.gone (id INT)", "GRANT INSERT ON shop.gone TO {who}", "DROP TABLE shop.gone",
        ),
        read=GRANTS,
        mark="gone",
        because={ALTERNATING: "there is nothing to grant it on until the table is back and a rotation has come"},
    ),
    Attribute(
        name="privileges on routines",
        given=("GRANT EXECUTE ON PROCEDURE shop.run TO {who}",),
        read=GRANTS,
        mark="PROCEDURE",
    ),
    Attribute(
        name="roles, `WITH ADMIN OPTION`",
        given=("CREATE ROLE `{role}`", "GRANT `{role}` TO {who} WITH ADMIN OPTION"),
        read=GRANTS,
        mark="ADMIN OPTION",
    ),
    Attribute(
        name="`PROXY`",
        given=("CREATE USER {other} IDENTIFIED BY 'x'", "GRANT PROXY ON {other} TO {who}"),
        read=GRANTS,
        mark="PROXY",
    ),
    Attribute(
        name="routines, views, triggers, events with it as `DEFINER`",
        given=("CREATE DEFINER={who} PROCEDURE shop.`{role}`() SELECT 1",),
        read="SELECT COUNT(*) FROM information_schema.routines WHERE CONCAT('`', REPLACE(definer, '@', '`@`'), '`') = '{who}'",
        because={ALTERNATING: "they stay the first account's, and run as it whoever calls them"},
    ),
)  # fmt: skip

MYSQL: Sequence[Attribute] = (
    Attribute(name="`caching_sha2_password`", given=(), read=_row("plugin")),
    Attribute(
        name="`sha256_password`",
        given=(),
        identified="WITH sha256_password BY '{word}'",
        read=_row("plugin"),
    ),
    Attribute(
        name="a second password (`RETAIN CURRENT PASSWORD`)",
        given=("ALTER USER {who} IDENTIFIED BY '{word}' RETAIN CURRENT PASSWORD",),
        read=_row("JSON_EXTRACT(user_attributes, '$.additional_password')"),
        because={
            SINGLE: "an account may not discard it without `APPLICATION_PASSWORD_ADMIN`",
            ALTERNATING: "one that the twin has is discarded",
            DUAL: "it is the password before",
        },
    ),
    *_COMMON,
    Attribute(
        name="`PASSWORD EXPIRE NEVER`",
        given=("ALTER USER {who} PASSWORD EXPIRE NEVER",),
        read=_row("password_lifetime"),
    ),
    Attribute(
        name="`PASSWORD EXPIRE INTERVAL`",
        given=("ALTER USER {who} PASSWORD EXPIRE INTERVAL 77 DAY",),
        read=_row("password_lifetime"),
    ),
    Attribute(
        name="`PASSWORD HISTORY`, `PASSWORD REUSE INTERVAL`",
        given=("ALTER USER {who} PASSWORD HISTORY 5 PASSWORD REUSE INTERVAL 6 DAY",),
        read=_row("password_reuse_history, password_reuse_time"),
    ),
    Attribute(
        name="`PASSWORD REQUIRE CURRENT`",
        given=("ALTER USER {who} PASSWORD REQUIRE CURRENT",),
        read=_row("password_require_current"),
    ),
    *(
        Attribute(
            name=f"`FAILED_LOGIN_ATTEMPTS {number}`",
            given=(f"ALTER USER {WHO} FAILED_LOGIN_ATTEMPTS {number} PASSWORD_LOCK_TIME UNBOUNDED",),
            read=_row("JSON_EXTRACT(user_attributes, '$.Password_locking')"),
        )
        for number in (1, 2)
    ),
    Attribute(
        name="`COMMENT`, `ATTRIBUTE`",
        given=("ALTER USER {who} COMMENT 'it''s'", "ALTER USER {who} ATTRIBUTE '{\"team\": [1]}'"),
        read=_row("JSON_EXTRACT(user_attributes, '$.metadata')"),
    ),
    Attribute(
        name="dynamic privileges",
        given=("GRANT CONNECTION_ADMIN ON *.* TO {who} WITH GRANT OPTION",),
        read=GRANTS,
        mark="CONNECTION_ADMIN",
    ),
    Attribute(
        name="partial revokes",
        given=(
            "SET GLOBAL partial_revokes = ON",
            "GRANT SELECT ON *.* TO {who}",
            "REVOKE SELECT ON mysql.* FROM {who}",
        ),
        read=GRANTS,
        mark="REVOKE",
    ),
    Attribute(
        name="default roles",
        given=("CREATE ROLE `{role}`", "GRANT `{role}` TO {who}", "SET DEFAULT ROLE `{role}` TO {who}"),
        read="SELECT COUNT(*) FROM mysql.default_roles WHERE CONCAT('`', user, '`@`', host, '`') = '{who}'",
    ),
)

MARIADB: Sequence[Attribute] = (
    Attribute(name="`mysql_native_password`", given=(), read=_row("plugin")),
    Attribute(
        name="`unix_socket OR mysql_native_password`",
        given=(),
        identified="VIA unix_socket OR mysql_native_password USING PASSWORD('{word}')",
        read=_row("priv LIKE '%\"unix_socket\"%'", _GLOBAL),
        because={ALTERNATING: "the operating system's user of the twin's name is another one"},
    ),
    Attribute(
        name="`mysql_native_password OR ed25519`",
        given=(),
        identified="VIA mysql_native_password USING PASSWORD('{word}') OR ed25519 USING PASSWORD('{word}')",
        read=_row('REGEXP_SUBSTR(priv, \'"ed25519","authentication_string":[^,}]*\')', _GLOBAL),
        because={
            SINGLE: "with its old password, as `SET PASSWORD` changes the first one",
            ALTERNATING: "the function does not know its kind of hash",
            DUAL: "with its old password",
        },
    ),
    Attribute(
        name="`ed25519`",
        given=(),
        identified="VIA ed25519 USING PASSWORD('{word}')",
        read=_row("plugin"),
        because=_same("the function cannot authenticate by it"),
    ),
    *_COMMON,
    Attribute(
        name="`MAX_STATEMENT_TIME`",
        given=("ALTER USER {who} WITH MAX_STATEMENT_TIME 12.5",),
        read=_row("max_statement_time"),
    ),
    Attribute(
        name="`PASSWORD EXPIRE NEVER`",
        given=("ALTER USER {who} PASSWORD EXPIRE NEVER",),
        read=_row("JSON_VALUE(priv, '$.password_lifetime')", _GLOBAL),
    ),
    Attribute(
        name="`PASSWORD EXPIRE INTERVAL`",
        given=("ALTER USER {who} PASSWORD EXPIRE INTERVAL 77 DAY",),
        read=_row("JSON_VALUE(priv, '$.password_lifetime')", _GLOBAL),
    ),
    Attribute(
        name="privileges of MariaDB's own",
        given=("GRANT BINLOG MONITOR ON *.* TO {who}",),
        read=GRANTS,
        mark="BINLOG MONITOR",
    ),
    Attribute(
        name="default role",
        given=("CREATE ROLE `{role}`", "GRANT `{role}` TO {who}", "SET DEFAULT ROLE `{role}` FOR {who}"),
        read=GRANTS,
        mark="SET DEFAULT ROLE",
    ),
    # The last one: its plugin stays.
    Attribute(
        name="passwords that `password_reuse_check` remembers",
        identified="BY 'the very first one'",
        given=(
            "INSTALL PLUGIN IF NOT EXISTS password_reuse_check SONAME 'password_reuse_check'",
            "ALTER USER {who} IDENTIFIED BY 'one before'",
            "ALTER USER {who} IDENTIFIED BY '{word}'",
        ),
        read="SET PASSWORD FOR {who} = PASSWORD('one before')",
        because={
            ALTERNATING: "the twin has a history of its own",
            DUAL: "the plugin lets no password be set again, and there would be two",
        },
    ),
)

TABLES: Mapping[str, Sequence[Attribute]] = {"mysql": MYSQL, "mariadb": MARIADB}


def filled(text: str, values: Mapping[str, Any]) -> str:
    """Put the values in their places; other braces stay."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text
