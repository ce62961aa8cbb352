"""The single-user strategy: a user changes its own password."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from turnlock.rotators.endpoint import Stage
from turnlock.rotators.engines.engine import C, Credential, Engine, LoginFailed, NoWayIn, Unreachable
from turnlock.rotators.strategies.rotation import LOGIN_TIMEOUT, Candidate, Rotation, told


class SingleUser:
    """One user, one password: AWSCURRENT is refused from the change until finishSecret."""

    def next_value(self, rotation: Rotation, current: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return dict(current)

    def make_valid(self, rotation: Rotation) -> None:
        current = rotation.required(Stage.CURRENT)
        set_password(rotation.engine, rotation.target(), rotation.ways_in(current), rotation.confirm)


def set_password(
    engine: Engine[C],
    target: Candidate,
    ways_in: Sequence[Candidate],
    confirm: Callable[[], None],
) -> None:
    """Make the database accept `target`, logging in with the first of `ways_in` that it accepts.

    The first of them is tried before the target: it is right unless an attempt was interrupted, and a refused login may count
    towards a lock of the account. Done when the database accepts the target already. A version that the database refuses leads to the next one; an
    unreachable database ends the attempt, since trying on would prove nothing. NoWayIn says what came of each
    version, in the database's own words; ValueError when a way in names another user or host than the target
    (it would change a password that is not the target's); what `Engine.set_password` raises.
    """
    assert target.credential is not None
    said: list[str] = []
    for candidate in (*ways_in[:1], target, *ways_in[1:]):
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
            said.append(told(candidate.name, failure))
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


def _difference(target: Credential, way_in: Credential) -> str | None:
    return next(
        (what for what in ("username", "host") if getattr(target, what) != getattr(way_in, what)), None
    )
