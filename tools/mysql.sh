#!/bin/sh
# A real MySQL server for the tests, where Debian stable has none: Debian unstable's mysql-server-core with every library it
# needs, fetched by apt (which checks the archive's signatures) from a list of its own and unpacked into a cache folder. Nothing
# is installed. It runs through that folder's own loader: tests/mysql_release.py finds it. Prints the version, or says why not.
set -eu
cache="${XDG_CACHE_HOME:-$HOME/.cache}/turnlock/mysql"
mirror="${TURNLOCK_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if [ -e "$cache/version" ]; then
  echo "MySQL $(cat "$cache/version")"
  exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null || [ ! -e "$keyring" ]; then
  echo "The tests of MySQL do not run: this is no Debian, and MySQL's server is fetched from Debian's archive." >&2
  exit 0
fi
work="$cache/apt"
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/parts" "$work/debs"
echo "deb [signed-by=$keyring] $mirror sid main" > "$work/sources.list"
: > "$work/status"
apt() {
  apt-get -q -o "Dir::Etc::SourceList=$work/sources.list" -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State::Lists=$work/lists" \
    -o "Dir::State::Status=$work/status" -o "Dir::Cache=$work" -o "Dir::Cache::Archives=$work/archives" \
    -o APT::Sandbox::User= -o Acquire::Languages=none "$@"
}
apt update >&2
# An empty status file means that nothing is installed, so that the plan names the whole closure, the C library included.
closure=$(apt install --simulate --no-install-recommends mysql-server-core | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p')
if [ -z "$closure" ]; then
  echo "The tests of MySQL do not run: the archive has no mysql-server-core that can be had with its libraries." >&2
  exit 0
fi
# shellcheck disable=SC2086  # one word for each package
(cd "$work/debs" && apt download $closure >&2)
rm -rf "$cache/root.new"
mkdir "$cache/root.new"
for package in "$work"/debs/*.deb; do
  dpkg -x "$package" "$cache/root.new"
done
rm -rf "$cache/root" "$work"
mv "$cache/root.new" "$cache/root"
echo "$closure" | tr ' ' '\n' | sed -n 's/^mysql-server-core[^=]*=//p' > "$cache/version.new"
mv "$cache/version.new" "$cache/version"
echo "MySQL $(cat "$cache/version")"
