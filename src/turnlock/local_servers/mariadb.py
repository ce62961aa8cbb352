"""MariaDB, from this machine's own package."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from typing import ClassVar

from turnlock.errors import ConfigurationError
from turnlock.local_servers import cluster
from turnlock.local_servers.mysql_files import MySQLLayout
from turnlock.local_servers.mysqld import MySQLServer
from turnlock.local_servers.process import Account

_PACKAGE_USER = "mysql"
"""The user that the package makes for the server."""


class EmbeddedMariaDB(MySQLServer):
    """A MariaDB server in one directory: see `MySQLServer`. As root, it runs as the package's user `mysql`."""

    product = "MariaDB"
    _root_goes: ClassVar[Sequence[str]] = (
        "DELETE FROM mysql.global_priv WHERE User = 'root'",
        "FLUSH PRIVILEGES",
    )

    def _server_command(self) -> Sequence[str]:
        return (mariadb_program("mariadbd"), "--no-defaults")

    def _initialise_command(self, layout: MySQLLayout) -> Sequence[str]:
        options = ("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
        place = ("--no-defaults", f"--datadir={layout.data}", f"--tmpdir={layout.data}")
        return (mariadb_program("mariadb-install-db"), *place, *options)

    def _shared_account(self) -> Account | None:
        if os.geteuid() != 0:
            return None
        try:
            entry = pwd.getpwnam(_PACKAGE_USER)
        except KeyError:
            return cluster.server_account()
        return Account(uid=entry.pw_uid, gid=entry.pw_gid)

    def _product_settings(self) -> Mapping[str, str]:
        return {"tmpdir": str(self._laid_out.data), **({} if self._tls else {"ssl": "OFF"})}


def mariadb_program(name: str) -> str:
    """Return the path of one of MariaDB's programs; ConfigurationError when the machine has none."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/usr/local/sbin")
    if found is None:
        raise ConfigurationError(
            "A MariaDB server is needed: install the package mariadb-server of this system."
        )
    return found
