"""The root directory of a child: built from nothing out of what it may see.

    /            an empty file system in memory, read-only once it is furnished
    /usr /bin …  the system's programs, bound read-only; what is a link on the machine (/bin) is the same link here
    /etc         the settings that programs need to run, and a passwd of two lines
    /dev         five devices, and /dev/shm for who needs it
    /proc        of the child's own process namespace
    /tmp         its own, of bounded size: home, scratch and temporary files in one sum
    the places   of its orders, each where the orders say

What is not there has no name: no path reaches it, whatever its mode allows. So chmod, utimes, extended attributes and sockets that
have a path, which Landlock does not cover, are closed with the rest.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from turnlock.confinement import kernel
from turnlock.confinement.orders import Confinement, Place, shown

SCRATCH: Final = "/tmp"  # noqa: S108 -- the child's own, in its own mount namespace
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 -- as above
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS: Final = (
    "alternatives", "ca-certificates", "gai.conf", "host.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "localtime", "mime.types", "nsswitch.conf", "pki/ca-trust", "pki/tls/certs", "protocols", "resolv.conf", "services",
    "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "timezone",
)  # fmt: skip
"""Of /etc, only this: an operator may keep keys there that the server's user can read."""
_DESCRIPTORS: Final = (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2"))
_QUIET: Final = kernel.MS_NOSUID | kernel.MS_NODEV
_MOST_FILES = 16384
"""Files and directories in a /tmp; their names cost memory that its size does not count."""


def system_places() -> list[str]:
    """Return what every child sees of the machine, /etc aside: directories of programs and libraries."""
    return [path for path in _SYSTEM if Path(path).exists()]


def settings() -> list[str]:
    """Return the files and directories of /etc that a child may read where it has no root directory of its own."""
    return [os.path.realpath(f"/etc/{name}") for name in (*_SETTINGS, "passwd", "group")]


def interpreter_places() -> list[str]:
    """Return what this Python needs to run: its executables, its library, and the directories of `sys.path`.

    Of a virtual environment these are its packages, its configuration and the names of its interpreter, nothing else.
    """
    import_path = sys.path if sys.flags.isolated else _isolated_path()
    names = {"python", "python3", Path(sys.executable).name, f"python3.{sys.version_info.minor}"}
    bases = {sys.base_prefix, sys.base_exec_prefix}
    found = [f"{base}/{library}" for base in bases for library in ("lib", "lib64")]
    found += [f"{base}/bin/{name}" for base in {*bases, sys.prefix} for name in names]
    found += [f"{sys.prefix}/pyvenv.cfg", *(path for path in import_path if path.startswith("/"))]
    return [path for path in dict.fromkeys(found) if Path(path).exists()]


def _isolated_path() -> list[str]:
    """Return what `sys.path` is for a launcher, which is started with -I: without the script's directory and PYTHONPATH."""
    named = {os.path.realpath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part}
    return [path for path in sys.path[1:] if os.path.realpath(path) not in named]


def visible_places(wanted: Confinement) -> list[Place]:
    """Return all that a child sees of the machine but /etc and /dev, parents before what is in them, each once."""
    own = [*interpreter_places()] if wanted["interpreter"] else []
    places = [shown(path) for path in (*system_places(), *own)]
    places += [place for place in wanted["places"] if place["writable"] or Path(place["source"]).exists()]
    kept: dict[str, Place] = {}
    for place in sorted(map(_resolved, places), key=lambda place: (place["target"], place["writable"])):
        if not _is_in(place, kept):
            kept[place["target"]] = place
    return list(kept.values())


def _resolved(place: Place) -> Place:
    target = os.path.normpath(place["target"])
    return Place(source=os.path.realpath(place["source"]), target=target, writable=place["writable"])


def _is_in(place: Place, kept: dict[str, Place]) -> bool:
    """Tell whether a read-only place is seen already, at that path, within a directory that is shown."""
    if place["writable"]:
        return False
    for parent in Path(place["target"]).parents:
        above = kept.get(str(parent))
        if above is not None:
            inside = os.path.relpath(place["target"], above["target"])
            return os.path.realpath(f"{above['source']}/{inside}") == place["source"]
    return False


def build_root(wanted: Confinement, user: tuple[int, int]) -> None:
    """Mount the child's root directory at `home`, whole but for /proc; OSError when the kernel refuses a part."""
    root = wanted["home"]
    kernel.mount("tmpfs", root, "tmpfs", _QUIET, "mode=0755,size=4m,nr_inodes=8192")
    targets = [place["target"] for place in wanted["places"] if Path(place["source"]).exists()]
    _make_settings(root, wanted["etc"], user, targets)
    if wanted["home_bytes"]:  # before the places, some of which may lie in it
        _mount_memory(root + SCRATCH, wanted["home_bytes"], user)
    for place in visible_places(wanted):
        if Path(place["target"]).parent == Path("/") and Path(place["target"]).is_symlink():
            Path(root + place["target"]).symlink_to(Path(place["target"]).readlink())
        else:
            _bind(place["source"], root + place["target"], 0 if place["writable"] else kernel.MS_RDONLY)
    _make_devices(root, wanted, user)
    Path(root, "proc").mkdir(exist_ok=True)
    kernel.add_mount_flags(root, kernel.MS_RDONLY | _QUIET, recursive=False)


def move_in(root: str) -> None:
    """Make `root` the root directory and forget the former one; called by the first processes of a new process namespace.

    A container that masks its own /proc allows no other one; then there is none.
    """
    with suppress(OSError):
        kernel.mount("proc", f"{root}/proc", "proc", _QUIET | kernel.MS_NOEXEC | kernel.MS_RDONLY)
    kernel.change_root(root)


def _bind(source: str, target: str, flags: int) -> None:
    """Show a file or directory at `target`, which is made unless it is there. What is mounted beneath it is shown too."""
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    elif not Path(target).exists():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    kernel.mount(source, target, flags=kernel.MS_BIND | kernel.MS_REC)
    kernel.add_mount_flags(target, flags | _QUIET)


def _make_settings(root: str, files: dict[str, str], user: tuple[int, int], targets: Sequence[str]) -> None:
    """Make /etc: the child's own files, and those of the machine. A directory in which a target has no place yet is made anew."""
    uid, gid = user
    own = {
        "passwd": f"root:x:0:0::/:/usr/sbin/nologin\nturnlock:x:{uid}:{gid}::{SCRATCH}:/usr/sbin/nologin\n",
        "group": f"root:x:0:\nturnlock:x:{gid}:\n",
    }
    for name, text in (own | files).items():
        path = Path(root, "etc", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in _present_settings(files):
        with suppress(PermissionError):
            source = os.path.realpath(f"/etc/{name}")
            if any(_lacks_a_place(target, f"/etc/{name}", source) for target in targets):
                _show_entries(source, f"{root}/etc/{name}")
            else:
                _bind(source, f"{root}/etc/{name}", kernel.MS_RDONLY)


def _lacks_a_place(target: str, directory: str, source: str) -> bool:
    name = os.path.relpath(target, directory)
    return not name.startswith("..") and not Path(source, name).exists()


def _show_entries(source: str, target: str) -> None:
    """Make a directory whose entries are those of another one: nothing can be mounted on a name that is not there."""
    Path(target).mkdir(parents=True)
    for entry in os.scandir(source):
        if entry.is_symlink():
            Path(target, entry.name).symlink_to(Path(entry).readlink())
        else:
            _bind(entry.path, f"{target}/{entry.name}", kernel.MS_RDONLY)


def _present_settings(replaced: Iterable[str]) -> Iterator[str]:
    return (name for name in _SETTINGS if name not in replaced and Path("/etc", name).exists())


def _make_devices(root: str, wanted: Confinement, user: tuple[int, int]) -> None:
    Path(root, "dev").mkdir(exist_ok=True)
    for device in devices_of(wanted):
        Path(root + device).touch()
        kernel.mount(device, root + device, flags=kernel.MS_BIND)
        kernel.add_mount_flags(root + device, kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NOEXEC)
    for name, descriptor in _DESCRIPTORS:
        Path(root, "dev", name).symlink_to(f"/proc/self/fd{descriptor}")
    if wanted["shm_bytes"]:
        _mount_memory(root + SHARED_MEMORY, wanted["shm_bytes"], user)


def devices_of(wanted: Confinement) -> list[str]:
    """Return the devices that a child sees: a shared map of /dev/zero is memory that only a cgroup counts."""
    counted = wanted["memory_counted"] or wanted["system_calls"] == "server"
    return [device for device in DEVICES if counted or device != "/dev/zero"]


def _mount_memory(target: str, size: int, user: tuple[int, int]) -> None:
    """Mount an empty directory of bounded size that only the child's user can use."""
    Path(target).mkdir(exist_ok=True)
    owner = f"uid={user[0]},gid={user[1]}," if os.geteuid() == 0 else ""
    kernel.mount("tmpfs", target, "tmpfs", _QUIET, f"{owner}mode=0700,size={size},nr_inodes={_MOST_FILES}")
