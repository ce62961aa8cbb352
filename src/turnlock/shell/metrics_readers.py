"""Who may read `/metrics`, which takes no signature: who shows the bearer token, from the networks of `--metrics-from`.

Functions and local databases are on loopback too, and where the server is not root they have its user: an address tells nobody
apart. So a token is always asked for. It is in a file that they do not see: `--metrics-token-file`, or `metrics-token` in the
data directory, which the first start makes.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from turnlock import root_keys
from turnlock.config import Config, is_within
from turnlock.errors import ConfigurationError
from turnlock.wire import HttpRequest

_SHORTEST, _LONGEST = 16, 4096


class MetricsReaders:
    """The readers of one server's metrics."""

    def __init__(self, config: Config) -> None:
        """Raise ConfigurationError where the token cannot be read."""
        self._networks = config.metrics_from
        self._token = read_token(config.metrics_token)

    def includes(self, request: HttpRequest) -> bool:
        """Tell whether a request may read them."""
        if not is_within(request.source_ip, self._networks):
            return False
        scheme, _, given = (request.header("authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)


def make_token(config: Config) -> None:
    """Draw the token of a server for which none was given, if there is none yet."""
    if config.metrics_token_file is None:
        with suppress(FileExistsError):
            root_keys.write_private(config.metrics_token, f"{secrets.token_urlsafe(32)}\n", replace=False)


def read_token(path: Path) -> bytes:
    """Return the bearer token in a file of one line. Raises ConfigurationError for a file that others may read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            token = file.read(_LONGEST + 1).strip()
    except OSError as error:
        raise ConfigurationError(
            f"The metrics' token file {path} cannot be read: {error.strerror}."
        ) from None
    if stat.S_ISREG(status.st_mode) and (status.st_mode & 0o077 or status.st_uid not in (os.geteuid(), 0)):
        raise ConfigurationError(
            f"Others may read the file {path}, which holds the metrics' token; make it yours alone (chmod 600)."
        )
    if not _SHORTEST <= len(token) <= _LONGEST or len(token.split()) != 1:
        raise ConfigurationError(
            f"The metrics' token file {path} is to hold one line, a token of at least {_SHORTEST} characters."
        )
    return token
