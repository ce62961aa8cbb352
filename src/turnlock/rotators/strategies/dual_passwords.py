"""The dual-passwords strategy: one user with two passwords, so that its name never changes and nobody meets a gap.

Chosen by `"rotationStrategy": "dual-passwords"` in the secret's JSON. The new password is added beside AWSCURRENT's, which stays
valid for the secret's `gracePeriodHours` (24 unless it says otherwise) after it has become AWSPREVIOUS, or until the next rotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from turnlock.rotators.endpoint import Stage
from turnlock.rotators.engines.engine import LoginFailed, NoWayIn, TwoPasswordEngine
from turnlock.rotators.strategies.master import Proof, connect_as_master, proof_to_change, prove
from turnlock.rotators.strategies.rotation import LOGIN_TIMEOUT, Rotation, told


@dataclass(frozen=True, slots=True, kw_only=True)
class DualPasswords:
    """The database accepts AWSCURRENT and AWSPENDING at the same time: the server must know two passwords for a user.

    Done by the master user where the secret has a `masterarn`, else by the user itself.
    """

    engine: TwoPasswordEngine[Any]

    def next_value(self, rotation: Rotation, current: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return dict(current)

    def make_valid(self, rotation: Rotation) -> None:
        current = rotation.required(Stage.CURRENT)
        target = rotation.target()
        assert target.credential is not None
        proof = proof_to_change(rotation, current, target)
        if proof is None:
            return
        kept = proof.credential
        if (target.credential.username, target.credential.host) != (kept.username, kept.host):
            raise ValueError(
                f"The {target.name} version names another user or host than the {proof.candidate.name} one."
            )
        with closing(self._connect(rotation, current, proof)) as connection:
            self.engine.add_password(
                connection, proof.account, target.credential.password, kept.password, rotation.confirm
            )

    def discard_previous(self, rotation: Rotation) -> None:
        current = rotation.required(Stage.CURRENT)
        target = rotation.target()
        proof = prove(rotation, target)
        with closing(self._connect(rotation, current, proof)) as connection:
            self.engine.discard_password(
                connection, proof.account, proof.credential.password, rotation.confirm
            )

    def _connect(self, rotation: Rotation, current: Mapping[str, Any], proof: Proof) -> Any:
        if "masterarn" in current:
            return connect_as_master(rotation, current, proof)
        try:
            return self.engine.connect(proof.credential, LOGIN_TIMEOUT)
        except LoginFailed as failure:
            raise NoWayIn(
                f"Unable to log in to the database: {told(proof.candidate.name, failure)}."
            ) from None
