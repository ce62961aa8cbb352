"""The files of one server of MySQL's family: where they lie, who owns them; and how a text stands in its statements."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from turnlock.local_servers import cluster
from turnlock.local_servers.authority import loopback_identity
from turnlock.local_servers.confined import hand_over
from turnlock.local_servers.process import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class MySQLLayout:
    """Where the parts of a server lie below its directory."""

    root: Path
    socket_directory: Path

    @property
    def data(self) -> Path:
        """The server's own data directory; only its account may enter."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """What the server writes on its standard error."""
        return self.root / "mysqld.log"

    @property
    def ca(self) -> Path:
        """The certificate that clients verify the server with; anyone may read it."""
        return self.root / "tls" / "ca.pem"

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return self.socket_directory / "mysqld.sock"

    @property
    def initialised(self) -> bool:
        """True when initialisation was completed here, up to the master user."""
        return (self.root / "initialised").exists()


def lay_out(root: Path, account: Account | None, *, passable: bool) -> MySQLLayout:
    """Make the directories of a server below `root` and give those that it writes to its account.

    `passable`: let the account reach them, by way of every directory above. ConfigurationError when what is there cannot be its.
    """
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    root = root.resolve()
    layout = MySQLLayout(root=root, socket_directory=cluster.socket_directory(root, "turnlock-my-"))
    layout.ca.parent.mkdir(exist_ok=True)
    # Whatever the umask is: the server and its clients must come to the authority.
    layout.ca.parent.chmod(0o755)
    for directory in (layout.data, layout.socket_directory):
        make_private(directory, account)
    if account:
        root.chmod(0o711)
        if passable:
            cluster.let_through(layout.data)
    return layout


def make_private(directory: Path, account: Account | None) -> None:
    """Make a directory, unless it exists, that only the server's account may enter."""
    directory.mkdir(mode=0o700, exist_ok=True)
    hand_over(directory, account)


def quoted(text: str) -> str:
    """Return `text` as a string literal on one line, for the SQL modes that a server starts with.

    ValueError for what cannot be printed: a literal of an init-file ends with its line.
    """
    if not text.isprintable():
        raise ValueError("an unprintable character cannot stand here")
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def write_certificates(layout: MySQLLayout, account: Account | None) -> tuple[Path, Path]:
    """Return the server's certificate and key files, making them and the authority's certificate when absent."""
    certificate, key = layout.root / "tls" / "server.crt", layout.root / "tls" / "server.key"
    if not (certificate.exists() and key.exists() and layout.ca.exists()):
        identity = loopback_identity(datetime.now(UTC))
        cluster.write_private(certificate, identity.certificate, account)
        cluster.write_private(key, identity.key, account)
        layout.ca.write_bytes(identity.ca)
        layout.ca.chmod(0o644)
    if account:
        for path in (certificate, key):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    return certificate, key
