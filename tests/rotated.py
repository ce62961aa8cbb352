"""A PostgreSQL whose roles' passwords are rotated: roles with their secrets, and what the database says to a password."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import psycopg
from psycopg import sql

from tests.processes import REGION, Client, wait_until
from turnlock.local_servers import EmbeddedPostgres

ROTATOR = f"arn:aws:lambda:{REGION}:123456789012:function:SecretsManagerRDSPostgreSQLRotationSingleUser"
LABELS = ("AWSCURRENT", "AWSPENDING", "AWSPREVIOUS")
ROTATION_SECONDS = 60.0
"""No rotation of the tests takes longer, however often it is interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One role of a PostgreSQL, and the secret that holds its password."""

    server: EmbeddedPostgres
    name: str
    first_password: str = field(repr=False)
    host: str = "127.0.0.1"

    def value(self) -> str:
        """Return the secret's first value."""
        value: dict[str, Any] = {
            "engine": "postgres",
            "host": self.host,
            "port": self.server.port,
            "username": self.name,
            "password": self.first_password,
            "dbname": "postgres",
        }
        if self.server.ssl_ca_path is None:
            value["ssl"] = False
        return json.dumps(value)

    def accepts(self, value: Mapping[str, Any]) -> bool:
        """Log in with the password of a version; False when the database refuses it, and no other failure passes."""
        try:
            psycopg.connect(
                self.server.conninfo(self.name, value["password"]), connect_timeout=10, autocommit=True
            ).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                return False
            raise
        return True

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What a refused login and a session that has ended raise."""
        return (psycopg.OperationalError,)

    def log_in(self, value: Mapping[str, Any]) -> psycopg.Connection[tuple[Any, ...]]:
        """Log in as an application does."""
        return psycopg.connect(
            self.server.conninfo(self.name, value["password"]), autocommit=True, connect_timeout=2
        )

    def verifier(self) -> str:
        """Return what the database checks a password against."""
        with psycopg.connect(self.server.admin_url(driver=None)) as admin:
            row = admin.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolname = %s", (self.name,)
            ).fetchone()
        assert row is not None
        return str(row[0])


def new_role(server: EmbeddedPostgres, name: str | None = None, *, host: str = "127.0.0.1") -> Role:
    """Make a role that may log in, with a table of its own name that it may write."""
    role = Role(
        server=server,
        name=name or f"app_{secrets.token_hex(6)}",
        first_password=secrets.token_urlsafe(18),
        host=host,
    )
    server.create_login(role.name, role.first_password)
    with psycopg.connect(server.admin_url(driver=None), autocommit=True) as admin:
        identifier = sql.Identifier(role.name)
        admin.execute(sql.SQL("CREATE TABLE {} (id bigint PRIMARY KEY)").format(identifier))
        admin.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(identifier, identifier))
    return role


def create_secret(client: Client, role: Role) -> str:
    """Store the role's credential under its name, with rotation configured but none begun; return the ARN."""
    return str(client.create_secret(Name=role.name, SecretString=role.value())["ARN"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A rotation that was asked for."""

    arn: str
    token: str
    rotated_before: datetime | None
    """The secret's LastRotatedDate until then."""

    def is_over(self, client: Client) -> bool:
        """Tell whether its version is AWSCURRENT and the rotation is recorded, so that another one may begin."""
        described = client.describe_secret(SecretId=self.arn)
        current = "AWSCURRENT" in described["VersionIdsToStages"].get(self.token, [])
        return current and described.get("LastRotatedDate") != self.rotated_before

    def await_end(self, client: Client, seconds: float = ROTATION_SECONDS) -> None:
        """Wait until it has ended by itself."""
        wait_until(lambda: self.is_over(client), seconds, f"the end of the rotation {self.token}", 0.03)


def new_token() -> str:
    """Return the id of a version to be."""
    return str(uuid.uuid4())


def begin_rotation(client: Client, arn: str, token: str | None = None, function: str = ROTATOR) -> Begun:
    """Ask for a rotation now."""
    before = client.describe_secret(SecretId=arn).get("LastRotatedDate")
    answer = client.rotate_secret(
        SecretId=arn,
        ClientRequestToken=token or new_token(),
        RotationLambdaARN=function,
        RotationRules={"ScheduleExpression": "rate(1 day)"},
    )
    return Begun(arn=arn, token=answer["VersionId"], rotated_before=before)


def rotate(client: Client, arn: str, function: str = ROTATOR) -> str:
    """Rotate and wait until it is done; return the token."""
    begun = begin_rotation(client, arn, function=function)
    begun.await_end(client)
    return begun.token


def labelled_values(client: Client, arn: str) -> dict[str, dict[str, Any]]:
    """Return the values under the labels that a rotation moves."""
    values: dict[str, dict[str, Any]] = {}
    for label in LABELS:
        with suppress(client.exceptions.ResourceNotFoundException):
            answer = client.get_secret_value(SecretId=arn, VersionStage=label)
            values[label] = json.loads(answer["SecretString"])
    return values


class Login(Protocol):
    """A user of a database, known by its name."""

    @property
    def name(self) -> str:
        """What its secret is called."""
        ...

    def accepts(self, value: Mapping[str, Any]) -> bool:
        """Tell whether the database lets a version of the secret in."""
        ...


def require_way_in(role: Login, read: Callable[[], Mapping[str, Mapping[str, Any]]]) -> None:
    """Fail unless the database accepts a stored, labelled version; `read` returns what is stored.

    Values and logins cannot be looked at in one moment: while the values change between two looks, nothing is said.
    """
    values = read()
    while not any(verdicts := [role.accepts(value) for value in values.values()]):
        before, values = values, read()
        assert values != before, (
            f"no stored version of {role.name} logs in: {dict(zip(values, verdicts, strict=True))}"
        )
