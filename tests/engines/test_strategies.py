"""Every strategy on every engine, with and without TLS: an application works on, and nothing that one user got is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import proofs
from tests.engines.application import Application
from tests.engines.estates import (
    ALTERNATING,
    DUAL,
    ESTATES,
    OWNER,
    SINGLE,
    Estate,
    Value,
    function_arn,
    secret_value,
)
from tests.processes import Client, ServerProcess, wait_until
from tests.rotated import labelled_values, rotate
from turnlock.errors import ConfigurationError

pytestmark = [pytest.mark.slow, pytest.mark.engine]

ROTATIONS = 50 if proofs.FULL else 3
"""A secret takes no more than 100 versions in 24 hours, so the proof has its hundred in two turns."""
TURNS = (1, 2) if proofs.FULL else (1,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run."""

    engine: str
    tls: bool
    strategy: str
    turn: int = 1

    def __str__(self) -> str:
        return f"{self.engine}-{self.strategy}-{'tls' if self.tls else 'plain'}-{self.turn}"


CASES = tuple(
    Case(engine=engine, tls=tls, strategy=strategy, turn=turn)
    for engine, estate in ESTATES.items()
    for tls in (True, False)
    for strategy in estate.strategies
    for turn in TURNS
)


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[tuple[str, bool], tuple[Estate, ServerProcess]]]:
    """Each engine's server, with a Turnlock of its own, as they come to be needed."""
    running: dict[tuple[str, bool], tuple[Estate, ServerProcess]] = {}
    yield running
    for estate, server in running.values():
        server.kill()
        estate.stop()


@pytest.fixture
def place(
    case: Case,
    places: dict[tuple[str, bool], tuple[Estate, ServerProcess]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Estate, ServerProcess]:
    known = places.get((case.engine, case.tls))
    if known is not None:
        return known
    estate = ESTATES[case.engine](tls=case.tls)
    try:
        estate.start()
    except ConfigurationError as error:
        pytest.skip(f"NOT RUN on {case.engine}: {error}")
    authority = ("--database-ca-file", str(estate.server.ssl_ca_path)) if case.tls else ()
    directory: Path = tmp_path_factory.mktemp(f"{case.engine}-{case.tls}")
    server = ServerProcess(directory / "turnlock", options=authority)
    server.start()
    server.client().create_secret(Name="master", SecretString=json.dumps(estate.master()))
    places[case.engine, case.tls] = (estate, server)
    return estate, server


def operate(estate: Estate, value: Value, tables: list[str], number: int) -> None:
    """Insert a row into each table and read it back."""
    with closing(estate.log_in(value)) as session, closing(session.cursor()) as cursor:
        for table in tables:
            cursor.execute(f"INSERT INTO {table} VALUES (%s)", (number,))
            cursor.execute(f"SELECT id FROM {table} WHERE id = %s", (number,))
            assert cursor.fetchone() == (number,)


def current(client: Client, arn: str) -> Value:
    value: Value = labelled_values(client, arn)["AWSCURRENT"]
    return value


def hand_something_over(estate: Estate, value: Value, user: str, turn: int) -> list[str]:
    """Grant the user that readers use now a new table, and let it make one itself; return their names."""
    granted, made = f"{user}_granted_{turn}", f"{user}_made_{turn}"
    estate.make_table(granted, for_user=value["username"])
    with closing(estate.log_in(value)) as session, closing(session.cursor()) as cursor:
        cursor.execute(f"CREATE TABLE {made} (id BIGINT PRIMARY KEY)")
    return [granted, made] if estate.engine == "postgres" else [granted]


@pytest.mark.parametrize("case", proofs.chosen("strategies", CASES, len(CASES)), ids=str)
def test_an_application_works_on_and_nothing_that_one_user_got_is_lost(
    case: Case, place: tuple[Estate, ServerProcess]
) -> None:
    estate, server = place
    client = server.client()
    master = client.describe_secret(SecretId="master")["ARN"]
    first = estate.new_user()
    user = first["username"]
    arn = client.create_secret(Name=user, SecretString=secret_value(estate, first, case.strategy, master))[
        "ARN"
    ]
    tables: list[str] = []
    users = set()
    with Application(server.client(), arn, estate, user, reads_again=case.strategy != SINGLE) as application:
        for turn in range(1, ROTATIONS + 1):
            if case.strategy in {ALTERNATING, OWNER} and turn <= 10:
                tables += hand_something_over(estate, current(client, arn), user, turn)
            rotate(client, arn, function=function_arn(estate.database, case.strategy))
            operate(estate, current(client, arn), tables, turn)
            users.add(current(client, arn)["username"])
    figures = application.figures
    proofs.record(
        "strategies",
        case,
        version=estate.version(),
        rotations=ROTATIONS,
        operations=figures.operations,
        retried=figures.retried,
        failed_logins=figures.refused_logins,
        failures=len(figures.failures),
        reads=application.reads,
        longest_wait=round(figures.longest_wait, 3),
    )
    assert not figures.failures
    assert figures.operations > ROTATIONS
    assert figures.operations == estate.rows(user)
    assert users == ({user, f"{user}_clone"} if case.strategy in {ALTERNATING, OWNER} else {user})
    values = labelled_values(client, arn)
    assert estate.accepts(values["AWSCURRENT"])
    assert estate.accepts(values["AWSPREVIOUS"]) is (case.strategy != SINGLE)
    if case.strategy == SINGLE:
        assert application.reads > ROTATIONS / 2, "the application never met a new password"
    else:
        assert (figures.refused_logins, figures.retried) == (0, 0)


@pytest.mark.parametrize(
    "case", [Case(engine=engine, tls=True, strategy=DUAL) for engine in ("mysql", "mariadb")], ids=str
)
def test_the_grace_period_of_an_old_password_ends_by_itself(
    case: Case, place: tuple[Estate, ServerProcess]
) -> None:
    estate, server = place
    client = server.client()
    first = {**estate.new_user(), "gracePeriodHours": 2 / 3600}
    master = client.describe_secret(SecretId="master")["ARN"]
    text = secret_value(estate, first, DUAL, master)
    arn = client.create_secret(Name=f"{first['username']}-soon", SecretString=text)["ARN"]
    rotate(client, arn, function=function_arn(estate.database, DUAL))
    assert estate.accepts(first)
    wait_until(lambda: not estate.accepts(first), 60, "the end of the grace period", 0.2)
    assert estate.accepts(current(client, arn))


def test_each_strategy_of_each_engine_is_a_case() -> None:
    assert len(CASES) == 2 * (3 + 3 + 3) * len(TURNS)
