"""Beginning rotations that are due, and reopening plans that lost their window in the next one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from turnlock import secrets
from turnlock.errors import StoreError
from turnlock.rotation.plan.machine import reopen
from turnlock.rotation.plan.states import Plan, PlanState, Purpose
from turnlock.rotation.plans import (
    begin_plan,
    counted_from,
    give_way,
    last_change,
    new_token,
    next_turn,
    report_missed,
    report_window,
    scheduled,
    stored_window,
)
from turnlock.rotation.store import find_unfinished
from turnlock.secrets import AWSCURRENT, AWSPENDING, Secret, SecretReference
from turnlock.storage import Unit

BATCH: Final = 50
"""Rotations begun in one transaction. A short transaction lets others write soon."""

POSTPONED: Final = timedelta(hours=1)
"""How long to wait before trying again a rotation that could not begin."""

log = structlog.get_logger(__name__)


def begin_soon(unit: Unit) -> bool:
    """Tell whether any rotation is due. Each tick asks; it reads one row of an index."""
    return bool(secrets.due_for_rotation(unit, unit.now, 1))


def begin_due(unit: Unit) -> int:
    """Begin the rotations that are due, at most BATCH; return how many were begun."""
    return sum(_begun(unit, reference) for reference in secrets.due_for_rotation(unit, unit.now, BATCH))


def reopen_if_due(unit: Unit, secret: Secret, plan: Plan) -> tuple[Secret, Plan]:
    """Move a plan that lost its window to the next one, when its time there has come."""
    if plan.state is not PlanState.FAILED or plan.finished:
        return secret, plan
    starts_at, closes_at = next_turn(unit, secret, plan)
    if unit.now >= closes_at:  # the server slept through that window too
        last = counted_from(unit, secret, plan)
        report_window(unit, secret, closes_at)
        report_missed(unit, secret, last=last, since=closes_at)
        secret = scheduled(unit, secret, last=last, now=unit.now)
        secret = secret.evolve(rotation=replace(secret.rotation, starts_at=None))
        secrets.update_secret(unit, secret)
        starts_at, closes_at = next_turn(unit, secret, plan)
    if unit.now < starts_at:
        return secret, plan
    return secret, reopen(plan, starts_at=starts_at, window_closes_at=closes_at)


def _begun(unit: Unit, reference: SecretReference) -> bool:
    """Begin one. An error of one secret does not stop the others."""
    try:
        with unit.savepoint():
            secret = secrets.find_secret(unit, reference)
            return secret is not None and _begin(unit, secret)
    except (DBAPIError, StoreError):
        raise
    except Exception:
        log.exception("a rotation could not begin", action="rotation_not_begun", secret=reference.name)
        secrets.postpone_rotation(unit, reference, unit.now + POSTPONED)
        return False


def _begin(unit: Unit, secret: Secret) -> bool:
    """Begin one; False when it cannot begin now. Then a later time is set, so that the next tick does not try it again."""
    rotation = secret.rotation
    give_way(unit, secret)
    window = stored_window(secret)
    if window is None or secret.is_replica or find_unfinished(unit, secret) is not None:
        secrets.update_secret(unit, secret.evolve(rotation=replace(rotation, starts_at=None)))
        return False
    if unit.now >= window.closes_at:
        last = last_change(unit, secret)
        report_window(unit, secret, window.closes_at)
        report_missed(unit, secret, last=last, since=window.closes_at)
        secrets.update_secret(unit, scheduled(unit, secret, last=last, now=unit.now))
        return False
    begin_plan(
        unit, secret, token=_token(unit, secret), purpose=Purpose.ROTATE, window=window, starts_at=unit.now
    )
    return True


def _token(unit: Unit, secret: Secret) -> str:
    """Return the new version's id. A version that is still under AWSPENDING is continued ("will be reattempted")."""
    pending = secret.labels.get(AWSPENDING)
    if pending is not None and pending != secret.labels.get(AWSCURRENT):
        return pending
    return new_token(unit)
