"""RDS: the registry of DB instances and clusters.

What it does: answers RDS's actions, keeps master passwords sealed or in secrets that RDS owns, and has `local` run the
instances that Turnlock itself starts. What it trusts: the columns of the registry's rows that their MAC covers. What it
must never do: leave a server running when its instance is deleted, or show a password in a message, a log line or a
command line.
"""

from turnlock.rds.api import ACTIONS, actions
from turnlock.rds.changes import ServerWanted
from turnlock.rds.clusters import REGISTER as REGISTER_CLUSTER
from turnlock.rds.instances import REGISTER as REGISTER_INSTANCE
from turnlock.rds.local.authorities import Authorities
from turnlock.rds.local.provider import Provider
from turnlock.rds.store import MACS

__all__ = [
    "ACTIONS",
    "MACS",
    "REGISTER_CLUSTER",
    "REGISTER_INSTANCE",
    "Authorities",
    "Provider",
    "ServerWanted",
    "actions",
]
