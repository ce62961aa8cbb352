"""Which database servers this machine has, and in which versions: what CreateDBInstance can start here."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from turnlock.errors import ConfigurationError
from turnlock.local_servers import cluster
from turnlock.local_servers.mariadb import mariadb_program

_VERSION = re.compile(r"\b(\d+\.\d+(?:\.\d+)?)")
_SECONDS = 20


def _postgres() -> str:
    """Return the newest PostgreSQL's server: the system's, which offers TLS, else the wheel's."""
    try:
        return str(cluster.system_programs() / "postgres")
    except ConfigurationError:
        return str(cluster.bundled_programs() / "postgres")


def _mariadb() -> str:
    return mariadb_program("mariadbd")


PROGRAMS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {"aurora-postgresql": _postgres, "mariadb": _mariadb, "postgres": _postgres}
)
"""By engine: what finds its server's program. MySQL is not in Debian, and MariaDB is no stand-in for it."""


def program_of(engine: str) -> str:
    """Return the path of an engine's server; ConfigurationError, with what to install, when there is none."""
    if engine not in PROGRAMS:
        raise ConfigurationError(
            f"This server starts {', '.join(PROGRAMS)}, not {engine}: register a server that runs already with"
            " `turnlock databases add`."
        )
    return PROGRAMS[engine]()


def require_driver(engine: str) -> None:
    """Raise ConfigurationError, with what to install, unless Turnlock can log in to an engine's server."""
    if engine == "mariadb" and importlib.util.find_spec("pymysql") is None:
        raise ConfigurationError("MariaDB needs the package pymysql: install turnlock[mysql].")


def version_of(engine: str) -> str:
    """Return the version of an engine's server, such as `15.8`; ConfigurationError when there is none."""
    return _version(program_of(engine))


def versions() -> dict[str, str]:
    """Return the version of each engine that can be started here."""
    found: dict[str, str] = {}
    for engine in PROGRAMS:
        try:
            found[engine] = version_of(engine)
        except ConfigurationError:
            continue
    return found


@cache
def _version(program: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  (fixed program, no shell)
            [program, "--version"],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{program} does not run: {type(error).__name__}.") from error
    version = _VERSION.search(done.stdout)
    if version is None:
        raise ConfigurationError(f"{program} does not say its version.")
    return version[1]
