"""A database's programs as a stranger's: the common confinement, with the places, the port and the user of one instance.

What a program sees: the system's programs and libraries, the directories of its instance, a /tmp and a /dev/shm of its own. It binds
its port and connects to none. As root each instance has a user of its own, which its directory's owner remembers. Where this process
may make cgroups, each program runs in one.
"""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from turnlock.confinement import cgroups
from turnlock.confinement.orders import Confinement, Orders, shown
from turnlock.confinement.start import start
from turnlock.errors import ConfigurationError
from turnlock.local_servers.process import Account, kept_by_a_thread

FIRST_UID: Final = 0x7100_0000
LAST_UID: Final = 0x71FF_FFFF
"""The users of instances: above those of functions (0x7000_0000 and a process id of at most 22 bits), below 2^31."""

_SYSTEM: Final = ("/usr/", "/bin/", "/sbin/", "/lib/")
_SCRATCH_BYTES: Final = 64 << 20
_SHARED_BYTES: Final = 256 << 20
"""What the parallel queries of PostgreSQL share; memory only while they do."""
_PROCESSES: Final = 512
MEMORY_BYTES: Final = 2 << 30
"""What a cgroup lets all processes of an instance have, with its /tmp and /dev/shm and what the kernel keeps for it."""
_OPEN_FILES: Final = 8192
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_random = random.SystemRandom()
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosure:
    """What a server's programs see, and as whom they run where this process is root."""

    mount: Path
    """An empty directory of ours, where the child's root directory is built."""
    account: Account | None
    readable: Sequence[Path] = ()
    writable: Sequence[Path] = ()

    def start(self, program: Sequence[str], *, port: int, output: int) -> subprocess.Popen[bytes]:
        """Start a server that listens at `port`, with its output in `output`; OSError when it cannot be started.

        It is told to end (SIGQUIT) when this process ends, and killed with all that it started a minute later.
        """
        cgroup = _make_cgroup()
        orders = self._orders(program, cgroup, ports=(port,), owner_signal=signal.SIGQUIT)
        return kept_by_a_thread(lambda: start(orders, output=output), ended=lambda: _remove(cgroup, program))

    def run(self, program: Sequence[str], *, seconds: float) -> str:
        """Run a program to its end. ConfigurationError with its own last words when it fails; OSError when it cannot be started."""
        cgroup = _make_cgroup()
        try:
            return self._run(program, cgroup, seconds)
        finally:
            _remove(cgroup, program)

    def _run(self, program: Sequence[str], cgroup: cgroups.Cgroup | None, seconds: float) -> str:
        process = start(self._orders(program, cgroup, ports=(), owner_signal=signal.SIGKILL))
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise ConfigurationError(f"{Path(program[0]).name} took longer than {seconds:g} s.") from None
        words: str = output.decode(errors="replace")[-2000:].strip()
        if process.returncode != 0:
            raise ConfigurationError(f"{Path(program[0]).name} failed: {words}")
        return words

    def _orders(
        self,
        program: Sequence[str],
        cgroup: cgroups.Cgroup | None,
        *,
        ports: Sequence[int],
        owner_signal: int,
    ) -> Orders:
        return Orders(
            owner_pid=os.getpid(),
            owner_signal=int(owner_signal),
            command=list(program),
            environment={"LC_ALL": "C", "PATH": _PATH},
            work_in="/",
            cgroup="" if cgroup is None else str(cgroup.path),
            confinement=self._confinement(ports, counted=cgroup is not None and "memory" in cgroup.features),
        )

    def _confinement(self, ports: Sequence[int], *, counted: bool) -> Confinement:
        self.mount.mkdir(mode=0o700, exist_ok=True)
        places = [shown(str(path)) for path in self.readable if not str(path).startswith(_SYSTEM)]
        places += [shown(str(path), writable=True) for path in self.writable]
        return Confinement(
            demand="required",
            system_calls="server",
            places=places,
            interpreter=False,
            etc={},
            home=str(self.mount),
            home_bytes=_SCRATCH_BYTES,
            shm_bytes=_SHARED_BYTES,
            user=(self.account.uid, self.account.gid) if self.account else None,
            bind_ports=list(ports),
            connects=False,
            memory_counted=counted,
            processes=_PROCESSES,
            address_bytes=None,
            file_bytes=None,
            cpu_seconds=None,
            open_files=_OPEN_FILES,
            nice=0,
        )


def _make_cgroup() -> cgroups.Cgroup | None:
    """Return a cgroup with the limits of an instance; None where this process may make none. OSError when the kernel refuses."""
    owner = cgroups.own()
    if owner is None:
        return None
    made = owner.make()
    try:
        made.limit(memory_bytes=MEMORY_BYTES, processes=_PROCESSES, cpu_weight=cgroups.CPU_WEIGHT)
    except OSError:
        made.remove()
        raise
    return made


def _remove(cgroup: cgroups.Cgroup | None, program: Sequence[str]) -> None:
    if cgroup is None:
        return
    if cgroup.ran_out_of_memory:
        log.warning(
            "a local database used more memory than its limit and was ended",
            action="database_out_of_memory",
            program=Path(program[0]).name,
            memory_bytes=MEMORY_BYTES,
        )
    cgroup.remove()


def instance_account(root: Path) -> Account | None:
    """Return the user of the instance whose files are below `root`: the owner of its data, else a new one of FIRST_UID to LAST_UID.

    None where this process is not root. A new one owns nothing of the other instances beside `root`, and is nobody's login.
    """
    if os.geteuid() != 0:
        return None
    taken = {_owner(path) for path in root.parent.glob("*/data")}
    uid = _owner(root / "data")
    if not FIRST_UID <= uid <= LAST_UID:
        uid = _random.randint(FIRST_UID, LAST_UID)
        while uid in taken:
            uid = _random.randint(FIRST_UID, LAST_UID)
    return Account(uid=uid, gid=uid)


def _owner(path: Path) -> int:
    try:
        return path.lstat().st_uid
    except OSError:
        return -1


def hand_over(directory: Path, account: Account | None) -> None:
    """Make a directory of ours, with all that its owner has in it, the account's; it is harmless to do it again after a crash.

    The directory itself goes last. A former owner could plant things there: nothing is followed, what belongs to somebody else stays
    theirs, and ConfigurationError refuses a file that has a second name, which could be anybody's.
    """
    if account is None:
        return
    former = directory.lstat().st_uid
    if former != account.uid:
        try:
            for _, names, files, place in os.fwalk(directory, follow_symlinks=False):
                for name in (*names, *files):
                    _hand_over_one(name, place, former, account)
        except RecursionError:
            raise ConfigurationError(f"The directories in {directory} are nested too deep.") from None
    os.chown(directory, account.uid, account.gid, follow_symlinks=False)


def _hand_over_one(name: str, place: int, former: int, account: Account) -> None:
    found = os.stat(name, dir_fd=place, follow_symlinks=False)
    if found.st_uid != former:
        return
    if stat.S_ISLNK(found.st_mode):
        os.chown(name, account.uid, account.gid, dir_fd=place, follow_symlinks=False)
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink != 1:
            raise ConfigurationError(
                f"The database's file {name} has a second name elsewhere: it cannot be taken over."
            )
        if status.st_uid == former:
            os.fchown(descriptor, account.uid, account.gid)
    finally:
        os.close(descriptor)
