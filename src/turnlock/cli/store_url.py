"""Where the store's URL comes from: a file, the environment or the command line. It may hold a password."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import click
import structlog
from click.core import ParameterSource

from turnlock.errors import ConfigurationError
from turnlock.shell import logs

F = TypeVar("F", bound=Callable[..., Any])

VARIABLE: Final = "TURNLOCK_DATABASE_URL"
_LONGEST: Final = 8192
"""Bytes of a file that holds a URL."""
_KEPT: Final = "turnlock.database-url-file"
"""Where a command's context keeps what the file said until --database is read."""

log = structlog.get_logger(__name__)


def database(command: F) -> F:
    """Give a command the options --database and --database-url-file, and the parameter `database`: the URL, or None."""
    command = click.option(
        "--database-url-file",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_keep,
        metavar="FILE",
        help="A file of your own (mode 600) that holds the URL: what --database says, every user of the machine can read.",
    )(command)
    return click.option(
        "--database",
        metavar="URL",
        envvar=VARIABLE,
        show_envvar=True,
        callback=_choose,
        help="A postgresql:// URL; without it, SQLite inside the data directory. Its password is better in the variable, the file,"
        " or a password file of libpq (PGPASSFILE, ~/.pgpass, or passfile= in the URL).",
    )(command)


def read_url(path: Path) -> str:
    """Return the URL in a file. ConfigurationError, which never quotes it, when others may read the file or it has no one line."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and (
                status.st_mode & 0o077 or status.st_uid not in (os.geteuid(), 0)
            ):
                raise ConfigurationError(
                    f"Others may read the file {path}, which holds the store's URL; make it yours alone (chmod 600)."
                )
            lines = file.read(_LONGEST + 1).decode().split("\n")
    except OSError as error:
        raise ConfigurationError(f"--database-url-file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        lines = []
    text = [line.strip() for line in lines if line.strip()]
    if len(text) != 1 or len(text[0]) > _LONGEST:
        raise ConfigurationError(f"--database-url-file {path} is to hold one line, the URL.")
    return text[0]


def shows_password(url: str) -> bool:
    """Tell whether a URL holds a password, after the user's name or as libpq's parameter."""
    try:
        parts = urlsplit(url)
        return bool(parts.password) or "password" in parse_qs(parts.query)
    except ValueError:
        return True


def _keep(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    if path is not None:
        context.meta[_KEPT] = read_url(path)


def _choose(context: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
    """Return the URL to use: the file's; else the command line's, with a warning; else the variable's.

    No program that this process starts shall have the variable.
    """
    os.environ.pop(VARIABLE, None)
    given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    from_file: str | None = context.meta.get(_KEPT)
    if from_file is not None:
        if given:
            raise ConfigurationError("--database and --database-url-file: give one of them.")
        return from_file
    if given and url is not None and shows_password(url):
        logs.configure()
        log.warning(
            "the store's password is on the command line, where `ps` shows it to every user: give it in the variable"
            " TURNLOCK_DATABASE_URL, with --database-url-file, or in a file that PGPASSFILE names",
            action="password_on_command_line",
        )
    return url
