"""The hosted function that gives a Redis ACL user a second password, then takes the first: handler `….lambda_handler`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlock.rotators.engines.redis_acl import RedisACL
from turnlock.rotators.skeleton import Answer, Strategies, handle
from turnlock.rotators.strategies.dual_passwords import DualPasswords

ENGINE = RedisACL()
STRATEGIES: Strategies = {None: DualPasswords(engine=ENGINE), "dual-passwords": DualPasswords(engine=ENGINE)}


def lambda_handler(event: Mapping[str, Any], context: object) -> Answer:  # noqa: ARG001  (the runtime's signature)
    """Carry out one step; see `skeleton.handle`."""
    return handle(event, ENGINE, strategies=STRATEGIES)
