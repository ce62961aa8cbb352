"""What the application works with: a login, a database with a table, and the secret that holds the credential."""

from __future__ import annotations

import json
import secrets
from typing import Any

import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from turnlock.cli.demo.application import TABLE
from turnlock.cli.demo.server import REGION
from turnlock.config import DEFAULT_ACCOUNT
from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedPostgres

SECRET = "demo/postgres"  # noqa: S105 (a name)
LOGIN = "app"
DATABASE = "shop"
FUNCTION = f"arn:aws:lambda:{REGION}:{DEFAULT_ACCOUNT}:function:SecretsManagerRDSPostgreSQLRotationSingleUser"


def open_shop(client: Any, database: EmbeddedPostgres) -> None:
    """Make the login with its database and table, and store the credential. Raises ConfigurationError when it fails."""
    password = secrets.token_urlsafe(24)
    value = {
        "engine": "postgres",
        "host": database.host,
        "port": database.port,
        "username": LOGIN,
        "password": password,
        "dbname": DATABASE,
        "ssl": False,
    }
    try:
        database.create_login(LOGIN, password, database=DATABASE)
        with psycopg.connect(database.conninfo(LOGIN, password, DATABASE)) as connection:
            connection.execute(TABLE)
        client.create_secret(Name=SECRET, SecretString=json.dumps(value))
    except (psycopg.Error, ClientError, BotoCoreError) as error:
        raise ConfigurationError(f"The demo could not be prepared: {error}") from None
