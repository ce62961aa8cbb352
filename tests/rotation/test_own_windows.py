"""Functions of one's own that fail through a whole window: told of at its end, for the true reason, and taken up in the next.

The steps run as real, confined processes that call a real server. Hours pass on a clock that only the test's own node goes by:
requests that a function signs are judged by the machine's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests import proofs
from tests.conftest import STORES
from tests.own_functions import Operator, zipped
from tests.processes import ServerProcess
from tests.rotation.hosted import events, records, settle
from tests.rotation.test_own_functions import FAULTY, STEPS, TEMPLATE
from tests.support import SettableClock
from turnlock import app
from turnlock.config import Config, parse_regions
from turnlock.confinement import landlock
from turnlock.rotation.plan.states import Step
from turnlock.rotation.store import PlanRow
from turnlock.shell.application import Application

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(landlock.abi() < 3, reason="this kernel cannot confine functions of one's own"),
]

IDLE = """
from turnlock.rotation import Scheduler
Scheduler.tick = lambda self: 60.0
from turnlock.cli import main
main()
"""
"""A server that answers, and leaves rotations to others."""
PATIENCE = 120.0
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FIRST = "the-first-password"
REASONS = {
    "raise": "the service is down in {step}, and [redacted] does not help",
    "hang": "Task timed out after 8.00 seconds",
    "die": "Runtime exited with error: exit status 9",
}
"""By the way of failing: what an operator is told."""
CASES = (
    [(step, how) for step in STEPS for how in REASONS]
    if proofs.FULL
    else [("createSecret", "die"), ("setSecret", "raise"), ("testSecret", "hang"), ("finishSecret", "raise")]
)


@dataclass(frozen=True, kw_only=True)
class Hours:
    """A node of the tests' own, and the clock that its rotations go by."""

    operator: Operator
    application: Application
    clock: SettableClock
    ran: list[tuple[str, str]]
    """(secret's ARN, step), in the order in which they were begun."""

    def pass_until(self, moment: datetime) -> None:
        """Let time pass to a moment, and the node do what is due then."""
        self.clock.set(moment)
        settle(self.application, seconds=PATIENCE)

    def closes_at(self, secret: str) -> datetime:
        """Return when a secret's next window ends."""
        described = self.operator.client("secretsmanager").describe_secret(SecretId=secret)
        shown: datetime = described["NextRotationDate"]
        return shown.astimezone(UTC) + timedelta(seconds=1)

    def events(self, secret: str) -> list[str]:
        return events(self.application.database, secret)

    def reasons(self, secret: str) -> list[str]:
        """Return what the trail says of a secret's lost windows, oldest first."""
        return [
            one["errorMessage"]
            for one in records(self.application.database)
            if one["eventName"] == "RotationFailed" and one["additionalEventData"]["SecretId"] == secret
        ]

    def set_fault(self, name: str, fault: str) -> None:
        self.operator.client("lambda").update_function_configuration(
            FunctionName=name, Environment={"Variables": {"FAULT": fault}}
        )


@pytest.fixture(params=STORES if proofs.FULL else STORES[:1])
def hours(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hours]:
    on_sqlite = request.param == "sqlite"
    url = None if on_sqlite else request.getfixturevalue("empty_postgresql_url")
    data_dir = tmp_path_factory.mktemp("windows") / "turnlock"
    clock = SettableClock(datetime.now(UTC))
    with ServerProcess(data_dir, database=url, entry=("-c", IDLE, "serve")) as server:
        config = Config(
            data_dir=data_dir,
            host="127.0.0.1",
            port=server.port,
            database=url,
            regions=parse_regions(None),
        )
        ran: list[tuple[str, str]] = []

        def observe(moment: str, row: PlanRow, step: Step) -> None:
            if moment == "decided":
                ran.append((row.secret_arn, step.value))

        application = app.build(config, clock=clock, observe=observe)
        try:
            yield Hours(operator=Operator(server=server), application=application, clock=clock, ran=ran)
        finally:
            application.close()


def test_a_step_that_fails_through_its_window_is_told_of_and_done_in_the_next(hours: Hours) -> None:
    operator, secrets_of = hours.operator, dict[tuple[str, str], str]()
    package = zipped(TEMPLATE, faulty=FAULTY)
    for step, how in CASES:
        function = operator.create_function(
            f"{step}-{how}", package, Handler="faulty.handler", Timeout=8 if how == "hang" else 30
        )
        secret = operator.create_secret(f"secret-{step}-{how}", {"user": "app", "password": FIRST})
        operator.client("secretsmanager").rotate_secret(
            SecretId=secret,
            RotationLambdaARN=function,
            RotationRules={"ScheduleExpression": "rate(4 hours)"},
            RotateImmediately=False,
        )
        secrets_of[step, how] = secret
    hours.pass_until(hours.clock.now() + MINUTE)
    for (step, how), secret in secrets_of.items():
        assert hours.events(secret) == ["TestRotationStarted", "TestRotationSucceeded"]
        hours.set_fault(f"{step}-{how}", f"{step}:{how}")

    ends = hours.closes_at(secret)
    for moment in (ends - 40 * MINUTE, ends - 20 * MINUTE):
        hours.pass_until(moment)
    pending = {secret: operator.stages(secret)["AWSPENDING"] for secret in secrets_of.values()}
    for (step, how), secret in secrets_of.items():
        assert hours.reasons(secret) == [], (step, how)
        assert hours.ran.count((secret, step)) == 2 + (step == "testSecret")
        assert operator.value(secret)["password"] == FIRST
    hours.pass_until(ends + MINUTE)
    for (step, how), secret in secrets_of.items():
        assert_window_lost(hours, secret, step, how)
    ran = len(hours.ran)
    hours.pass_until(ends + HOUR)
    assert len(hours.ran) == ran

    for step, how in secrets_of:
        hours.set_fault(f"{step}-{how}", "none")
    hours.pass_until(hours.closes_at(secret) - 20 * MINUTE)
    for (step, how), secret in secrets_of.items():
        assert hours.events(secret)[2:] == ["RotationStarted", "RotationFailed", "RotationSucceeded"]
        assert operator.stages(secret)["AWSCURRENT"] == pending[secret], (step, how)
        assert operator.value(secret)["password"] != FIRST
        assert operator.value(secret, VersionStage="AWSPREVIOUS")["password"] == FIRST


def assert_window_lost(hours: Hours, secret: str, step: str, how: str) -> None:
    """What AWS leaves of a rotation that failed (docs/aws-behaviour.md#failed-rotations), and the reason wherever an operator looks."""
    assert hours.events(secret)[2:] == ["RotationStarted", "RotationFailed"], (step, how)
    reason = REASONS[how].format(step=step)
    function = hours.operator.client("lambda").get_function(FunctionName=f"{step}-{how}")
    arn = function["Configuration"]["FunctionArn"]
    assert hours.reasons(secret) == [f"Error when executing lambda {arn} during {step} step: {reason}"]
    described = hours.operator.client("secretsmanager").describe_secret(SecretId=secret)
    assert described["RotationEnabled"]
    assert "LastRotatedDate" not in described
    stages = hours.operator.stages(secret)
    assert stages["AWSPENDING"] != stages["AWSCURRENT"]
    assert hours.operator.value(secret)["password"] == FIRST
    hours.application.functions.loops()["function logs"]()
    logged = hours.operator.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{step}-{how}")
    text = json.dumps([one["message"] for one in logged["events"]])
    assert reason in text
    assert FIRST not in text
