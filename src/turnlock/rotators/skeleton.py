"""The four steps of a rotation, and a fifth that only asks.

Secrets Manager invokes a rotation function once per step with {"Step", "SecretId", "ClientRequestToken"} and sometimes
"RotationToken" (AWS, "Lambda functions for rotation"). Every step may come again at any time, and does after a crash:
each of them first looks whether its work is done.

`probe` is Turnlock's own: which of the labelled versions does the database really accept?
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnlock.rotators.endpoint import Description, Endpoint, SecretsManager, Stage, client
from turnlock.rotators.engine import Credential, Engine, Superseded, credential_of
from turnlock.rotators.passwords import PasswordRules
from turnlock.rotators.single_user import Candidate, set_password, test_login, verdict_on

Answer = dict[str, str] | None
"""What a step returns: nothing, or the verdicts of `probe`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """One invocation: the secret, the version that is being made, and the kind of database."""

    endpoint: Endpoint
    engine: Engine[Any]
    token: str
    """ClientRequestToken: the id of the version that is being made."""
    rotation_token: str | None
    """Proof, for PutSecretValue, that a caller with other credentials acts for this rotation."""
    description: Description
    """The labels when the step began."""

    @property
    def finished(self) -> bool:
        """True when the version is AWSCURRENT already."""
        return self.description.carries(self.token, Stage.CURRENT)

    def required(self, stage: Stage, token: str | None = None) -> dict[str, Any]:
        """Return the value under a label; ValueError when there is none."""
        value = self.endpoint.value(stage, token)
        if value is None:
            raise ValueError(f"The secret {self.description.arn} has no {stage.value} value.")
        return value

    def target(self) -> Candidate:
        """Return the version that the database shall accept."""
        stage = Stage.CURRENT if self.finished else Stage.PENDING
        return Candidate(
            name="current" if self.finished else "pending",
            credential=credential_of(self.required(stage, self.token), self.engine),
        )

    def confirm(self) -> None:
        """Superseded unless the version still carries the label that this step began with.

        A version that is AWSCURRENT is restored only while no other one is being made: that one's turn would be next.
        """
        now = self.endpoint.describe()
        if not now.carries(self.token, Stage.CURRENT if self.finished else Stage.PENDING):
            raise Superseded(f"The version {self.token} is no longer the one to set.")
        if self.finished and now.version_with(Stage.PENDING) not in (None, self.token):
            raise Superseded(f"Another version than {self.token} is being made.")


def handle(
    event: Mapping[str, Any], engine: Engine[Any], secrets_manager: SecretsManager | None = None
) -> Answer:
    """Carry out the event's step for a secret that holds a credential of `engine`.

    Returns None, or for `probe` {"pending", "current", "previous": accepted | refused | unreachable | absent}.
    ValueError for an event that does not fit the secret; KeyError for a secret that does not fit the engine;
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
    if step != "probe":
        _require_rotating(rotation)
    return _STEPS[step](rotation)


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


def _create_secret(rotation: Rotation) -> Answer:
    if rotation.finished:
        return None
    current = rotation.required(Stage.CURRENT)
    credential_of(current, rotation.engine)
    if rotation.endpoint.value(Stage.PENDING, rotation.token) is None:
        rules = PasswordRules.from_environment(os.environ)
        pending = {**current, "password": rotation.endpoint.random_password(rules)}
        rotation.endpoint.put_pending(pending, rotation.token, rotation.rotation_token)
    return None


def _set_secret(rotation: Rotation) -> Answer:
    """Set the pending password; for a version that is AWSCURRENT, restore its own (the database went back in time)."""
    current = rotation.required(Stage.CURRENT)
    ways_in = [_previous(rotation, current)]
    if not rotation.finished:
        ways_in.insert(0, Candidate(name="current", credential=credential_of(current, rotation.engine)))
    set_password(rotation.engine, rotation.target(), ways_in, rotation.confirm)
    return None


def _test_secret(rotation: Rotation) -> Answer:
    test_login(rotation.engine, rotation.target())
    return None


def _finish_secret(rotation: Rotation) -> Answer:
    if not rotation.finished:
        current = rotation.description.version_with(Stage.CURRENT)
        rotation.endpoint.make_current(rotation.token, instead_of=current)
    return None


def _probe(rotation: Rotation) -> Answer:
    current = _value_or_none(rotation, Stage.CURRENT)
    pending: Mapping[str, Any] | None = None
    # A version without the label, such as one that is AWSCURRENT already, is refused under it and not merely absent.
    if rotation.description.carries(rotation.token, Stage.PENDING):
        pending = _value_or_none(rotation, Stage.PENDING, rotation.token)
    candidates = (
        _candidate(rotation, "pending", pending),
        _candidate(rotation, "current", current),
        _previous(rotation, current or {}),
    )
    return {one.name: verdict_on(rotation.engine, one.credential).value for one in candidates}


def _value_or_none(rotation: Rotation, stage: Stage, token: str | None = None) -> dict[str, Any] | None:
    try:
        return rotation.endpoint.value(stage, token)
    except ValueError:
        return None


def _candidate(rotation: Rotation, name: str, value: Mapping[str, Any] | None) -> Candidate:
    credential: Credential | None = None
    if value is not None:
        try:
            credential = credential_of(value, rotation.engine)
        except (KeyError, ValueError):
            credential = None
    return Candidate(name=name, credential=credential)


def _previous(rotation: Rotation, current: Mapping[str, Any]) -> Candidate:
    """Return the AWSPREVIOUS version, to be used with or without TLS as the current one says."""
    value = _value_or_none(rotation, Stage.PREVIOUS)
    if value is not None:
        value.pop("ssl", None)
        value |= {"ssl": current["ssl"]} if "ssl" in current else {}
    return _candidate(rotation, "previous", value)


_STEPS: Mapping[str, Callable[[Rotation], Answer]] = {
    "createSecret": _create_secret,
    "setSecret": _set_secret,
    "testSecret": _test_secret,
    "finishSecret": _finish_secret,
    "probe": _probe,
}
