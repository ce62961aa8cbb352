"""Plans whose window ended while no node carried them out.

The node that carries a plan records the end of its window. Where no node does (all are at their limits, or the one that
did is gone), the next tick of any node records it, runs nothing, and lets the plan wait for the next window. The tick
takes the plan's lease for that moment, so a former holder's fencing number is no longer the newest.
"""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from turnlock import secrets
from turnlock.errors import StoreError
from turnlock.rotation.plan.machine import cancel, lose_window
from turnlock.rotation.plan.states import PlanState
from turnlock.rotation.plans import apply_decision, next_turn
from turnlock.rotation.runner.due import reopen_if_due
from turnlock.rotation.store import PlanRow, overdue, save_plan
from turnlock.storage import Unit
from turnlock.storage.leases import claim, release

BATCH: Final = 50
_LEASE_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


def close_overdue(unit: Unit, holder: str) -> int:
    """Record the windows that are over, of at most BATCH plans; return how many plans."""
    return sum(_closed(unit, row, holder) for row in overdue(unit, unit.now, BATCH))


def _closed(unit: Unit, row: PlanRow, holder: str) -> bool:
    """Record one. An error of one secret does not stop the others."""
    try:
        with unit.savepoint():
            fence = claim(unit, row.account_id, row.region, row.lease, holder=holder, seconds=_LEASE_SECONDS)
            if fence is not None:
                _close(unit, row)
                release(unit, fence)
    except (DBAPIError, StoreError):
        raise
    except Exception:
        log.exception("a lost window could not be told of", action="window_not_closed", secret=row.secret_arn)
        return False
    return fence is not None


def _close(unit: Unit, row: PlanRow) -> None:
    secret, plan = secrets.find_secret(unit, row.reference), row.plan
    if secret is None:
        plan = cancel(plan)
        save_plan(unit, row, plan, look_at=plan.next_attempt_at)
        return
    if plan.state is PlanState.RUNNING:
        apply_decision(unit, secret, row, lose_window(plan))
        return
    secret, plan = reopen_if_due(unit, secret, plan)
    turn, closes_at = next_turn(unit, secret, plan)
    if plan.state is PlanState.RUNNING:
        save_plan(unit, row, plan, look_at=plan.next_attempt_at)
    else:
        look_at = min(turn, plan.next_attempt_at) if plan.exposed else turn
        save_plan(unit, row, plan, look_at=look_at, overdue_at=closes_at)
