"""One invocation: what the secret says, which version is being made, and what a strategy may ask of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from turnlock.rotators.endpoint import Description, Endpoint, Stage
from turnlock.rotators.engines.engine import (
    C,
    Credential,
    Engine,
    LoginFailed,
    Superseded,
    Verdict,
    credential_of,
    verdict_of,
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

    def ways_in(self, current: Mapping[str, Any]) -> list[Candidate]:
        """Return the versions, besides the target, that may log in: the current one unless it is the target, the previous."""
        previous = self.previous(current)
        if self.finished:
            return [previous]
        return [Candidate(name="current", credential=credential_of(current, self.engine)), previous]

    def previous(self, current: Mapping[str, Any]) -> Candidate:
        """Return the AWSPREVIOUS version, to be used with or without TLS as the current one says."""
        value = self.value_or_none(Stage.PREVIOUS)
        if value is not None:
            value.pop("ssl", None)
            value |= {"ssl": current["ssl"]} if "ssl" in current else {}
        return self.candidate("previous", value)

    def candidate(self, name: str, value: Mapping[str, Any] | None) -> Candidate:
        """Return a version as a candidate, without a credential where its value is none of this engine."""
        credential: Credential | None = None
        if value is not None:
            try:
                credential = credential_of(value, self.engine)
            except (KeyError, ValueError):
                credential = None
        return Candidate(name=name, credential=credential)

    def value_or_none(self, stage: Stage, token: str | None = None) -> dict[str, Any] | None:
        """Return the value under a label; None when there is none, or it is no JSON object."""
        try:
            return self.endpoint.value(stage, token)
        except ValueError:
            return None

    def confirm(self) -> None:
        """Superseded unless the version still carries the label that this step began with.

        A version that is AWSCURRENT is restored only while no other one is being made: that one's turn would be next.
        """
        now = self.endpoint.describe()
        if not now.carries(self.token, Stage.CURRENT if self.finished else Stage.PENDING):
            raise Superseded(f"The version {self.token} is no longer the one to set.")
        if self.finished and now.version_with(Stage.PENDING) not in (None, self.token):
            raise Superseded(f"Another version than {self.token} is being made.")


class Strategy(Protocol):
    """How a new credential comes to be valid."""

    def next_value(self, rotation: Rotation, current: Mapping[str, Any]) -> dict[str, Any]:
        """Return the new version's value but for its password; KeyError or ValueError when the secret does not allow it."""
        ...

    def make_valid(self, rotation: Rotation) -> None:
        """Make the database accept the rotation's target; any number of times, whatever an earlier attempt has left.

        For a version that is AWSCURRENT: make its own value valid again (the database went back in time).
        """
        ...


@runtime_checkable
class KeepsPrevious(Strategy, Protocol):
    """A strategy that leaves AWSPREVIOUS valid for a grace period."""

    def discard_previous(self, rotation: Rotation) -> None:
        """Make the database accept AWSCURRENT's credential and, for this user, no other; any number of times."""
        ...


def verdict_on(engine: Engine[C], credential: Credential | None) -> Verdict:
    """Log in for real and tell what came of it."""
    if credential is None:
        return Verdict.ABSENT
    try:
        engine.connect(credential, LOGIN_TIMEOUT).close()
    except LoginFailed as failure:
        return verdict_of(failure)
    return Verdict.ACCEPTED


def told(name: str, failure: LoginFailed) -> str:
    """Return what one version's failed login came to, in the database's redacted words."""
    return f"{name} {verdict_of(failure).value} ({failure})"
