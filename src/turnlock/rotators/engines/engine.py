"""What a database engine is to the skeleton, and what can go wrong with it.

    RotationError
    ├── LoginFailed       one login did not succeed
    │   ├── Refused       the server judged the credential and refused it
    │   └── Unreachable   the server did not judge the credential
    ├── NoWayIn           no stored version may change the password
    ├── DatabaseFailed    a statement failed after a login
    └── Superseded        this attempt is no longer the one that may change the password

Every message is free of the secret's values: whoever raises one has passed it through `redacted`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeVar, runtime_checkable


class RotationError(Exception):
    """The rotation step failed."""


class LoginFailed(RotationError):
    """A login did not succeed."""


class Refused(LoginFailed):
    """The server judged the credential and refused it."""


class Unreachable(LoginFailed):
    """The server did not judge the credential: it is down, starting, full, unverified, or could not be spoken to."""


class NoWayIn(RotationError):
    """No stored version of the secret may log in and change the password."""


class DatabaseFailed(RotationError):
    """The server did not carry out a statement."""


class Superseded(RotationError):
    """This attempt is no longer the one that may change the password."""


class Verdict(Enum):
    """What a real login with one version of the secret came to; the values are the answers of the step `probe`."""

    ACCEPTED = "accepted"
    """The server let it in."""
    REFUSED = "refused"
    """The server judged the credential and refused it."""
    UNREACHABLE = "unreachable"
    """The server did not judge it: nothing is known."""
    ABSENT = "absent"
    """There is no such version, it has no value yet, or its value is no credential of this engine."""


def verdict_of(failure: LoginFailed) -> Verdict:
    """Return what a login that did not succeed says of its credential."""
    return Verdict.REFUSED if isinstance(failure, Refused) else Verdict.UNREACHABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Where a database is and who logs in, as a secret says it (AWS, "JSON structure of secrets")."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    dbname: str
    tls: bool
    """True: TLS with a verified certificate and host name. False only where the secret says `"ssl": false`."""

    @property
    def values(self) -> Mapping[str, str]:
        """What no message may show, by name."""
        return {name: getattr(self, name) for name in ("host", "username", "password", "dbname")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom a server takes somebody for who has logged in."""

    user: str
    host: str | None = None
    """MySQL's second half of an account's name, a pattern such as `%` or `10.1.%`; None where there is none, or nobody says."""
    locks_after: int | None = field(default=None, compare=False)
    """How many failed logins in a row make the server lock it; None where it does not, or nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The user that the next version of a secret logs in as."""

    model: Account
    """The user that readers log in as now: whatever it may do, its twin may."""
    username: str
    password: str = field(repr=False)
    group: str
    """The role that holds the rights of both (PostgreSQL): the first of the two users, or an owner role of its own."""
    acts_as_group: bool
    """True: both are members of `group`, and act as it from their login on."""
    is_proven: Callable[[], bool] = field(default=lambda: False, compare=False, repr=False)
    """Log in with AWSPREVIOUS and tell whether that is this user: then whoever holds the secret may act as it already."""


class Connection(Protocol):
    """An open session with a database."""

    def close(self) -> None:
        """End the session."""
        ...


C = TypeVar("C", bound=Connection)


class Engine(Protocol[C]):
    """One kind of database."""

    names: frozenset[str]
    """The values of the secret's `engine` that mean this kind."""
    default_port: int
    default_dbname: str
    longest_username: int

    def connect(self, credential: Credential, timeout: float) -> C:
        """Log in within `timeout` seconds; Refused or Unreachable when that does not succeed."""
        ...

    def set_password(self, connection: C, username: str, password: str, confirm: Callable[[], None]) -> None:
        """Make `password` the password of `username`.

        Calls `confirm` once it is certain that no later attempt can change the password before this one has ended;
        what `confirm` raises leaves everything as it was. DatabaseFailed when the server does not carry it out.
        """
        ...

    def check(self, connection: C) -> None:
        """Run a trivial query; DatabaseFailed when the server does not carry it out."""
        ...

    def account(self, connection: C) -> Account:
        """Ask the server for whom it takes this session; DatabaseFailed when it does not say."""
        ...


