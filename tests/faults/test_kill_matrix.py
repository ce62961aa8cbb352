"""SIGKILL of each part, at each step of a rotation and each moment of it: the rotation ends by itself and nobody is locked out.

A sample in `make test`; all of it in `make proof`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests import proofs
from tests.faults import evidence
from tests.faults.conductor import STEP_SECONDS, Moment
from tests.faults.scene import Scene, postgresql_scene, sqlite_scene
from tests.rotated import (
    Begun,
    Role,
    begin_rotation,
    create_secret,
    labelled_values,
    new_role,
    new_token,
    require_way_in,
    rotate,
)

pytestmark = [pytest.mark.slow, pytest.mark.engine]

SAMPLE = {"server": 3, "function": 2, "database": 2, "store": 2}
"""How many cases of each target `make test` has, on each store."""

TARGETS = {
    "sqlite": ("server", "function", "database"),
    "postgresql": ("server", "function", "database", "store"),
}
MOMENTS = (("decided", 1), ("during", 3), ("returned", 1))
"""When, and how many cases of it: only `during` has chance in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is killed, and when."""

    store: str
    target: str
    step: str
    moment: str
    turn: int

    def __str__(self) -> str:
        return f"{self.store}-{self.target}-{self.step}-{self.moment}-{self.turn}"

    @property
    def slow(self) -> bool:
        """Whether the rotation waits up to 30 s until its next attempt: nobody is locked out, so nothing is urgent."""
        return (self.target, self.step, self.moment) == ("function", "createSecret", "during")


def cases(store: str, target: str) -> list[Case]:
    return [
        Case(store=store, target=target, step=step, moment=moment, turn=turn + 1)
        for step in STEP_SECONDS
        for moment, turns in MOMENTS
        for turn in range(turns)
    ]


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with sqlite_scene(tmp_path_factory.mktemp("kill-matrix")) as scene:
        yield scene


@pytest.fixture(scope="module")
def on_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with postgresql_scene(tmp_path_factory.mktemp("kill-matrix")) as scene:
        yield scene


def kill_at(case: Case, scene: Scene, role: Role, arn: str, dice: random.Random) -> Begun:
    """Begin a rotation, kill at the case's moment, look for a way in at once, and bring back what was killed."""
    token = new_token()
    held = Moment(moment="returned" if case.moment == "returned" else "decided", step=case.step, token=token)
    with scene.conductor.hold(held) as hold:
        begun = begin_rotation(scene.client(), arn, token)
        hold.await_arrival()
        if case.moment == "during":
            hold.release()
            time.sleep(dice.uniform(0, STEP_SECONDS[case.step]))
        scene.kill(case.target)
        if case.target in {"server", "store"}:
            if scene.store is not None:
                scene.store.start()
            require_way_in(role, partial(evidence.stored_values, scene.server, arn))
        hold.release()
        scene.bring_back(case.target, dice)
    return begun


def require_converged(scene: Scene, role: Role, begun: Begun, versions: int) -> None:
    """Fail unless the rotation ended as one that nothing had disturbed."""
    client = scene.client()
    labels = client.describe_secret(SecretId=begun.arn)["VersionIdsToStages"]
    assert labels[begun.token] == ["AWSCURRENT"]
    assert sorted(label for found in labels.values() for label in found) == ["AWSCURRENT", "AWSPREVIOUS"]
    values = labelled_values(client, begun.arn)
    assert {label: role.accepts(value) for label, value in values.items()} == {
        "AWSCURRENT": True,
        "AWSPREVIOUS": False,
    }
    assert len(evidence.versions(scene.server)[role.name]) == versions
    events = evidence.rotation_events(evidence.records(scene.server), begun.token)
    assert events == {"RotationStarted": 1, "RotationSucceeded": 1}


def chosen() -> list[Case]:
    return [
        case
        for store, targets in TARGETS.items()
        for target in targets
        for case in proofs.chosen("kill matrix", cases(store, target), SAMPLE[target])
        if proofs.FULL or not case.slow
    ]


@pytest.mark.parametrize("case", chosen(), ids=str)
def test_a_rotation_survives_a_kill(case: Case, request: pytest.FixtureRequest) -> None:
    scene: Scene = request.getfixturevalue(f"on_{case.store}")
    scene.ready()
    dice = random.Random(f"{proofs.SEED} {case}")
    role = new_role(scene.rotated)
    arn = create_secret(scene.client(), role)
    earlier = 1 if case.target == "function" else dice.randrange(2)
    for _ in range(earlier):  # a warm function; and, by chance, a version that is AWSPREVIOUS
        rotate(scene.client(), arn)
    began = time.monotonic()
    begun = kill_at(case, scene, role, arn, dice)
    client = scene.client()
    while not begun.is_over(client):
        require_way_in(role, partial(labelled_values, client, arn))
        assert time.monotonic() - began < 90, "the rotation has not ended by itself"
        time.sleep(0.05)
    seconds = time.monotonic() - began
    require_converged(scene, role, begun, versions=2 + earlier)
    proofs.record("kill matrix", case, seconds=round(seconds, 2))
