"""The four steps of a rotation, two that only ask, and one that ends a grace period.

Secrets Manager invokes a rotation function once per step with {"Step", "SecretId", "ClientRequestToken"} and sometimes
"RotationToken" (AWS, "Lambda functions for rotation"). Every step may come again at any time, and does after a crash:
each of them first looks whether its work is done.

Three more are Turnlock's own. `probe`: which of the labelled versions does the database really accept? `rehearse`: what would
the next rotation meet? Both change nothing. `discardPrevious`: what a finished rotation has left valid beside AWSCURRENT ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from types import MappingProxyType
from typing import Any

from turnlock.rotators.endpoint import Endpoint, SecretsManager, Stage, client
from turnlock.rotators.engines.engine import (
    C,
    Credential,
    DatabaseFailed,
    Engine,
    LoginFailed,
    Verdict,
    credential_of,
    verdict_of,
)
from turnlock.rotators.passwords import PasswordRules
from turnlock.rotators.rehearsal import rehearse
from turnlock.rotators.strategies.rotation import (
    LOGIN_TIMEOUT,
    Candidate,
    KeepsPrevious,
    Rotation,
    Strategy,
    told,
)
from turnlock.rotators.strategies.single_user import SingleUser

Answer = dict[str, Any] | None
"""What a step returns: nothing, the verdicts of `probe`, or what `rehearse` found."""

Strategies = Mapping[str | None, Strategy]
"""The strategies of a function, by the secret's `rotationStrategy`; None is what a secret without one gets."""

SINGLE_USER: Strategies = MappingProxyType({None: SingleUser()})


def handle(
    event: Mapping[str, Any],
    engine: Engine[Any],
    secrets_manager: SecretsManager | None = None,
    strategies: Strategies = SINGLE_USER,
) -> Answer:
    """Carry out the event's step for a secret that holds a credential of `engine`.

    Returns None, or for `probe` {"pending", "current", "previous": accepted | refused | unreachable | absent},
    or for `rehearse` what `rehearsal.rehearse` says. ValueError for an event that does not fit the secret; KeyError for a secret that does not fit the engine;
    RotationError for what the database said; botocore's ClientError for what the endpoint refused.
    """
    step, secret_id, token = (_named(event, name) for name in ("Step", "SecretId", "ClientRequestToken"))
    if step not in _STEPS:
        raise ValueError(f"Unknown step; it must be one of: {', '.join(_STEPS)}.")
    endpoint = Endpoint(secrets_manager or client(), secret_id)
    rotation = Rotation(
        endpoint=endpoint,
        engine=engine,
        token=token,
        rotation_token=event.get("RotationToken"),
        description=endpoint.describe(),
    )
    if step not in _LOOKING:
        _require_rotating(rotation)
    return _STEPS[step](rotation, strategies)


def _named(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"The event has no {name}.")
    return value


def _require_rotating(rotation: Rotation) -> None:
    description, token = rotation.description, rotation.token
    if not description.rotation_enabled:
        raise ValueError(f"The secret {description.arn} is not enabled for rotation.")
    if token not in description.labels:
        raise ValueError(f"The version {token} has no stage for rotation of the secret {description.arn}.")
    if not rotation.finished and not description.carries(token, Stage.PENDING):
        raise ValueError(
            f"The version {token} is not set as AWSPENDING for rotation of the secret {description.arn}."
        )


def _strategy(current: Mapping[str, Any], strategies: Strategies) -> Strategy:
    named = current.get("rotationStrategy")
    if named not in strategies:
        choices = ", ".join(sorted(name for name in strategies if name)) or "none"
        raise ValueError(f"the secret's rotationStrategy is not one of this function's: {choices}")
    return strategies[named]


def _create_secret(rotation: Rotation, strategies: Strategies) -> Answer:
    if rotation.finished:
        return None
    current = rotation.required(Stage.CURRENT)
    credential_of(current, rotation.engine)
    value = _strategy(current, strategies).next_value(rotation, current)
    if rotation.endpoint.value(Stage.PENDING, rotation.token) is None:
        rules = PasswordRules.from_environment(os.environ)
        pending = {**value, "password": rotation.endpoint.random_password(rules)}
        rotation.endpoint.put_pending(pending, rotation.token, rotation.rotation_token)
    return None


