"""Rotations at the demo's pace: one now, then one every few seconds, each followed until it is over."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

PATIENCE = 60.0
"""Seconds after which a rotation that is not over counts as failed."""

AFTER_ANOTHER = 1.0
"""Seconds until the next try when somebody else's rotation was running."""

BEFORE = 1.0
"""Seconds that the application is let work alone before the first rotation."""

_EVERY_FOUR_HOURS = {"ScheduleExpression": "rate(4 hours)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    version_id: str
    rotated_before: datetime | None
    asked_at: float


@dataclass(slots=True, kw_only=True)
class Rotations:
    """Asks for rotations of one secret, one at a time. `tick` drives it; nothing here waits."""

    client: Any
    secret: str
    function_arn: str
    every: float
    """Seconds from asking for one rotation to asking for the next."""
    completed: int = 0
    failed: int = 0
    last_seconds: float | None = None
    """How long the last one took, from asking for it."""
    last_error: str = ""
    _running: _Running | None = None
    _next_at: float = field(default_factory=lambda: time.monotonic() + BEFORE)

    @property
    def running(self) -> bool:
        """Whether a rotation was asked for that is not over."""
        return self._running is not None

    @property
    def wait(self) -> float:
        """Seconds until the next rotation is asked for."""
        return max(0.0, self._next_at - time.monotonic())

    def tick(self) -> None:
        """Ask for a rotation when it is time, or look whether the one that runs is over."""
        try:
            if self._running is not None:
                self._follow(self._running)
            elif not self.wait:
                self._begin()
        except (ClientError, BotoCoreError) as error:
            self._fail(str(error))

    def _begin(self) -> None:
        asked_at = time.monotonic()
        self._next_at = asked_at + self.every
        before = self.client.describe_secret(SecretId=self.secret).get("LastRotatedDate")
        try:
            answer = self.client.rotate_secret(
                SecretId=self.secret, RotationLambdaARN=self.function_arn, RotationRules=_EVERY_FOUR_HOURS
            )
        except ClientError as error:
            if "previous rotation isn't complete" not in str(error):
                raise
            # Somebody asked for one in the second terminal, and it is still running: ours comes after it.
            self._next_at = asked_at + AFTER_ANOTHER
            return
        self._running = _Running(version_id=answer["VersionId"], rotated_before=before, asked_at=asked_at)

    def _follow(self, running: _Running) -> None:
        described = self.client.describe_secret(SecretId=self.secret)
        seconds = time.monotonic() - running.asked_at
        current = "AWSCURRENT" in described["VersionIdsToStages"].get(running.version_id, [])
        if current and described.get("LastRotatedDate") != running.rotated_before:
            self.completed += 1
            self.last_seconds = seconds
            self._running = None
        elif seconds > PATIENCE:
            self._fail(f"a rotation was not over after {PATIENCE:.0f} s")

    def _fail(self, error: str) -> None:
        self.failed += 1
        self.last_error = error
        self._running = None
