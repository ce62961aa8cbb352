#!/bin/sh
# What the tests need beside Python packages: a PostgreSQL that speaks TLS (the wheel's is built without), PgBouncer, MariaDB,
# Redis, SoftHSM, HAProxy, and Node.js for the JavaScript SDK.
# As root they are installed; otherwise this says what to install, and the tests that need one say why they do not run.
# A real MySQL, and PostgreSQL 18 with TLS, are fetched by tools/mysql.sh and tools/postgresql.sh, which install nothing.
set -eu
wanted=""
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || wanted="$wanted postgresql"
command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || wanted="$wanted mariadb-server"
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || wanted="$wanted haproxy"
command -v redis-server >/dev/null || wanted="$wanted redis-server"
command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || wanted="$wanted pgbouncer"
command -v node >/dev/null || wanted="$wanted nodejs"
command -v npm >/dev/null || wanted="$wanted npm"
ls /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so >/dev/null 2>&1 || wanted="$wanted softhsm2"
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Some tests need Debian's packages: sudo apt-get install$wanted" >&2
  exit 0
fi
# The tests start servers of their own: the packages' own cluster and services are not wanted.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
fi
apt-get update -q
# shellcheck disable=SC2086  # one word for each package
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $wanted
