"""The hosted function that rotates the password of one MariaDB user: handler `….lambda_handler`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlock.rotators.engines.mysql.mariadb import MariaDB
from turnlock.rotators.skeleton import Answer, Strategies, handle
from turnlock.rotators.strategies.dual_passwords import DualPasswords
from turnlock.rotators.strategies.single_user import SingleUser

ENGINE = MariaDB()
STRATEGIES: Strategies = {None: SingleUser(), "dual-passwords": DualPasswords(engine=ENGINE)}


def lambda_handler(event: Mapping[str, Any], context: object) -> Answer:  # noqa: ARG001  (the runtime's signature)
    """Carry out one step; see `skeleton.handle`."""
    return handle(event, ENGINE, strategies=STRATEGIES)
