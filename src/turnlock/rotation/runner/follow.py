"""Subscribers of `secrets`' events, in the transaction of the change: what rotation does when a secret changes."""

from __future__ import annotations

from dataclasses import replace

from turnlock.errors import InvalidRequestException
from turnlock.rotation.plan.machine import decide
from turnlock.rotation.plan.states import Woken
from turnlock.rotation.plans import apply_decision, end_plan, facts_of, last_change, scheduled
from turnlock.rotation.runner.token import is_current
from turnlock.rotation.store import PlanRow, find_unfinished
from turnlock.secrets import (
    AWSCURRENT,
    LabelsChanged,
    RotationTokenPresented,
    Secret,
    SecretDoomed,
    SecretRestored,
    update_secret,
)
from turnlock.storage import Unit
from turnlock.storage.unit import Subscribers


def labels_changed(unit: Unit, event: LabelsChanged) -> None:
    """Abandon a plan that lost its AWSPENDING; count a new value put by hand as a rotation (API reference)."""
    secret = event.secret
    if secret.rotation.enabled is None or secret.is_replica:
        return
    row = find_unfinished(unit, secret)
    if row is not None:
        facts = facts_of(unit, secret, row)
        if not (facts.token_is_current or facts.pending_labelled):
            apply_decision(unit, secret, row, decide(row.plan, Woken(), facts, now=unit.now))
            row = None
    current = secret.labels.get(AWSCURRENT)
    if current != event.before.get(AWSCURRENT) and (row is None or row.plan.token != current):
        _count_from_now(unit, secret, row)


def secret_doomed(unit: Unit, event: SecretDoomed) -> None:
    """End the plan of a secret that was deleted or scheduled for deletion."""
    secret = event.secret
    row = find_unfinished(unit, secret)
    # Its turn goes too: every look for what is due would meet it, for as long as 30 days.
    if secret.rotation.starts_at is not None:
        secret = secret.evolve(rotation=replace(secret.rotation, starts_at=None))
        update_secret(unit, secret)
    if row is not None:
        end_plan(unit, secret, row)


def secret_restored(unit: Unit, event: SecretRestored) -> None:
    """Schedule a restored secret again: its plan was ended, and its windows were skipped meanwhile."""
    secret = event.secret
    if secret.rotation.enabled:
        update_secret(unit, scheduled(unit, secret, last=last_change(unit, secret), now=unit.now))


def token_presented(unit: Unit, event: RotationTokenPresented) -> None:
    """Refuse a RotationToken that is not that of the running step, or whose lease another node has now."""
    row = find_unfinished(unit, event.secret)
    if row is None or not is_current(unit, row, event.version_id, event.rotation_token):
        raise InvalidRequestException(
            "The RotationToken is not valid for a rotation in progress of this secret."
        )


def _count_from_now(unit: Unit, secret: Secret, row: PlanRow | None) -> None:
    changed = scheduled(unit, secret, last=unit.now, now=unit.now)
    if row is not None:
        changed = changed.evolve(rotation=replace(changed.rotation, starts_at=None))
    update_secret(unit, changed)


SUBSCRIBERS: Subscribers = {
    LabelsChanged: (labels_changed,),
    RotationTokenPresented: (token_presented,),
    SecretDoomed: (secret_doomed,),
    SecretRestored: (secret_restored,),
}
"""Subscriptions of this room; `app` registers them."""
