#!/bin/sh
# A database server for the tests that Debian stable does not have: unpack.sh PRODUCT PACKAGE [PROGRAM…]. Debian unstable's PACKAGE
# with every library it needs, fetched by apt (which checks the archive's signatures) from a list of its own and unpacked into a
# cache folder. Nothing is installed. It runs through that folder's own loader; a PROGRAM, which others start by its path, becomes
# a script that does so. Prints the version, or says why not.
#
# Any number may run at once: one works, the others wait for its lock. What is unpacked gets its name only when it is whole, and
# is held against its list of files (digests and links) each time; what is not whole is told of and fetched again.
set -eu
product=$1 package=$2
shift 2
cache="${XDG_CACHE_HOME:-$HOME/.cache}/turnlock/$(echo "$product" | tr '[:upper:]' '[:lower:]')"
keyring="${TURNLOCK_DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}"
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9 # given back when this shell ends, however that is

contents() { # of a folder: each file's digest, then each link's target
  (cd "$1" && find . -type f -print0 | sort -z | xargs -0r sha256sum && find . -type l -printf '%p -> %l\n' | sort)
}

if [ -e "$cache/version" ] && [ -d "$cache/root" ]; then
  if [ ! -e "$cache/contents" ]; then
    what="has no list of its files" # of an older version of this; it is used until another is there
  elif contents "$cache/root" | cmp -s - "$cache/contents"; then
    echo "$product $(cat "$cache/version")"
    exit 0
  else
    what="is not whole"
    rm -rf "$cache/root"
  fi
  echo "$product in $cache/root $what: it is fetched again." >&2
fi
# What an earlier one left half done does not count: the next fetches anew. Without a root the tests say NOT RUN.
rm -rf "$cache/version" "$cache/contents" "$cache"/new.* "$cache/root.new" "$cache/apt"
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null || [ ! -e "$keyring" ]; then
  echo "The tests of $product do not run: this is no Debian, and $product's server is fetched from Debian's archive." >&2
  exit 0
fi
# The archive is the one that this system's own packages come from.
release=$(sed -n 's/^VERSION_CODENAME=//p' "${TURNLOCK_OS_RELEASE:-/etc/os-release}")
mirror=$(apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(REPO_URI)' | sed -n "s/^Packages $release //p" | head -n 1)
mirror=${TURNLOCK_DEBIAN_MIRROR:-$mirror}
if [ -z "$mirror" ]; then
  echo "The tests of $product do not run: apt knows no archive of this system; TURNLOCK_DEBIAN_MIRROR may name one." >&2
  exit 0
fi
work=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/parts" "$work/debs" "$work/root"
echo "deb [signed-by=$keyring] $mirror sid main" > "$work/sources.list"
: > "$work/status"
apt() {
  apt-get -q -o "Dir::Etc::SourceList=$work/sources.list" -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State::Lists=$work/lists" \
    -o "Dir::State::Status=$work/status" -o "Dir::Cache=$work" -o "Dir::Cache::Archives=$work/archives" \
    -o APT::Sandbox::User= -o Acquire::Languages=none "$@"
}
apt update >&2
# An empty status file means that nothing is installed, so that the plan names the whole closure, the C library included.
closure=$(apt install --simulate --no-install-recommends "$package" | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p')
if [ -z "$closure" ]; then
  echo "The tests of $product do not run: the archive has no $package that can be had with its libraries." >&2
  exit 0
fi
# shellcheck disable=SC2086  # one word for each package
(cd "$work/debs" && apt download $closure >&2)
for archive in "$work"/debs/*.deb; do
  dpkg -x "$archive" "$work/root"
done
for program; do # PostgreSQL finds its files by the name that it was started with
  program=$work/root/$program
  mv "$program" "$program.program"
  cat > "$program" << 'END'
#!/bin/sh
libraries=${0%/usr/*}/usr/lib/x86_64-linux-gnu
exec "$libraries/ld-linux-x86-64.so.2" --argv0 "$0" --library-path "$libraries" "$0.program" "$@"
END
  chmod 755 "$program"
done
contents "$work/root" > "$work/contents"
echo "$closure" | tr ' ' '\n' | sed -n "s/^$package[^=]*=//p" > "$work/version"
chmod 755 "$work/root"
sync -f "$work" # the names below must not be kept before the files are
[ ! -e "$cache/root" ] || mv "$cache/root" "$work/before"
mv "$work/root" "$cache/root"
mv "$work/contents" "$cache/contents"
mv "$work/version" "$cache/version" # the last: whatever ends this before is begun anew
echo "$product $(cat "$cache/version")"
