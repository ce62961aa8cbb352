"""The function behind the secrets that RDS manages: it rotates a master user's password, whatever the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlock.rotators.endpoint import Endpoint, SecretsManager, client
from turnlock.rotators.engines.engine import Engine
from turnlock.rotators.engines.mysql.engine import MySQL
from turnlock.rotators.engines.mysql.mariadb import MariaDB
from turnlock.rotators.engines.postgresql.engine import PostgreSQL
from turnlock.rotators.registry import LocatedSecrets, Rds, locate, rds_client
from turnlock.rotators.skeleton import Answer, handle

_KINDS: tuple[type[Engine[Any]], ...] = (PostgreSQL, MySQL, MariaDB)


def lambda_handler(event: Mapping[str, Any], context: object) -> Answer:  # noqa: ARG001  (the runtime's signature)
    """Carry out one step; see `skeleton.handle`."""
    return rotate(event, client(), rds_client())


def rotate(event: Mapping[str, Any], secrets_manager: SecretsManager, rds: Rds) -> Answer:
    """Carry out one step for the master user of the DB instance or cluster that the secret's tags name.

    ValueError when they name none, or one of an engine without a rotation; else as `skeleton.handle`.
    """
    location = locate(Endpoint(secrets_manager, str(event.get("SecretId"))).describe().tags, rds)
    kind = next((kind for kind in _KINDS if location.engine in kind.names), None)
    if kind is None:
        raise ValueError(f"There is no rotation for the engine {location.engine}.")
    return handle(event, kind(), LocatedSecrets(secrets_manager, location))
