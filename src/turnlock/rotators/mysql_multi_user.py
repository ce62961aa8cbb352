"""The hosted function that lets two MySQL users take turns: handler `….lambda_handler`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlock.rotators.engines.mysql.engine import MySQL
from turnlock.rotators.skeleton import Answer, Strategies, handle
from turnlock.rotators.strategies.alternating_users import AlternatingUsers

ENGINE = MySQL()
STRATEGIES: Strategies = {None: AlternatingUsers(engine=ENGINE)}


def lambda_handler(event: Mapping[str, Any], context: object) -> Answer:  # noqa: ARG001  (the runtime's signature)
    """Carry out one step; see `skeleton.handle`."""
    return handle(event, ENGINE, strategies=STRATEGIES)
