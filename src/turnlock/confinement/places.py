"""Which files a function may see, and how a user who owns nothing gets to them."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from turnlock.confinement import kernel

_SYSTEM: Final = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
_SETTINGS: Final = (
    "alternatives", "ca-certificates", "gai.conf", "group", "host.conf", "hosts", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "passwd", "pki/ca-trust", "pki/tls/certs",
    "protocols", "resolv.conf", "services", "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "timezone",
)  # fmt: skip
"""Of /etc, only this: an operator may keep keys there that the server's user can read."""
SCRATCH: Final = "/tmp"  # noqa: S108 -- the function's own, in its own mount namespace
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def readable_places(own: Iterable[str]) -> list[str]:
    """Return what a function may read: the system's programs and settings, this interpreter, and what is its `own`."""
    settings = [f"/etc/{name}" for name in _SETTINGS]
    interpreter = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path]
    found = dict.fromkeys([*_SYSTEM, *settings, *interpreter, *own])
    # A link's own place is opened on the way; the rule must stand where the file is.
    places = dict.fromkeys(Path(os.path.realpath(path)) for path in found)
    return [str(path) for path in places if path != Path("/") and path.exists()]


def closed_ancestor(path: str) -> str | None:
    """Return the topmost directory on the way to `path` that strangers may not pass; None when the way is free."""
    at = ""
    for part in path.strip("/").split("/")[:-1]:
        at = f"{at}/{part}"
        if not Path(at).stat().st_mode & stat.S_IXOTH:
            return at
    return None


def open_ways(paths: Sequence[str], *, scratch_bytes: int) -> None:
    """Make the paths reachable for strangers, in this mount namespace: root alone can, and only before it is root no more.

    A closed directory is covered by an empty one in memory, and only what is named is put into it again: files as copies,
    directories as they are. /tmp is covered in any case, by one that everybody can write to, of `scratch_bytes`: functions
    expect it. OSError when the kernel refuses.
    """
    behind: dict[str, list[tuple[str, int]]] = {SCRATCH: []}
    for path in sorted(paths):
        closed = SCRATCH if path.startswith(f"{SCRATCH}/") else closed_ancestor(path)
        if closed is not None:
            behind.setdefault(closed, []).append((path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
    for closed, entries in behind.items():
        bounds = (
            f"mode=1777,size={scratch_bytes},nr_inodes=16384" if closed == SCRATCH else "mode=0755,size=16m"
        )
        kernel.mount("tmpfs", closed, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, bounds)
        for path, place in entries:
            if not Path(path).exists():
                _put_back(Path(path), place)
            os.close(place)


def _put_back(path: Path, place: int) -> None:
    if stat.S_ISDIR(os.fstat(place).st_mode):
        path.mkdir(parents=True)
        kernel.mount(f"/proc/self/fd/{place}", str(path), flags=kernel.MS_BIND | kernel.MS_REC)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(place, "rb", closefd=False) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    path.chmod(0o444)
