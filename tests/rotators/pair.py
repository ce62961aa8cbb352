"""Two PostgreSQL roles of one secret, and their master user, for tests of what is handed over between them."""

from __future__ import annotations

from contextlib import closing

import psycopg
from psycopg import sql

from turnlock.rotators import Credential
from turnlock.rotators.engines.engine import Account, Twin
from turnlock.rotators.engines.postgresql.engine import PostgreSQL

ENGINE = PostgreSQL()
Session = psycopg.Connection


def login_of(master: Credential, name: str, password: str = "old password") -> Credential:
    return Credential(
        host=master.host, port=master.port, username=name, password=password, dbname=master.dbname, tls=True
    )


def as_user(credential: Credential) -> Session:
    """Log in as an application does."""
    return psycopg.connect(
        host=credential.host,
        port=credential.port,
        user=credential.username,
        password=credential.password,
        dbname=credential.dbname,
        autocommit=True,
    )


def renew(
    master: Credential, model: Credential, name: str, *, owner: str | None = None, first: str | None = None
) -> Credential:
    twin = Twin(
        model=Account(user=model.username),
        username=name,
        password="twin password",
        group=owner or first or model.username,
        acts_as_group=owner is not None,
    )
    with closing(ENGINE.connect(master, 5)) as session:
        ENGINE.renew_twin(session, twin, lambda: None)
    return login_of(master, name, "twin password")


def run(credential: Credential, *statements: str) -> object:
    with as_user(credential) as session:
        for statement in statements[:-1]:
            session.execute(sql.SQL(statement))
        cursor = session.execute(sql.SQL(statements[-1]))
        return cursor.fetchall() if cursor.description else None


def identifier(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def literal(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))
