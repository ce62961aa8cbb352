"""Rotation: when a secret's credential is replaced, and the steps until the database accepts the new one.

What it does: reads schedules, keeps a plan for each rotation, and carries plans out by invoking rotation functions.
What it trusts: what the database answers to `probe`, and the labels that `secrets` has verified; never the memory of a
process. What it must never do: move a label without knowing what the database accepts, run one rotation twice at the
same time, or let an error's text show a value.
"""

from turnlock.root_keys import row_macs
from turnlock.rotation.api import ACTIONS, manage
from turnlock.rotation.masters import MASTER_ROWS
from turnlock.rotation.plans import EventRecorded, PlanBegun
from turnlock.rotation.rehearsal.rehearser import REHEARSE, Rehearser
from turnlock.rotation.rehearsal.store import Report, latest
from turnlock.rotation.runner.carrier import Observer, RunFunction, unobserved
from turnlock.rotation.runner.follow import SUBSCRIBERS
from turnlock.rotation.runner.scheduler import Limits, Scheduler
from turnlock.rotation.store import PLAN_ROWS

MACS = row_macs(PLAN_ROWS, MASTER_ROWS)
"""The tables of this room with a MAC under the root key: a rotation of the root key makes them anew."""

__all__ = [
    "ACTIONS",
    "MACS",
    "REHEARSE",
    "SUBSCRIBERS",
    "EventRecorded",
    "Limits",
    "Observer",
    "PlanBegun",
    "Rehearser",
    "Report",
    "RunFunction",
    "Scheduler",
    "latest",
    "manage",
    "unobserved",
]
