#!/bin/sh
# What the tests need beside Python packages: a PostgreSQL that speaks TLS (the wheel's is built without).
# As root it is installed; otherwise this says what to install, and the tests of TLS say why they do not run.
set -eu
for server in /usr/lib/postgresql/*/bin/postgres; do
  [ -x "$server" ] && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "The tests of TLS need Debian's postgresql: sudo apt-get install postgresql" >&2
  exit 0
fi
# The tests start servers of their own; the package's own cluster is not wanted.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql
