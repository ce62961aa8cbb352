"""The hosted function that lets two PostgreSQL users take turns: handler `….lambda_handler`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlock.rotators.engines.postgresql.engine import PostgreSQL
from turnlock.rotators.skeleton import Answer, Strategies, handle
from turnlock.rotators.strategies.alternating_users import AlternatingUsers

ENGINE = PostgreSQL()
STRATEGIES: Strategies = {
    None: AlternatingUsers(engine=ENGINE),
    "owner-role": AlternatingUsers(engine=ENGINE, owner_role=True),
}


def lambda_handler(event: Mapping[str, Any], context: object) -> Answer:  # noqa: ARG001  (the runtime's signature)
    """Carry out one step; see `skeleton.handle`."""
    return handle(event, ENGINE, strategies=STRATEGIES)
