"""The hosted function that rotates the password of one MySQL user: handler `….lambda_handler`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlock.rotators.dual_passwords import DualPasswords
from turnlock.rotators.mysql import MySQL
from turnlock.rotators.single_user import SingleUser
from turnlock.rotators.skeleton import Answer, Strategies, handle

ENGINE = MySQL()
STRATEGIES: Strategies = {None: SingleUser(), "dual-passwords": DualPasswords(engine=ENGINE)}


def lambda_handler(event: Mapping[str, Any], context: object) -> Answer:  # noqa: ARG001  (the runtime's signature)
    """Carry out one step; see `skeleton.handle`."""
    return handle(event, ENGINE, strategies=STRATEGIES)
