"""Each thing that can go wrong, at each step of each strategy on each engine: nobody is locked out and the rotation ends right.

A sample in `make test`; all of it in `make proof`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from tests import proofs
from tests.engines.estates import ESTATES, SINGLE, Estate, function_arn, secret_value
from tests.faults import evidence
from tests.faults.breakage import BREAKAGES, Ground, accept_all, ground
from tests.faults.conductor import STEP_SECONDS, Moment
from tests.processes import wait_until
from tests.rotated import Begun, begin_rotation, labelled_values, new_token, require_way_in, rotate
from turnlock.errors import ConfigurationError

pytestmark = [pytest.mark.slow, pytest.mark.engine]

SAMPLE = 2
"""How many cases `make test` has of each engine."""
MOMENTS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "server": (("decided", 1), ("during", 2), ("returned", 1)),
    "function": (("during", 2),),
    "database": (("decided", 1), ("during", 2), ("returned", 1)),
    "connection": (("during", 2),),
    "database-disk": (("decided", 1), ("during", 1)),
    "store-disk": (("decided", 1), ("during", 1)),
    "password": (("decided", 1),),
}
"""When, and how many cases of it: only `during` has chance in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What breaks, and when."""

    engine: str
    strategy: str
    breakage: str
    step: str
    moment: str
    turn: int

    def __str__(self) -> str:
        return f"{self.engine}-{self.strategy}-{self.breakage}-{self.step}-{self.moment}-{self.turn}"


CASES = {
    engine: [
        Case(engine=engine, strategy=strategy, breakage=breakage, step=step, moment=moment, turn=turn + 1)
        for strategy in estate.strategies
        for breakage, moments in MOMENTS.items()
        for step in STEP_SECONDS
        for moment, turns in moments
        for turn in range(turns)
    ]
    for engine, estate in ESTATES.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user whose credential is rotated."""

    estate: Estate
    name: str

    def accepts(self, value: Mapping[str, Any]) -> bool:
        return self.estate.accepts(value)


def _grounds(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    directory: Path = tmp_path_factory.mktemp(f"matrix-{engine}")
    settings = {"max_wal_size": "64MB"} if engine == "postgres" else {}
    try:
        with ground(ESTATES[engine](tls=False, **settings), directory) as place:
            yield place
    except ConfigurationError as error:
        pytest.skip(f"NOT RUN on {engine}: {error}")


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    yield from _grounds("postgres", tmp_path_factory)


@pytest.fixture(scope="module")
def on_mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    yield from _grounds("mysql", tmp_path_factory)


@pytest.fixture(scope="module")
def on_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    yield from _grounds("mariadb", tmp_path_factory)


def break_at(case: Case, place: Ground, user: User, arn: str, dice: random.Random) -> Begun:
    """Begin a rotation, break something at the case's moment, and look for a way in at once."""
    token = new_token()
    held = Moment(moment="returned" if case.moment == "returned" else "decided", step=case.step, token=token)
    function = function_arn(place.estate.database, case.strategy)
    with place.conductor.hold(held) as hold:
        begun = begin_rotation(place.client(), arn, token, function)
        hold.await_arrival()
        if case.moment == "during":
            hold.release()
            time.sleep(dice.uniform(0, STEP_SECONDS[case.step]))
        else:
            # Whoever is held goes on while things are broken, not before.
            Timer(0.1, hold.release).start()
        BREAKAGES[case.breakage](place, dice)
    require_way_in(user, partial(evidence.stored_values, place.server, arn))
    if case.breakage == "password":
        wait_until(
            lambda: begun.is_over(place.client()) or _refused(place, token), 30, "a refused password", 0.05
        )
        accept_all(place.estate)
    return begun


def _refused(place: Ground, token: str) -> bool:
    steps = [step for step in place.server.events("rotation_step") if step["version_id"] == token]
    return any(step["failed"] and step["step"] == "setSecret" for step in steps)


def require_converged(place: Ground, user: User, begun: Begun, *, strategy: str, versions: int) -> None:
    """Fail unless the rotation ended as one that nothing had disturbed."""
    client = place.client()
    labels = client.describe_secret(SecretId=begun.arn)["VersionIdsToStages"]
    assert labels[begun.token] == ["AWSCURRENT"]
    assert sorted(label for found in labels.values() for label in found) == ["AWSCURRENT", "AWSPREVIOUS"]
    values = labelled_values(client, begun.arn)
    assert {label: user.accepts(value) for label, value in values.items()} == {
        "AWSCURRENT": True,
        "AWSPREVIOUS": strategy != SINGLE,
    }
    assert len(evidence.versions(place.server)[user.name]) == versions
    events = evidence.rotation_events(evidence.records(place.server), begun.token)
    assert events == {"RotationStarted": 1, "RotationSucceeded": 1}


def chosen() -> list[Case]:
    return [case for cases in CASES.values() for case in proofs.chosen("engine matrix", cases, SAMPLE)]


@pytest.mark.parametrize("case", chosen(), ids=str)
def test_a_rotation_survives_whatever_breaks(case: Case, request: pytest.FixtureRequest) -> None:
    place: Ground = request.getfixturevalue(f"on_{case.engine}")
    place.ready()
    dice = random.Random(f"{proofs.SEED} {case}")
    first = place.estate.new_user()
    user = User(estate=place.estate, name=first["username"])
    client = place.client()
    text = secret_value(place.estate, first, case.strategy, place.master)
    arn = client.create_secret(Name=user.name, SecretString=text)["ARN"]
    earlier = 1 if case.breakage == "function" else dice.randrange(3)
    for _ in range(earlier):  # a warm function, and by chance a twin and a version that is AWSPREVIOUS
        rotate(client, arn, function_arn(place.estate.database, case.strategy))
    began = time.monotonic()
    begun = break_at(case, place, user, arn, dice)
    client = place.client()
    while not begun.is_over(client):
        require_way_in(user, partial(labelled_values, client, arn))
        assert time.monotonic() - began < 90, "the rotation has not ended by itself"
        time.sleep(0.05)
    seconds = time.monotonic() - began
    require_converged(place, user, begun, strategy=case.strategy, versions=2 + earlier)
    proofs.record("engine matrix", case, seconds=round(seconds, 2))


def test_every_breakage_is_tried_at_every_step_of_every_strategy() -> None:
    for engine, cases in CASES.items():
        tried = {(case.strategy, case.breakage, case.step) for case in cases}
        assert len(tried) == len(ESTATES[engine].strategies) * len(BREAKAGES) * len(STEP_SECONDS)
