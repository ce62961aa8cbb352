"""The rotation plan: each outcome in each state, and a simulated world in which everything can break."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampling import examples
from turnlock.rotation.plan.machine import begin, decide, reopen
from turnlock.rotation.plan.states import (
    Abandon,
    Decision,
    EventName,
    Facts,
    Fail,
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
    Succeed,
    Wait,
    Woken,
)

NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

STEPS: dict[Purpose, list[Step]] = {
    Purpose.ROTATE: [step for step in Step if step is not Step.DISCARD],
    Purpose.TEST: [Step.TEST],
    Purpose.DISCARD: [Step.DISCARD],
}
MOMENTS = st.integers(-200, 200).map(lambda minutes: NOW + minutes * MINUTE)
PLANS = st.sampled_from(Purpose).flatmap(
    lambda purpose: st.builds(
        Plan,
        token=st.just("new"),
        purpose=st.just(purpose),
        state=st.sampled_from([PlanState.RUNNING, *PlanState]),
        step=st.sampled_from(STEPS[purpose]),
        in_flight=st.booleans(),
        exposed=st.booleans(),
        attempts=st.integers(0, 10_000),
        next_attempt_at=MOMENTS,
        window_closes_at=MOMENTS,
        started_at=st.just(NOW),
        last_error=st.none() | st.just("before"),
    )
)
FACTS = st.builds(
    Facts,
    pending_labelled=st.booleans(),
    pending_has_value=st.booleans(),
    token_is_current=st.booleans(),
    rotation_enabled=st.booleans(),
    can_probe=st.booleans(),
    keeps_current=st.booleans(),
)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Woken()),
    st.builds(StepSucceeded, step=st.sampled_from(Step)),
    st.builds(StepFailed, step=st.sampled_from(Step), message=st.just("reason")),
    st.builds(ProbeResult, **dict.fromkeys(("pending", "current", "previous"), st.sampled_from(Login))),
)


@settings(max_examples=examples(500))
@given(PLANS, OUTCOMES, FACTS, st.floats(0, 1, exclude_max=True))
def test_each_outcome_in_each_state_has_a_defined_answer(
    plan: Plan, outcome: Outcome, facts: Facts, jitter: float
) -> None:
    decision = decide(plan, outcome, facts, now=NOW, jitter=jitter)
    after = decision.plan
    late = not isinstance(outcome, Woken) and not (plan.in_flight and outcome.step is plan.step)
    labelled = facts.token_is_current or (facts.pending_labelled and plan.purpose is not Purpose.DISCARD)
    displaced = not (facts.rotation_enabled and labelled)
    assert (after.token, after.purpose, after.started_at) == (plan.token, plan.purpose, plan.started_at)
    assert len(decision.events) == isinstance(decision, Succeed | Fail | Abandon)
    if plan.finished or (late and not displaced):
        assert isinstance(decision, Stop)
        assert after == plan
    elif isinstance(decision, Run):
        assert after.in_flight
        assert after.step is decision.step
        assert not after.finished
        assert decision.step is not Step.PROBE or facts.can_probe
        assert decision.step is not Step.SET or after.exposed or facts.keeps_current
        if decision.step is Step.FINISH and plan.in_flight:
            assert outcome == StepSucceeded(step=Step.TEST)
    else:
        assert not after.in_flight
        assert not isinstance(decision, Wait) or decision.until > NOW
        assert not isinstance(decision, Fail) or plan.state is PlanState.RUNNING
        assert not isinstance(decision, Succeed) or facts.token_is_current or plan.purpose is Purpose.TEST


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
            if not self.keeps_pending:  # a function that takes it away itself
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


@settings(max_examples=examples(400), deadline=None)
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
