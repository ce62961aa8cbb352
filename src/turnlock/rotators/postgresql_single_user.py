"""The hosted function that rotates the password of one PostgreSQL user: handler `….lambda_handler`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlock.rotators.engines.postgresql.engine import PostgreSQL
from turnlock.rotators.skeleton import Answer, handle


def lambda_handler(event: Mapping[str, Any], context: object) -> Answer:  # noqa: ARG001  (the runtime's signature)
    """Carry out one step; see `skeleton.handle`."""
    return handle(event, PostgreSQL())
