"""Redis ACL users as an engine: they have any number of passwords, so two of them are the natural strategy.

Passwords go to the server as the SHA-256 that its ACL keeps (`#…`), never in clear but in AUTH itself. ACLs belong to one server: a
cluster, whose nodes have an ACL each, is not rotated by this. Tested on Redis 7.0 alone.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError, WatchError
from redis.retry import Retry

from turnlock.rotators.engines.engine import (
    Account,
    Credential,
    DatabaseFailed,
    Refused,
    Superseded,
    Unreachable,
    redacted,
)

_GARBLED = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError)
"""What redis-py raises beside its own errors when a server's answers are not what they should be."""

_FENCE_SECONDS = 86_400
"""How long the key stays by which a late attempt is known: longer than any function runs."""


class Session:
    """One connection, and who logged in over it."""

    def __init__(self, client: Any, credential: Credential) -> None:
        self.client = client
        self.values = credential.values

    def close(self) -> None:
        """End it."""
        with suppress(RedisError, OSError):
            self.client.close()


class RedisACL:
    """The engine of `redis` secrets. TLS is verified as PostgreSQL's is; without `ssl` there is no plain text."""

    names = frozenset({"redis"})
    default_port = 6379
    default_dbname = ""
    longest_username = 128

    def connect(self, credential: Credential, timeout: float) -> Session:
        """Log in within `timeout` seconds, which each answer has; Refused or Unreachable with the server's redacted words."""
        client: Any = redis.Redis(
            host=credential.host,
            port=credential.port,
            username=credential.username,
            password=credential.password,
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
            max_connections=2,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            **_encryption(credential),
        )
        session = Session(client, credential)
        try:
            who = client.execute_command("ACL WHOAMI")
        except AuthenticationError as error:
            session.close()
            words = redacted(str(error), credential.values)
            judged = "invalid username-password pair" in str(error) or "WRONGPASS" in str(error)
            raise (Refused(words) if judged else Unreachable(words)) from None
        except ResponseError as error:
            if "NOPERM" not in str(error) and "no permissions" not in str(error):
                session.close()
                raise Unreachable(redacted(str(error), credential.values)) from None
            return session  # it let the user in, who may not ask who it is
        except (RedisError, OSError, *_GARBLED) as error:
            session.close()
            raise Unreachable(redacted(str(error), credential.values)) from None
        if who != credential.username:
            session.close()
            raise Unreachable(
                "the server takes the session for another user's: it did not judge the password"
            )
        return session

    def check(self, connection: Session) -> None:
        """Run a trivial command; DatabaseFailed when the server does not answer it. A user that may not PING is let in all the same."""
        try:
            connection.client.execute_command("PING")
        except ResponseError:
            return
        except (RedisError, OSError) as error:
            raise DatabaseFailed(f"The command failed: {redacted(str(error), connection.values)}") from None

    def account(self, connection: Session) -> Account:
        """Return the user that logged in."""
        return Account(user=connection.values["username"])

    def set_password(
        self, connection: Session, username: str, password: str, confirm: Callable[[], None]
    ) -> None:
        """Make `password` the only one; the session's user must be allowed ACL SETUSER."""
        self._become(connection, username, [password], confirm)

    def add_password(
        self, connection: Session, account: Account, password: str, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Let the user in by either password, and by no third."""
        self._become(connection, account.user, [password, kept], confirm)

    def discard_password(
        self, connection: Session, account: Account, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Make the user accept `kept` and nothing else."""
        self._become(connection, account.user, [kept], confirm)

    def _become(
        self, connection: Session, username: str, passwords: Sequence[str], confirm: Callable[[], None]
    ) -> None:
        """Set a user's passwords in one transaction, which a later attempt's mark on a watched key makes void.

        The change is saved where the server keeps its users; one that keeps them nowhere is refused beforehand.
        """
        hashes = [f"#{hashlib.sha256(password.encode()).hexdigest()}" for password in passwords]
        fence = f"turnlock:rotation:{hashlib.sha256(username.encode()).hexdigest()[:40]}"
        with _reporting(connection), connection.client.pipeline() as transaction:
            _save(connection.client)
            connection.client.set(fence, secrets.token_hex(16), ex=_FENCE_SECONDS)
            transaction.watch(fence)
            confirm()
            transaction.multi()
            transaction.execute_command("ACL SETUSER", username, "resetpass", *hashes)
            transaction.execute()
            _save(connection.client)


def _save(client: Any) -> None:
    """Write the users to the server's ACL file, or its configuration: a restart would bring the old passwords back."""
    try:
        client.execute_command("ACL SAVE")
    except ResponseError as error:
        if "not configured to use an ACL file" not in str(error):
            raise
        client.execute_command("CONFIG REWRITE")


@contextmanager
def _reporting(connection: Session) -> Iterator[None]:
    try:
        yield
    except WatchError:
        raise Superseded("A later attempt has begun to change this user's passwords.") from None
    except (RedisError, OSError) as error:
        raise DatabaseFailed(
            f"The password change failed: {redacted(str(error), connection.values)}"
        ) from None


def _encryption(credential: Credential) -> dict[str, Any]:
    if not credential.tls:
        return {"ssl": False}
    authorities = os.environ.get("SSL_CA_FILE") or ssl.get_default_verify_paths().cafile
    return {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": authorities}
