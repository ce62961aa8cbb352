#!/bin/sh
# A real MySQL server for the tests, which Debian stable does not have; turnlock.local_servers.mysql finds it. See unpack.sh.
exec "$(dirname "$0")/unpack.sh" MySQL mysql-server-core
