"""Rotation: when a secret's credential is replaced, and how that goes on until the database agrees.

What it does: reads schedules, keeps a plan for each rotation, and carries plans out by invoking rotation functions. What
it trusts: what the database answers to `probe`, and the labels as `secrets` has verified them; never the memory of a
process. What it must never do: move a label on a guess, run one rotation twice at the same time, or let an error's text
show a value.
"""

from turnlock.keys import row_macs
from turnlock.rotation.api import ACTIONS, manage
from turnlock.rotation.carrier import Observer, RunFunction, unobserved
from turnlock.rotation.follow import SUBSCRIBERS
from turnlock.rotation.masters import MASTER_ROWS
from turnlock.rotation.plans import EventRecorded, PlanBegun
from turnlock.rotation.rehearsals import Report, latest
from turnlock.rotation.rehearser import REHEARSE, Rehearser
from turnlock.rotation.scheduler import Limits, Scheduler
from turnlock.rotation.store import PLAN_ROWS

MACS = row_macs(PLAN_ROWS, MASTER_ROWS)
"""What a rotation of the root key writes anew."""

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
