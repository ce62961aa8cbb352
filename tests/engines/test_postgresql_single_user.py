"""An application works with PostgreSQL through rotation after rotation, and never notices."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests import proofs
from tests.engines.application import Application
from tests.processes import ServerProcess
from tests.rotated import Role, create_secret, labelled_values, new_role, rotate
from turnlock.local_servers import EmbeddedPostgres

pytestmark = [pytest.mark.slow, pytest.mark.engine]

GAP_SECONDS = 0.5 if proofs.FULL else 20.0
"""How long AWSCURRENT may be a password that the database refuses (p99, with a warm function): measured in the proof, where
nothing else runs."""

KEEPS_TIME = {"track_commit_timestamp": "on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run: which store Turnlock has, whether the application's database speaks TLS, how often it is rotated."""

    store: str
    tls: bool
    rotations: int

    def __str__(self) -> str:
        return f"{self.store}-{'tls' if self.tls else 'plain'}-{self.rotations}"


def rotations(in_test: int) -> int:
    return 95 if proofs.FULL else in_test


CASES = (
    Case(store="sqlite", tls=False, rotations=rotations(15)),
    Case(store="sqlite", tls=True, rotations=rotations(8)),
    Case(store="postgresql", tls=False, rotations=rotations(6)),
    Case(store="postgresql", tls=True, rotations=rotations(5)),
)


@pytest.fixture(scope="module")
def plain_database() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(settings=KEEPS_TIME) as server:
        yield server


@pytest.fixture(scope="module")
def tls_database() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tls=True, settings=KEEPS_TIME) as server:
        yield server


@pytest.fixture(params=proofs.chosen("single user", CASES, len(CASES)), ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    case = request.param
    assert isinstance(case, Case)
    return case


@pytest.fixture
def target(case: Case, request: pytest.FixtureRequest) -> EmbeddedPostgres:
    """The application's database."""
    server = request.getfixturevalue("tls_database" if case.tls else "plain_database")
    assert isinstance(server, EmbeddedPostgres)
    return server


@pytest.fixture
def turnlock(
    case: Case, target: EmbeddedPostgres, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[ServerProcess]:
    authority = ("--database-ca-file", str(target.ssl_ca_path)) if case.tls else ()
    url = None if case.store == "sqlite" else request.getfixturevalue("empty_postgresql_url")
    with ServerProcess(tmp_path / "turnlock", database=url, options=authority) as server:
        yield server


def password_set_at(role: Role) -> float:
    """Return the moment (seconds since the epoch) from which the database accepts the role's password, and no other."""
    with psycopg.connect(role.server.admin_url(driver=None)) as admin:
        found = admin.execute(
            "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM pg_authid WHERE rolname = %s",
            (role.name,),
        ).fetchone()
    assert found is not None
    return float(found[0])


def finished_at(server: ServerProcess, token: str) -> float:
    """Return the moment when finishSecret had returned: AWSCURRENT is the new version since a little earlier."""
    steps = [step for step in server.events("rotation_step") if step["version_id"] == token]
    assert not any(step["failed"] for step in steps), steps
    (at,) = (step["at"] for step in steps if step["step"] == "finishSecret")
    return datetime.fromisoformat(at).timestamp()


def rows(role: Role) -> int:
    with psycopg.connect(role.server.admin_url(driver=None)) as admin:
        found = admin.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(role.name))).fetchone()
    assert found is not None
    return int(found[0])


def test_an_application_works_through_rotations_without_a_failed_operation(
    case: Case, target: EmbeddedPostgres, turnlock: ServerProcess
) -> None:
    role = new_role(target)
    client = turnlock.client()
    arn = create_secret(client, role)
    set_at: dict[str, float] = {}
    with Application(turnlock.client(), arn, role, role.name) as application:
        for _ in range(case.rotations):
            token = rotate(client, arn)
            set_at[token] = password_set_at(role)
    figures = application.figures
    gaps = sorted(finished_at(turnlock, token) - at for token, at in set_at.items())
    p99 = gaps[min(len(gaps) - 1, int(len(gaps) * 0.99))]
    proofs.record(
        "single user",
        case,
        operations=figures.operations,
        retried=figures.retried,
        refused_logins=figures.refused_logins,
        failures=len(figures.failures),
        reads=application.reads,
        longest_wait=round(figures.longest_wait, 3),
        gap_median=round(statistics.median(gaps), 3),
        gap_p99=round(p99, 3),
    )
    assert not figures.failures
    assert len(gaps) == case.rotations
    assert figures.operations == rows(role)
    assert p99 < GAP_SECONDS, f"seconds from the new password to the new AWSCURRENT: {gaps}"
    assert application.reads > case.rotations / 2, "the application never met a new password"
    assert role.accepts(labelled_values(client, arn)["AWSCURRENT"])


def test_the_database_takes_scram_only_and_the_old_password_never_again(
    plain_database: EmbeddedPostgres, tmp_path: Path
) -> None:
    role = new_role(plain_database)
    with ServerProcess(tmp_path / "turnlock") as server:
        client = server.client()
        arn = create_secret(client, role)
        rotate(client, arn)
        values = labelled_values(client, arn)
    assert role.verifier().startswith("SCRAM-SHA-256$")
    assert role.accepts(values["AWSCURRENT"])
    assert not role.accepts(values["AWSPREVIOUS"])
