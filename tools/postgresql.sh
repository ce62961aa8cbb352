#!/bin/sh
# PostgreSQL 18 with TLS for the tests: Debian stable has an older one, and the wheel's is built without. See unpack.sh.
programs=usr/lib/postgresql/18/bin
exec "$(dirname "$0")/unpack.sh" PostgreSQL postgresql-18 $programs/postgres $programs/initdb
