#!/bin/sh
# A real MySQL server for the tests, which Debian stable does not have; turnlock.databases.mysql finds it. See unpack.sh.
exec "$(dirname "$0")/unpack.sh" MySQL mysql-server-core
