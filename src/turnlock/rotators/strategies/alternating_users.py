"""The alternating-users strategy: two users take turns, so that the one that readers use is never touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from turnlock.rotators.endpoint import Stage
from turnlock.rotators.engines.engine import Account, Engine, Twin, TwinEngine, Verdict
from turnlock.rotators.strategies.master import connect_as_master, master_arn, proof_to_change
from turnlock.rotators.strategies.rotation import Rotation, verdict_on

SUFFIX = "_clone"
"""What the second user's name has more than the first one's (AWS's functions)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlternatingUsers:
    """`app` and `app_clone`: the master user gives the idle one a new password, and everything that the other may do.

    With `owner_role` both act as members of one group role (PostgreSQL): the secret's `ownerRole`, or `app_owner`.
    """

    engine: TwinEngine[Any]
    owner_role: bool = False

    def next_value(self, rotation: Rotation, current: Mapping[str, Any]) -> dict[str, Any]:
        master_arn(current)
        return {**current, "username": other_user(str(current["username"]), rotation.engine)}

    def make_valid(self, rotation: Rotation) -> None:
        current = rotation.required(Stage.CURRENT)
        target = rotation.target()
        assert target.credential is not None
        proof = proof_to_change(rotation, current, target)
        if proof is None:
            return
        expected = other_user(proof.credential.username, rotation.engine)
        if target.credential.username != expected:
            raise ValueError(f"The {target.name} version names another user than the turn's.")
        if target.credential.host != proof.credential.host:
            raise ValueError(
                f"The {target.name} version names another host than the {proof.candidate.name} one."
            )
        credential = target.credential
        twin = self.twin(rotation, current, proof.account, credential.username, credential.password)
        with closing(connect_as_master(rotation, current, proof)) as connection:
            self.engine.renew_twin(connection, twin, rotation.confirm)

    def twin(
        self, rotation: Rotation, secret: Mapping[str, Any], model: Account, username: str, password: str
    ) -> Twin:
        """Return the user whose turn it is; ValueError when the secret names an owner role that cannot be one."""

        def is_proven() -> bool:
            previous = rotation.previous(secret).credential
            named = previous is not None and previous.username == username
            return named and verdict_on(rotation.engine, previous) is Verdict.ACCEPTED

        return Twin(
            model=model,
            username=username,
            password=password,
            group=self._group(secret, username),
            acts_as_group=self.owner_role,
            is_proven=is_proven,
        )

    def _group(self, secret: Mapping[str, Any], username: str) -> str:
        first = username.removesuffix(SUFFIX)
        if not self.owner_role:
            return first
        named = secret.get("ownerRole", f"{first}_owner")
        if not isinstance(named, str) or named in {"", first, first + SUFFIX}:
            raise ValueError("the secret's ownerRole is not the name of a third role")
        return named


def other_user(username: str, engine: Engine[Any]) -> str:
    """Return whose turn is next; ValueError when the name would be empty, or longer than the engine allows."""
    if username == SUFFIX:
        raise ValueError(f"the username is {SUFFIX} alone, and its twin would have none")
    if username.endswith(SUFFIX):
        return username.removesuffix(SUFFIX)
    limit = os.environ.get("USERNAME_CHARACTER_LIMIT") or str(engine.longest_username)
    if not (limit.isascii() and limit.isdigit()):
        raise ValueError("USERNAME_CHARACTER_LIMIT must be a number")
    longest = min(int(limit), engine.longest_username)
    if len((username + SUFFIX).encode()) > longest:
        raise ValueError(f"the username with {SUFFIX} is longer than {longest} characters")
    return username + SUFFIX
