"""A MariaDB that Turnlock starts for a DB instance. No account in it has more rights than the master user has.

MariaDB lets whoever has CREATE USER give any account another password, so an account with more rights would be the master's
for the asking. And a right on `*.*` is one on the schema `mysql` too, where the rights stand. So:

- INTERNAL_USER has the master user's rights. Its account is made anew at every start by the server's own init-file.
- Both have the rights on data by patterns of database names that `mysql` does not fit, and may read the schema `mysql`. A
  pattern such as `%` beside a narrower row for `mysql` would not do: the master could give `%` to somebody without that row.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedMariaDB, quoted
from turnlock.rds.local.server import LocalServer, Master
from turnlock.rds.model import INTERNAL_USER

if TYPE_CHECKING:
    import pymysql

_GUARDED: Final = "mysql"
_OF_NAMES: Final = f"{string.ascii_letters}{string.digits}_$-"
_GLOBAL_RIGHTS: Final = "RELOAD, PROCESS, SHOW DATABASES, REPLICATION SLAVE, CREATE USER"
"""What a master user may do that is about no database (RDS user guide, "Master user account privileges")."""

_NO_PROXIES: Final = ("DELETE FROM mysql.proxies_priv", "FLUSH PRIVILEGES")
"""Takes away the right of proxying, which the installation gives root's name and no account is to have."""


def guarded_patterns() -> Iterator[str]:
    """Yield patterns of database names that fit every name but `mysql`, one byte a place.

    Of the names of five bytes they fit those with one byte, where `mysql` has another, that is a letter, a digit, `_`, `$` or `-`.
    """
    length = len(_GUARDED)
    yield from ("_" * places for places in range(1, length))
    yield "_" * (length + 1) + "%"
    for place, letter in enumerate(_GUARDED):
        for other in _OF_NAMES.replace(letter, ""):
            literal = "\\_" if other == "_" else other
            yield _GUARDED[:place] + literal + "_" * (length - place - 1)


def rights_of(username: str) -> Sequence[str]:
    """Return the statements that give an account the rights of a master user and no others."""
    account = f"{quoted(username)}@'%'"
    return (
        f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account}",
        f"GRANT {_GLOBAL_RIGHTS} ON *.* TO {account} WITH GRANT OPTION",
        f"GRANT SELECT ON `{_GUARDED}`.* TO {account}",
        *(
            f"GRANT ALL PRIVILEGES ON `{pattern}`.* TO {account} WITH GRANT OPTION"
            for pattern in guarded_patterns()
        ),
    )


class LocalMariaDB(EmbeddedMariaDB):
    """A MariaDB that Turnlock enters as INTERNAL_USER."""

    def set_master(self, master: Master) -> None:
        """Make the user, or give it its password.

        Where INTERNAL_USER is refused, the master user has changed it: a restart makes it anew.
        """
        name, password = quoted(master.username), quoted(master.password)
        self._run_or_restart(
            f"CREATE USER IF NOT EXISTS {name}@'%' IDENTIFIED BY {password}",
            f"ALTER USER {name}@'%' IDENTIFIED BY {password} ACCOUNT UNLOCK",
            *rights_of(master.username),
            *([] if master.dbname is None else [f"CREATE DATABASE IF NOT EXISTS `{master.dbname}`"]),
        )

    def restate_rights(self, username: str) -> None:
        """Give an existing master user its rights; one that it has dropped itself comes back with its next password."""
        count = "SELECT COUNT(*) FROM mysql.global_priv WHERE Host = '%' AND User = "
        if self._run_or_restart(count + quoted(username)) == [(1,)]:
            self._run_or_restart(*rights_of(username))

    def _run_or_restart(self, *statements: str) -> list[tuple[object, ...]]:
        try:
            import pymysql  # noqa: PLC0415  (an optional extra)
        except ImportError:
            raise ConfigurationError("MariaDB needs the package pymysql: install turnlock[mysql].") from None
        try:
            try:
                return self.execute(*statements)
            except pymysql.OperationalError as error:
                if not _refused(error):
                    raise
                self.restart()
                return self.execute(*statements)
        except pymysql.Error as error:
            raise ConfigurationError(
                f"The master user could not be set: {type(error).__name__} {error.args[:1]}"
            ) from None

    def _start_statements(self) -> Sequence[str]:
        account = f"{quoted(self.user)}@'%'"
        return (
            *(() if self._laid_out.initialised else self._root_goes),
            *_NO_PROXIES,
            f"CREATE OR REPLACE USER {account} IDENTIFIED BY {quoted(self.password)}",
            *rights_of(self.user),
        )

    def _product_settings(self) -> Mapping[str, str]:
        # Patterns tell upper from lower case, as the names of databases must then.
        return {**super()._product_settings(), "lower-case-table-names": "0", "symbolic-links": "OFF"}


def _refused(error: pymysql.OperationalError) -> bool:
    """Tell whether the server did not take INTERNAL_USER as it should be (its error numbers for logins and rights)."""
    return error.args[0] in {1044, 1045, 1142, 1227, 1698, 1820, 1862, 4151}


def make_mariadb(directory: Path, password: str, port: int | None, *, confined: bool) -> LocalServer:
    """Return the server of a DB instance."""
    return LocalMariaDB(
        directory, user=INTERNAL_USER, password=password, port=port, tls=True, confined=confined
    )
