"""The single-user strategy: a role changes its own password."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from turnlock.rotators.engine import (
    C,
    Credential,
    Engine,
    LoginFailed,
    NoWayIn,
    Refused,
    Unreachable,
    Verdict,
)

LOGIN_TIMEOUT = 5.0
"""Seconds for one login. Three of them leave time for the change inside a function's usual 30 seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One labelled version of the secret."""

    name: str
    """`pending`, `current` or `previous`."""
    credential: Credential | None
    """None when there is no such version or it holds no credential."""


def verdict_on(engine: Engine[C], credential: Credential | None) -> Verdict:
    """Log in for real and tell what came of it."""
    if credential is None:
        return Verdict.ABSENT
    try:
        engine.connect(credential, LOGIN_TIMEOUT).close()
    except Refused:
        return Verdict.REFUSED
    except Unreachable:
        return Verdict.UNREACHABLE
    return Verdict.ACCEPTED


def set_password(
    engine: Engine[C],
    target: Candidate,
    ways_in: Sequence[Candidate],
    confirm: Callable[[], None],
) -> None:
    """Make the database accept `target`, logging in with the first of `ways_in` that it accepts.

    Done at once when it accepts the target already. A version that the database refuses leads to the next one; an
    unreachable database ends the attempt, since trying on would prove nothing. NoWayIn says what came of each
    version, in the database's own words; ValueError when a way in names another user or host than the target
    (it would change a password that is not the target's); what `Engine.set_password` raises.
    """
    assert target.credential is not None
    said: list[str] = []
    for candidate in (target, *ways_in):
        credential = candidate.credential
        if credential is None:
            said.append(f"{candidate.name} absent")
            continue
        if other := _difference(target.credential, credential):
            what = f"The {target.name} version names another {other} than the {candidate.name} one"
            raise ValueError(f"{what}; {'; '.join(said)}.")
        try:
            connection = engine.connect(credential, LOGIN_TIMEOUT)
        except LoginFailed as failure:
            said.append(_told(candidate.name, failure))
            if isinstance(failure, Unreachable):
                break
            continue
        with closing(connection):
            if candidate is not target:
                engine.set_password(
                    connection, target.credential.username, target.credential.password, confirm
                )
        return
    raise NoWayIn(f"Unable to log in to the database: {'; '.join(said)}.")


def test_login(engine: Engine[C], target: Candidate) -> None:
    """Log in with the target and run a trivial query; Refused, Unreachable or DatabaseFailed when that fails."""
    assert target.credential is not None
    try:
        connection = engine.connect(target.credential, LOGIN_TIMEOUT)
    except LoginFailed as failure:
        raise type(failure)(f"Unable to log in to the database: {_told(target.name, failure)}.") from None
    with closing(connection):
        engine.check(connection)


def _difference(target: Credential, way_in: Credential) -> str | None:
    return next(
        (what for what in ("username", "host") if getattr(target, what) != getattr(way_in, what)), None
    )


def _told(name: str, failure: LoginFailed) -> str:
    verdict = Verdict.REFUSED if isinstance(failure, Refused) else Verdict.UNREACHABLE
    return f"{name} {verdict.value} ({failure})"
