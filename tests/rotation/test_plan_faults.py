"""The rotation plan in a simulated world in which everything can break: functions, servers, the network, the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from hypothesis import given, settings
from hypothesis import strategies as st

from turnlock.rotation.model import (
    Decision,
    EventName,
    Facts,
    Login,
    Outcome,
    Plan,
    PlanState,
    ProbeResult,
    Purpose,
    Run,
    Step,
    StepFailed,
    StepSucceeded,
    Stop,
    Wait,
    Woken,
    begin,
    decide,
    reopen,
)

NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

SILENCE = ProbeResult(pending=Login.UNREACHABLE, current=Login.UNREACHABLE, previous=Login.UNREACHABLE)


class Fault(Enum):
    """What goes wrong in one turn of the simulated world."""

    NOTHING = auto()
    FAILS_BEFORE = auto()
    FAILS_AFTER = auto()
    UNREACHABLE = auto()
    CRASH_UNWRITTEN = auto()
    CRASH_BEFORE = auto()
    CRASH_AFTER = auto()
    CRASH_FOR_HOURS = auto()
    LEFT_RUNNING = auto()
    RESTORED = auto()


CRASHES = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.CRASH_FOR_HOURS, Fault.LEFT_RUNNING, Fault.RESTORED)


@dataclass(kw_only=True)
class World:
    """One secret, one database that accepts one password, a function, and the plan as it is stored."""

    hosted: bool
    keeps_pending: bool
    now: datetime = NOW
    accepted: str = "old-password"
    values: dict[str, str] = field(default_factory=lambda: {"old": "old-password"})
    labels: dict[str, str] = field(default_factory=lambda: {"AWSCURRENT": "old", "AWSPENDING": "new"})
    events: list[EventName] = field(default_factory=list)
    windows: int = 1
    tested: bool = False
    ghosts: list[Step] = field(default_factory=list)
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        self.plan, events = begin(
            token="new", purpose=Purpose.ROTATE, now=NOW, starts_at=NOW, window_closes_at=NOW + HOUR
        )
        self.events += [event.name for event in events]

    def facts(self) -> Facts:
        return Facts(
            pending_labelled=self.labels.get("AWSPENDING") == "new",
            pending_has_value="new" in self.values,
            token_is_current=self.labels["AWSCURRENT"] == "new",
            rotation_enabled=True,
            can_probe=self.hosted,
        )

    def commit(self, decision: Decision) -> None:
        self.plan = decision.plan
        self.events += [event.name for event in decision.events]

    def login(self, version: str | None) -> Login:
        if version not in self.values:
            return Login.ABSENT
        return Login.ACCEPTED if self.values[version] == self.accepted else Login.REFUSED

    def effect(self, step: Step) -> bool:
        """Carry a step out as an idempotent function does; False when it cannot."""
        if step is Step.CREATE and "new" not in self.values:
            self.values["new"] = f"new-password-{len(self.events)}"
        elif step is Step.SET:
            known = ("new", self.labels["AWSCURRENT"], self.labels.get("AWSPREVIOUS"))
            if "new" not in self.values or Login.ACCEPTED not in map(self.login, known):
                return False
            self.accepted = self.values["new"]
        elif step is Step.TEST:
            return self.login("new") is Login.ACCEPTED
        elif step is Step.FINISH and self.labels["AWSCURRENT"] != "new":
            assert self.tested
            assert self.login("new") is Login.ACCEPTED
            self.labels |= {"AWSPREVIOUS": self.labels["AWSCURRENT"], "AWSCURRENT": "new"}
            if not self.keeps_pending:
                del self.labels["AWSPENDING"]
        assert any(self.login(version) is Login.ACCEPTED for version in self.labels.values())
        return True

    def run(self, step: Step, fault: Fault) -> Outcome:
        """Invoke the function; what comes back is what a server learns that lives, or that starts again."""
        self.now += timedelta(hours=5) if fault is Fault.CRASH_FOR_HOURS else MINUTE
        if fault is Fault.UNREACHABLE and step in (Step.SET, Step.TEST, Step.PROBE):
            self.tested = False
            return SILENCE if step is Step.PROBE else StepFailed(step=step, message="timeout")
        if fault is Fault.FAILS_BEFORE:
            return StepFailed(step=step, message="no memory")
        if fault in (Fault.CRASH_BEFORE, Fault.LEFT_RUNNING):
            self.ghosts += [step] if fault is Fault.LEFT_RUNNING and step is Step.SET else []
            return self.restarted()
        done = self.effect(step)
        if fault is Fault.RESTORED and self.hosted:
            self.accepted = "old-password"
        if fault in CRASHES:
            return self.restarted()
        if fault is Fault.FAILS_AFTER or not done:
            return StepFailed(step=step, message="lost answer")
        if step is Step.PROBE:
            current, previous = self.labels["AWSCURRENT"], self.labels.get("AWSPREVIOUS")
            return ProbeResult(
                pending=self.login("new"), current=self.login(current), previous=self.login(previous)
            )
        self.tested = self.tested or step is Step.TEST
        while self.ghosts:
            self.effect(self.ghosts.pop())
        return StepSucceeded(step=step)

    def restarted(self) -> Woken:
        self.tested = False
        return Woken()


def take_turn(world: World, outcome: Outcome, fault: Fault) -> Outcome:
    """Decide, write and act once; return what the holder of the plan knows next."""
    decision = decide(world.plan, outcome, world.facts(), now=world.now, jitter=0.25)
    if fault is Fault.CRASH_UNWRITTEN:
        return world.restarted()
    world.commit(decision)
    if isinstance(decision, Run):
        return world.run(decision.step, fault)
    if isinstance(decision, Wait):
        world.now = decision.until
    if isinstance(decision, Stop) and not world.plan.finished:
        world.now += 24 * HOUR
        world.windows += 1
        world.plan = reopen(world.plan, starts_at=world.now, window_closes_at=world.now + HOUR)
    return Woken()


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.booleans(), st.lists(st.sampled_from(Fault), max_size=60))
def test_whatever_breaks_some_labelled_version_logs_in_and_the_rotation_succeeds_in_the_end(
    hosted: bool, keeps_pending: bool, faults: list[Fault]
) -> None:
    world = World(hosted=hosted, keeps_pending=keeps_pending)
    outcome: Outcome = Woken()
    for fault in [*faults, *[Fault.NOTHING] * 12]:
        outcome = take_turn(world, outcome, fault)
        assert any(world.login(version) is Login.ACCEPTED for version in world.labels.values())
        if world.plan.finished:
            break
    assert world.plan.state is PlanState.SUCCEEDED
    assert (world.labels["AWSCURRENT"], world.login("new")) == ("new", Login.ACCEPTED)
    assert world.events[0] is EventName.ROTATION_STARTED
    assert world.events[-1] is EventName.ROTATION_SUCCEEDED
    middle = world.events[1:-1]
    assert set(middle) <= {EventName.ROTATION_FAILED}
    assert len(middle) <= world.windows
