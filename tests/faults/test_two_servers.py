"""Two servers on one PostgreSQL store: no rotation is run twice, and one that was stopped in the middle changes nothing."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import proofs
from tests.faults import evidence
from tests.faults.conductor import STEP_SECONDS, Conductor, Moment
from tests.processes import Process, ServerProcess
from tests.rotated import (
    Begun,
    Role,
    begin_rotation,
    create_secret,
    labelled_values,
    new_role,
    new_token,
    rotate,
)
from turnlock.local_servers import EmbeddedPostgres

pytestmark = [pytest.mark.slow, pytest.mark.engine]

LEASE = ("--lease-seconds", "2")
SECRETS = 20
SAMPLE = 3
WATCHED_SECONDS = 4.0
"""How long a server that was stopped is watched after it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is stopped (SIGSTOP), and when."""

    functions_too: bool
    step: str
    moment: str

    def __str__(self) -> str:
        return f"{'everything' if self.functions_too else 'server alone'} {self.step} {self.moment}"


CASES = [
    Case(functions_too=functions_too, step=step, moment=moment)
    for functions_too in (True, False)
    for step in STEP_SECONDS
    for moment in ("decided", "during", "returned")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two servers on one store, which know nothing of each other."""

    conductor: Conductor
    first: ServerProcess
    """The watched one."""
    second: ServerProcess


@pytest.fixture(scope="module")
def rotated_database() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(fsync=False) as server:
        yield server


@pytest.fixture
def pair(empty_postgresql_url: str, tmp_path: Path) -> Iterator[Pair]:
    with Conductor() as conductor:
        first = ServerProcess(
            tmp_path / "first", database=empty_postgresql_url, options=LEASE, entry=conductor.entry
        )
        second = ServerProcess(tmp_path / "second", database=empty_postgresql_url, options=LEASE)
        with first:
            second.data_dir.mkdir(mode=0o700)
            for name in ("root.key", "credentials"):
                shutil.copy(first.data_dir / name, second.data_dir / name)
            with second:
                yield Pair(conductor=conductor, first=first, second=second)


def signal_all(processes: Iterable[Process], number: int) -> None:
    for process in processes:
        process.signal(number)


def steps_of(server: ServerProcess) -> dict[str, list[str]]:
    """Return the steps that a server ran for each token, in order."""
    steps: defaultdict[str, list[str]] = defaultdict(list)
    for event in server.events("rotation_step"):
        assert not event["failed"], event
        steps[event["version_id"]].append(event["step"])
    return steps


def test_many_rotations_at_once_over_two_servers_each_run_once(
    pair: Pair, rotated_database: EmbeddedPostgres
) -> None:
    roles = [new_role(rotated_database, host=("127.0.0.1", "localhost")[n % 2]) for n in range(SECRETS)]
    clients = [pair.first.client(), pair.second.client()]
    arns = [create_secret(clients[0], role) for role in roles]
    begun = [begin_rotation(clients[n // 2 % 2], arn) for n, arn in enumerate(arns)]
    for rotation in begun:
        rotation.await_end(clients[0])
    ran = steps_of(pair.first), steps_of(pair.second)
    assert all(ran), "one server did everything: nothing was shown"
    assert not ran[0].keys() & ran[1].keys(), "a rotation was run by both"
    steps = {**ran[0], **ran[1]}
    assert all(steps[rotation.token] == [*STEP_SECONDS] for rotation in begun)
    records = evidence.records(pair.first)
    for role, rotation in zip(roles, begun, strict=True):
        assert evidence.rotation_events(records, rotation.token) == {
            "RotationStarted": 1,
            "RotationSucceeded": 1,
        }
        assert role.accepts(labelled_values(clients[0], rotation.arn)["AWSCURRENT"])
    proofs.record("two servers", "at once", secrets=SECRETS, first=len(ran[0]), second=len(ran[1]))


def stop_first_at(case: Case, pair: Pair, arn: str, dice: random.Random) -> tuple[Begun, list[Process]]:
    """Begin a rotation on the first server and stop it at the case's moment; return it, and what was stopped.

    The second server sleeps meanwhile, so that it is the first one that claims the rotation.
    """
    token = new_token()
    others = pair.second.servers()
    held = Moment(moment="returned" if case.moment == "returned" else "decided", step=case.step, token=token)
    signal_all(others, signal.SIGSTOP)
    with pair.conductor.hold(held) as hold:
        begun = begin_rotation(pair.first.client(), arn, token)
        hold.await_arrival()
        if case.moment == "during":
            hold.release()
            time.sleep(dice.uniform(0, STEP_SECONDS[case.step]))
        stopped = pair.first.family() if case.functions_too else pair.first.servers()
        signal_all(stopped, signal.SIGSTOP)
    signal_all(others, signal.SIGCONT)
    return begun, stopped


def state(pair: Pair, role: Role, arn: str) -> tuple[object, str]:
    """Return what a woken server must not change: the labels, and the password that the database accepts."""
    return pair.second.client().describe_secret(SecretId=arn)["VersionIdsToStages"], role.verifier()


@pytest.mark.parametrize("case", proofs.chosen("stopped server", CASES, SAMPLE), ids=str)
def test_a_server_that_was_stopped_past_its_lease_changes_nothing_when_it_wakes(
    case: Case, pair: Pair, rotated_database: EmbeddedPostgres
) -> None:
    dice = random.Random(f"{proofs.SEED} {case}")
    role = new_role(rotated_database)
    arn = create_secret(pair.first.client(), role)
    rotate(pair.first.client(), arn)
    began = time.monotonic()
    begun, stopped = stop_first_at(case, pair, arn, dice)
    client = pair.second.client()
    begun.await_end(client)
    taken_over = time.monotonic() - began
    rotate(client, arn)
    before = state(pair, role, arn)
    signal_all(stopped, signal.SIGCONT)
    woken = time.monotonic()
    while time.monotonic() - woken < WATCHED_SECONDS:
        assert state(pair, role, arn) == before
        time.sleep(0.2)
    assert role.accepts(labelled_values(client, arn)["AWSCURRENT"])
    rotate(pair.first.client(), arn)
    assert role.accepts(labelled_values(client, arn)["AWSCURRENT"])
    proofs.record("stopped server", case, taken_over=round(taken_over, 2))