@runtime_checkable
class WaryEngine(Engine[C], Protocol[C]):
    """A kind of database in which others can have code run when a master user logs in or grants something."""

    def strangers(self, connection: C) -> Mapping[str, str]:
        """Ask, in a user's own session, what would run in its database: what it is called, to the user it belongs to.

        What belongs to a superuser is left out. DatabaseFailed when the server does not say.
        """
        ...


class TwinEngine(Engine[C], Protocol[C]):
    """A kind of database where one user can be given all that another one may do."""

    def renew_twin(self, connection: C, twin: Twin, confirm: Callable[[], None]) -> None:
        """Make the twin, or give it its new password, and all that its model may do; over a master user's session.

        The new password is valid only when everything else is done. `confirm` and errors as in `set_password`.
        """
        ...


class TwoPasswordEngine(Engine[C], Protocol[C]):
    """A kind of database whose users can have two passwords."""

    def add_password(
        self, connection: C, account: Account, password: str, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Make the account accept `password` and, beside it, `kept`, which it accepts now; and no third.

        `confirm` and errors as in `set_password`.
        """
        ...

    def discard_password(
        self, connection: C, account: Account, kept: str, confirm: Callable[[], None]
    ) -> None:
        """Make the account accept `kept` and nothing else; `confirm` and errors as in `set_password`."""
        ...


_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
"""A host name or an address, and none of the other things that a driver takes for a host: lists, paths, URLs."""
_PORTS = range(1, 65536)


def credential_of(secret: Mapping[str, Any], engine: Engine[Any]) -> Credential:
    """Read a secret's value as a credential for `engine`.

    KeyError, as AWS's functions raise, when a key is absent or the engine is another one; ValueError when a member
    has no usable value. `ssl` counts as false only when it is false or "false" in any case: an absent or unknown one
    means TLS, where AWS's functions would fall back to plaintext.
    """
    for key in ("engine", "host", "username", "password"):
        if key not in secret:
            raise KeyError(f"{key} is missing from the secret's JSON")
    if secret["engine"] not in engine.names:
        raise KeyError(f"the secret's engine must be one of: {', '.join(sorted(engine.names))}")
    host = _text(secret, "host")
    if not _HOST.fullmatch(host):
        raise ValueError("the secret's host is not one host name or address")
    return Credential(
        host=host,
        port=_port(secret.get("port") or engine.default_port),
        username=_text(secret, "username"),
        password=_text(secret, "password"),
        dbname=_text(secret, "dbname") if secret.get("dbname") else engine.default_dbname,
        tls=str(secret.get("ssl", True)).lower() != "false",
    )


def _text(secret: Mapping[str, Any], key: str) -> str:
    value = secret[key]
    if not isinstance(value, str) or not value or "\0" in value or not _encodes(value):
        raise ValueError(f"the secret's {key} is not a usable text")
    return value


def _encodes(text: str) -> bool:
    """Tell whether a text can be sent: JSON may hold half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _port(value: object) -> int:
    try:
        port = int(str(value))
    except ValueError:
        port = 0
    if port not in _PORTS:
        raise ValueError("the secret's port is not a port number") from None
    return port


def redacted(text: str, values: Mapping[str, str]) -> str:
    """Return a database's words on one line, with each of the secret's values (by name) replaced by its name.

    The password is replaced wherever it stands; the others only as whole words, since a user may be called `a`.
    """
    line = " ".join(text.split())
    password = values.get("password", "")
    for form in (password, " ".join(password.split())):
        line = line.replace(form, "<password>") if form else line
    names = [name for name, value in values.items() if value and name != "password"]
    # Once for each name over again: a value that is taken away may leave another one standing by itself.
    for name in sorted(names, key=lambda name: -len(values[name])) * len(names):
        line = re.sub(rf"(?<![\w<]){re.escape(values[name])}(?![\w>])", f"<{name}>", line)
    return line
