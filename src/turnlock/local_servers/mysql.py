"""MySQL, from the system or from a folder that holds it with all its libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

from turnlock.errors import ConfigurationError
from turnlock.local_servers import cluster
from turnlock.local_servers.mysql_files import MySQLLayout
from turnlock.local_servers.mysqld import MySQLServer
from turnlock.local_servers.process import Account

_LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
_LOADER = _LIBRARIES / "ld-linux-x86-64.so.2"
_PROGRAM = Path("usr/sbin/mysqld")


class EmbeddedMySQL(MySQLServer):
    """A MySQL server in one directory: see `MySQLServer`. As root, it runs as the user `pgserver`."""

    product: ClassVar[str] = "MySQL"
    _root_goes: ClassVar[Sequence[str]] = ("DROP USER 'root'@'localhost'",)

    def _server_command(self) -> Sequence[str]:
        return (*mysql_command(), "--no-defaults")

    def _initialise_command(self, layout: MySQLLayout) -> Sequence[str]:
        place = (f"--datadir={layout.data}", f"--basedir={_base()}")
        return (*mysql_command(), "--no-defaults", "--initialize-insecure", *place)

    def _shared_account(self) -> Account | None:
        account = cluster.server_account()
        if account:
            cluster.let_through(Path(_base()) / "sbin")
        return account

    def _product_settings(self) -> Mapping[str, str]:
        base = _base()
        return {
            "basedir": base,
            "plugin-dir": f"{base}/lib/mysql/plugin",
            "secure-file-priv": "NULL",
            "mysqlx": "OFF",
            **({} if self._tls else {"auto-generate-certs": "OFF", "tls-version": ""}),
        }


def unpacked_release(product: str = "mysql") -> Path:
    """Return where tools/unpack.sh puts a server: below the user's cache directory (XDG Base Directory Specification)."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache_home) / "turnlock" / product / "root"


@cache
def mysql_command() -> tuple[str, ...]:
    """Return the words that run MySQL's server; ConfigurationError when the machine has none.

    An unpacked release runs through its own loader and C library, which may be newer than the system's.
    """
    root = unpacked_release()
    if (root / _PROGRAM).exists() and (root / _LOADER).exists():
        return (str(root / _LOADER), "--library-path", str(root / _LIBRARIES), str(root / _PROGRAM))
    found = shutil.which("mysqld", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None or "MariaDB" in _version_of((found,)):
        raise ConfigurationError("A MySQL server is needed, and MariaDB is none: run tools/mysql.sh.")
    return (found,)


def mysql_version() -> str:
    """Return the version that the server gives itself, such as `9.7.4`; ConfigurationError when there is none."""
    return _version_of(mysql_command()).partition("Ver ")[2].partition(" ")[0]


def _base() -> str:
    return str(Path(mysql_command()[-1]).parents[1])


def _version_of(command: Sequence[str]) -> str:
    try:
        ended = subprocess.run(  # noqa: S603  (fixed program, no shell)
            [*command, "--no-defaults", "--version"], check=True, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"MySQL does not run: {type(error).__name__}") from error
    return ended.stdout