def _set_secret(rotation: Rotation, strategies: Strategies) -> Answer:
    """Set the pending password; for a version that is AWSCURRENT, restore its own (the database went back in time)."""
    _strategy(rotation.required(Stage.CURRENT), strategies).make_valid(rotation)
    return None


def _test_secret(rotation: Rotation, _strategies: Strategies) -> Answer:
    test_login(rotation.engine, rotation.target())
    return None


def test_login(engine: Engine[C], target: Candidate) -> None:
    """Log in with the target and run a trivial query; Refused, Unreachable or DatabaseFailed when that fails."""
    assert target.credential is not None
    try:
        connection = engine.connect(target.credential, LOGIN_TIMEOUT)
    except LoginFailed as failure:
        raise type(failure)(f"Unable to log in to the database: {told(target.name, failure)}.") from None
    with closing(connection):
        engine.check(connection)


def _finish_secret(rotation: Rotation, _strategies: Strategies) -> Answer:
    if not rotation.finished:
        current = rotation.description.version_with(Stage.CURRENT)
        rotation.endpoint.make_current(rotation.token, instead_of=current)
    return None


def _discard_previous(rotation: Rotation, strategies: Strategies) -> Answer:
    """End AWSPREVIOUS's grace period; nothing to do where the strategy leaves it no validity of its own."""
    if not rotation.finished:
        raise ValueError(f"The version {rotation.token} is not AWSCURRENT.")
    strategy = _strategy(rotation.required(Stage.CURRENT), strategies)
    if isinstance(strategy, KeepsPrevious):
        strategy.discard_previous(rotation)
    return None


def _probe(rotation: Rotation, _strategies: Strategies) -> Answer:
    current = rotation.value_or_none(Stage.CURRENT)
    pending: Mapping[str, Any] | None = None
    # A version without the label, such as one that is AWSCURRENT already, is refused under it and not merely absent.
    if rotation.description.carries(rotation.token, Stage.PENDING):
        pending = rotation.value_or_none(Stage.PENDING, rotation.token)
    candidates = (
        rotation.candidate("pending", pending),
        rotation.candidate("current", current),
        rotation.previous(current or {}),
    )
    verdicts = dict.fromkeys((one.name for one in candidates), Verdict.REFUSED)
    locks = False
    for one in sorted(candidates, key=lambda one: one.name != "current"):
        verdicts[one.name] = Verdict.ABSENT if one.credential is None else Verdict.REFUSED
        if one.credential is not None and not locks:
            verdicts[one.name], locks = _judged(rotation.engine, one.credential)
    return {name: verdict.value for name, verdict in verdicts.items()}


def _judged(engine: Engine[C], credential: Credential) -> tuple[Verdict, bool]:
    """Log in for real; tell what came of it, and whether the account is one that failed logins lock.

    Once one version was let in to such an account, no other one is tried: they count as refused, and setSecret, which sets the
    password again where it was set already, is what follows.
    """
    try:
        connection = engine.connect(credential, LOGIN_TIMEOUT)
    except LoginFailed as failure:
        return verdict_of(failure), False
    with closing(connection), suppress(DatabaseFailed):
        return Verdict.ACCEPTED, engine.account(connection).locks_after is not None
    return Verdict.ACCEPTED, False


def _rehearse(rotation: Rotation, strategies: Strategies) -> Answer:
    return rehearse(rotation, lambda current: _strategy(current, strategies))


_STEPS: Mapping[str, Callable[[Rotation, Strategies], Answer]] = {
    "createSecret": _create_secret,
    "setSecret": _set_secret,
    "testSecret": _test_secret,
    "finishSecret": _finish_secret,
    "discardPrevious": _discard_previous,
    "probe": _probe,
    "rehearse": _rehearse,
}
_LOOKING = frozenset({"probe", "rehearse"})
"""Steps that change nothing, and so may come at any time."""
