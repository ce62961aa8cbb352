"""The rotation plan: its transitions, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from turnlock.rotation.plan.machine import (
    FIRST_DELAY,
    URGENT_DELAY,
    begin,
    cancel,
    decide,
    discard,
    lose_window,
    read_probe,
    reopen,
    supersede,
)
from turnlock.rotation.plan.states import (
    Abandon,
    Decision,
    EventName,
    Events,
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
PENDING = Facts(
    pending_labelled=True,
    pending_has_value=True,
    token_is_current=False,
    rotation_enabled=True,
    can_probe=True,
)
CURRENT = replace(PENDING, pending_labelled=False, token_is_current=True)
TAKEN = replace(PENDING, pending_labelled=False)
DISABLED = replace(PENDING, rotation_enabled=False)
CUSTOM = replace(PENDING, can_probe=False)
YES, NO, GONE, NONE = Login.ACCEPTED, Login.REFUSED, Login.UNREACHABLE, Login.ABSENT


def new_plan(purpose: Purpose = Purpose.ROTATE) -> Plan:
    return begin(token="new", purpose=purpose, now=NOW, starts_at=NOW, window_closes_at=NOW + HOUR)[0]


def in_flight(step: Step, purpose: Purpose = Purpose.ROTATE) -> Plan:
    return new_plan(purpose).evolve(step=step, in_flight=True)


def probed(pending: Login, current: Login, previous: Login = NONE) -> ProbeResult:
    return ProbeResult(pending=pending, current=current, previous=previous)


def names(events: Events) -> list[EventName]:
    return [event.name for event in events]


def step_of(decision: Decision) -> Step:
    assert isinstance(decision, Run)
    return decision.step


def test_a_rotation_runs_the_four_steps_and_succeeds_when_the_token_is_current() -> None:
    plan, events = begin(
        token="new", purpose=Purpose.ROTATE, now=NOW, starts_at=NOW, window_closes_at=NOW + HOUR
    )
    assert names(events) == [EventName.ROTATION_STARTED]
    outcome: Outcome = Woken()
    for step in (Step.CREATE, Step.SET, Step.TEST, Step.FINISH):
        decision = decide(plan, outcome, PENDING, now=NOW)
        assert (step_of(decision), decision.plan.in_flight, decision.events) == (step, True, ())
        plan, outcome = decision.plan, StepSucceeded(step=step)
    decision = decide(plan, outcome, CURRENT, now=NOW)
    assert isinstance(decision, Succeed)
    assert (decision.plan.state, decision.plan.finished) == (PlanState.SUCCEEDED, True)
    assert names(decision.events) == [EventName.ROTATION_SUCCEEDED]


def test_the_first_step_waits_for_its_start() -> None:
    plan, _ = begin(
        token="new", purpose=Purpose.ROTATE, now=NOW, starts_at=NOW + MINUTE, window_closes_at=NOW + HOUR
    )
    decision = decide(plan, Woken(), PENDING, now=NOW)
    assert isinstance(decision, Wait)
    assert decision.until == NOW + MINUTE


@pytest.mark.parametrize("labelled", [True, False])
def test_awspending_on_the_current_version_does_not_matter(labelled: bool) -> None:
    facts = replace(CUSTOM, pending_labelled=labelled, token_is_current=True)
    decision = decide(in_flight(Step.FINISH), StepSucceeded(step=Step.FINISH), facts, now=NOW)
    assert isinstance(decision, Succeed)


def test_a_finish_that_moved_no_label_is_a_failed_attempt() -> None:
    decision = decide(in_flight(Step.FINISH), StepSucceeded(step=Step.FINISH), PENDING, now=NOW)
    assert isinstance(decision, Wait)
    assert decision.plan.last_error == "finishSecret ended, but AWSCURRENT is not on the new version."
    assert decision.events == ()


@pytest.mark.parametrize("outcome", [StepSucceeded(step=Step.SET), StepFailed(step=Step.SET, message="late")])
def test_an_outcome_that_comes_when_nothing_is_in_flight_runs_nothing(outcome: Outcome) -> None:
    waiting = new_plan().evolve(step=Step.SET)
    decision = decide(waiting, outcome, PENDING, now=NOW)
    assert (type(decision), decision.plan, decision.events) == (Stop, waiting, ())


@pytest.mark.parametrize("step", [Step.CREATE, Step.SET, Step.TEST, Step.FINISH])
def test_an_interruption_probes_at_once_and_is_no_failed_attempt(step: Step) -> None:
    decision = decide(in_flight(step), Woken(), PENDING, now=NOW)
    assert (step_of(decision), decision.plan.attempts) == (Step.PROBE, 0)


@pytest.mark.parametrize("step", [Step.CREATE, Step.SET, Step.TEST, Step.FINISH])
def test_a_failed_step_probes_after_a_wait(step: Step) -> None:
    failed = decide(in_flight(step), StepFailed(step=step, message="no route"), PENDING, now=NOW)
    assert isinstance(failed, Wait)
    assert (failed.until, failed.plan.attempts, failed.plan.last_error) == (NOW + FIRST_DELAY, 1, "no route")
    assert not failed.plan.in_flight
    assert isinstance(decide(failed.plan, Woken(), PENDING, now=NOW), Wait)
    assert step_of(decide(failed.plan, Woken(), PENDING, now=failed.until)) is Step.PROBE


@pytest.mark.parametrize("step", [Step.SET, Step.TEST, Step.FINISH])
def test_a_failed_step_is_looked_into_within_a_second_while_the_database_may_refuse_awscurrent(
    step: Step,
) -> None:
    plan = in_flight(step).evolve(exposed=True)
    failed = decide(plan, StepFailed(step=step, message="killed"), PENDING, now=NOW)
    assert isinstance(failed, Wait)
    assert failed.until == NOW + URGENT_DELAY <= NOW + timedelta(seconds=1)


def test_a_custom_function_starts_again_from_create_with_the_same_token() -> None:
    decision = decide(in_flight(Step.TEST), Woken(), CUSTOM, now=NOW)
    assert (step_of(decision), decision.plan.token) == (Step.CREATE, "new")


def naive_answer(result: ProbeResult, *, is_current: bool, has_value: bool) -> Step | str:
    """Say what the brief's sentences ask for, one after the other."""
    if is_current:
        if result.current is YES:
            return "success"
        if result.current is not GONE and result.previous is YES:
            return Step.SET
        return "wait"
    if not has_value:
        return Step.CREATE
    if result.pending is YES:
        return Step.TEST
    if result.pending is GONE:
        return "wait"
    if result.current is YES:
        return Step.SET
    return Step.SET if result.current is not GONE and result.previous is YES else "wait"


@pytest.mark.parametrize(("is_current", "has_value"), [*product([True, False], repeat=2)])
def test_after_a_probe_the_plan_follows_what_the_database_accepts(is_current: bool, has_value: bool) -> None:
    facts = replace(PENDING, pending_has_value=has_value, token_is_current=is_current)
    for logins in product(Login, repeat=3):
        result = probed(*logins)
        decision = decide(in_flight(Step.PROBE), result, facts, now=NOW)
        found: Step | str
        if isinstance(decision, Run):
            found = decision.step
        else:
            found = "success" if isinstance(decision, Succeed) else "wait"
            assert isinstance(decision, Succeed | Wait)
        assert found == naive_answer(result, is_current=is_current, has_value=has_value), logins


def test_a_custom_function_that_was_interrupted_after_it_had_moved_awscurrent_runs_again_before_it_succeeds() -> (
    None
):
    facts = replace(CUSTOM, token_is_current=True)
    plan = in_flight(Step.FINISH)
    outcome: Outcome = Woken()
    for step in (Step.CREATE, Step.SET, Step.TEST, Step.FINISH):
        decision = decide(plan, outcome, facts, now=NOW)
        assert step_of(decision) is step
        plan, outcome = decision.plan, StepSucceeded(step=step)
    assert isinstance(decide(plan, outcome, facts, now=NOW), Succeed)


@pytest.mark.parametrize("step", [Step.CREATE, Step.SET, Step.TEST, Step.FINISH])
def test_an_error_after_the_label_has_moved_is_told_at_once_and_once_and_is_tried_again(step: Step) -> None:
    facts = replace(CUSTOM, token_is_current=True)
    failed = decide(in_flight(step), StepFailed(step=step, message="no keytab"), facts, now=NOW)
    assert isinstance(failed, Wait)
    assert (failed.plan.state, failed.plan.attempts) == (PlanState.RUNNING, 1)
    assert [(e.name, e.error_message) for e in failed.events] == [(EventName.ROTATION_FAILED, "no keytab")]
    again = decide(failed.plan, Woken(), facts, now=failed.until)
    assert step_of(again) is Step.CREATE
    twice = decide(again.plan, StepFailed(step=Step.CREATE, message="no keytab"), facts, now=failed.until)
    assert (type(twice), twice.events) == (Wait, ())
    lost = decide(twice.plan, Woken(), facts, now=NOW + HOUR)
    assert (type(lost), lost.plan.state, lost.events) == (Fail, PlanState.FAILED, ())
    reopened = reopen(lost.plan, starts_at=NOW, window_closes_at=NOW + 9 * HOUR)
    assert not reopened.told


def test_a_hosted_function_that_failed_after_the_move_succeeds_once_the_database_accepts_awscurrent() -> None:
    failed = decide(in_flight(Step.FINISH), StepFailed(step=Step.FINISH, message="killed"), CURRENT, now=NOW)
    assert (type(failed), names(failed.events)) == (Wait, [EventName.ROTATION_FAILED])
    probe = decide(failed.plan, Woken(), CURRENT, now=NOW + MINUTE)
    assert step_of(probe) is Step.PROBE
    done = decide(probe.plan.evolve(exposed=True), probed(YES, YES), CURRENT, now=NOW + MINUTE)
    assert (type(done), done.plan.exposed) == (Succeed, False)


def test_a_probe_that_fails_after_the_label_has_moved_is_not_told_of_at_once() -> None:
    failed = decide(in_flight(Step.PROBE), StepFailed(step=Step.PROBE, message="killed"), CURRENT, now=NOW)
    assert (type(failed), failed.plan.told, failed.events) == (Wait, False, ())


def test_a_function_that_may_not_be_run_any_more_is_told_of_at_once() -> None:
    denied = StepFailed(step=Step.SET, message="no permission", denied=True)
    failed = decide(in_flight(Step.SET), denied, CUSTOM, now=NOW)
    assert (type(failed), names(failed.events)) == (Wait, [EventName.ROTATION_FAILED])
    assert decide(in_flight(Step.SET), replace(denied, denied=False), CUSTOM, now=NOW).events == ()


def test_a_rotation_is_followed_once_its_label_has_moved() -> None:
    finishing = supersede(in_flight(Step.FINISH).evolve(exposed=True))
    assert (type(finishing), finishing.plan.state, finishing.plan.exposed) == (
        Succeed,
        PlanState.SUCCEEDED,
        False,
    )
    for plan in (in_flight(Step.FINISH).evolve(told=True), new_plan().evolve(step=Step.PROBE, exposed=True)):
        left = supersede(plan)
        assert (type(left), left.plan.state) == (Abandon, PlanState.ABANDONED)
        assert left.plan.exposed is plan.exposed
        assert names(left.events) == [EventName.ROTATION_ABANDONED]


def test_the_row_says_before_set_secret_runs_that_awscurrent_may_be_refused() -> None:
    for before, after in ((Step.CREATE, True), (Step.TEST, False)):
        decision = decide(in_flight(before), StepSucceeded(step=before), PENDING, now=NOW)
        assert decision.plan.exposed is after


def test_a_database_that_lost_a_finished_change_gets_the_password_again_and_is_probed_again() -> None:
    repair = decide(in_flight(Step.PROBE), probed(NO, NO, YES), CURRENT, now=NOW)
    assert (step_of(repair), repair.plan.token) == (Step.SET, "new")
    again = decide(repair.plan, StepSucceeded(step=Step.SET), CURRENT, now=NOW)
    assert step_of(again) is Step.PROBE
    assert isinstance(decide(again.plan, probed(YES, YES, NO), CURRENT, now=NOW), Succeed)


def test_a_database_that_refuses_everything_is_a_failed_attempt_with_a_reason() -> None:
    decision = decide(in_flight(Step.PROBE), probed(NO, NO, NONE), PENDING, now=NOW)
    assert isinstance(decision, Wait)
    assert decision.plan.last_error == "The database refuses the pending, current and previous versions."


def test_waits_double_up_to_an_hour_and_jitter_takes_up_to_half() -> None:
    waits = []
    for attempts in range(20):
        plan = in_flight(Step.SET).evolve(attempts=attempts, window_closes_at=NOW + 24 * HOUR)
        for jitter in (0.0, 0.5):
            failed = decide(plan, StepFailed(step=Step.SET, message=""), PENDING, now=NOW, jitter=jitter)
            assert isinstance(failed, Wait)
            waits.append(failed.until - NOW)
    assert [wait.total_seconds() for wait in waits[:6]] == [30, 22.5, 60, 45, 120, 90]
    assert max(waits) == waits[-2] == HOUR


def test_thirty_attempts_are_made_in_a_window() -> None:
    plan = in_flight(Step.CREATE).evolve(attempts=28, window_closes_at=NOW + 99 * HOUR)
    decision = decide(plan, StepFailed(step=Step.CREATE, message="denied"), PENDING, now=NOW)
    assert isinstance(decision, Wait)
    decision = decide(
        plan.evolve(attempts=29), StepFailed(step=Step.CREATE, message="denied"), PENDING, now=NOW
    )
    assert isinstance(decision, Fail)
    assert [(e.name, e.error_message) for e in decision.events] == [(EventName.ROTATION_FAILED, "denied")]


def test_a_discard_is_tried_a_million_times() -> None:
    old = discard(token="new", now=NOW, starts_at=NOW).evolve(in_flight=True, attempts=999_998)
    failed = StepFailed(step=Step.DISCARD, message="locked")
    assert isinstance(decide(old, failed, CURRENT, now=NOW), Wait)
    assert isinstance(decide(old.evolve(attempts=999_999), failed, CURRENT, now=NOW), Fail)


def test_an_old_credential_is_tried_for_a_year() -> None:
    assert discard(token="new", now=NOW, starts_at=NOW).window_closes_at == NOW + timedelta(days=365)


def test_a_window_in_which_nothing_ran_says_so_and_one_in_which_something_ran_does_not() -> None:
    nothing = "No attempt could run in the rotation window that ended at 2024-02-29T13:00:00Z"
    incomplete = "The rotation window ended before the rotation was complete."

    def reason(plan: Plan) -> str:
        return str(lose_window(plan).plan.last_error)

    assert reason(new_plan()).startswith(nothing)
    assert reason(new_plan().evolve(tried=True)) == incomplete
    assert reason(new_plan().evolve(attempts=1)) == incomplete
    failed = in_flight(Step.SET).evolve(state=PlanState.FAILED, exposed=True, tried=True)
    repairing = reopen(failed, starts_at=NOW, window_closes_at=NOW + HOUR)
    assert reason(repairing) == incomplete
    waiting = reopen(failed.evolve(in_flight=False), starts_at=NOW, window_closes_at=NOW + HOUR)
    assert reason(waiting).startswith(nothing)


def test_a_window_that_ends_with_a_step_in_flight_leaves_finding_out_where_it_got() -> None:
    assert lose_window(in_flight(Step.SET)).plan.step is Step.PROBE
    assert lose_window(new_plan().evolve(step=Step.SET)).plan.step is Step.SET


def test_a_retry_that_would_come_after_the_window_fails_now_and_only_once() -> None:
    plan = in_flight(Step.CREATE).evolve(window_closes_at=NOW + FIRST_DELAY)
    decision = decide(plan, StepFailed(step=Step.CREATE, message="denied"), PENDING, now=NOW)
    assert isinstance(decision, Fail)
    assert not decision.plan.finished
    later = decide(decision.plan, Woken(), PENDING, now=NOW + 9 * HOUR)
    assert (type(later), later.plan, later.events) == (Stop, decision.plan, ())


def test_a_failed_rotation_goes_on_in_the_next_window_with_the_same_token() -> None:
    failed = new_plan().evolve(state=PlanState.FAILED, attempts=9, step=Step.PROBE, last_error="denied")
    opens_at = NOW + 24 * HOUR
    plan = reopen(failed, starts_at=opens_at, window_closes_at=opens_at + HOUR)
    assert (plan.state, plan.attempts, plan.token) == (PlanState.RUNNING, 0, "new")
    assert isinstance(decide(plan, Woken(), PENDING, now=NOW), Wait)
    assert step_of(decide(plan, Woken(), PENDING, now=opens_at)) is Step.PROBE


@pytest.mark.parametrize("state", [state for state in PlanState if state is not PlanState.FAILED])
def test_only_failed_rotations_are_reopened(state: PlanState) -> None:
    for plan in (new_plan().evolve(state=state), new_plan(Purpose.TEST).evolve(state=PlanState.FAILED)):
        assert reopen(plan, starts_at=NOW, window_closes_at=NOW + HOUR) == plan


def test_a_repair_in_flight_is_kept_by_the_next_window() -> None:
    failed = in_flight(Step.SET).evolve(state=PlanState.FAILED, exposed=True)
    plan = reopen(failed, starts_at=NOW, window_closes_at=NOW + 9 * HOUR)
    assert (plan.step, plan.in_flight) == (Step.SET, True)
    assert step_of(decide(plan, StepSucceeded(step=Step.SET), PENDING, now=NOW)) is Step.TEST


def test_a_window_that_ends_before_the_database_was_touched_ends_the_attempt() -> None:
    decision = decide(in_flight(Step.CREATE), StepSucceeded(step=Step.CREATE), PENDING, now=NOW + HOUR)
    assert isinstance(decision, Fail)
    assert decision.events[0].error_message == "The rotation window ended before the rotation was complete."


@pytest.mark.parametrize("facts", [PENDING, CUSTOM])
def test_a_window_that_ends_after_set_secret_does_not_stop_the_last_steps(facts: Facts) -> None:
    plan = in_flight(Step.SET).evolve(exposed=True)
    decision = decide(plan, StepSucceeded(step=Step.SET), facts, now=NOW + HOUR)
    assert step_of(decision) is Step.TEST
    decision = decide(decision.plan, StepSucceeded(step=Step.TEST), facts, now=NOW + HOUR)
    assert step_of(decision) is Step.FINISH


def test_a_lost_window_is_reported_while_a_database_that_may_refuse_awscurrent_is_still_repaired() -> None:
    plan = in_flight(Step.SET).evolve(exposed=True, window_closes_at=NOW)
    failed = decide(plan, StepFailed(step=Step.SET, message="reset"), PENDING, now=NOW)
    assert (type(failed), names(failed.events)) == (Fail, [EventName.ROTATION_FAILED])
    waiting = decide(failed.plan, Woken(), PENDING, now=NOW)
    assert isinstance(waiting, Wait)
    probe = decide(waiting.plan, Woken(), PENDING, now=waiting.until)
    assert step_of(probe) is Step.PROBE
    assert step_of(decide(probe.plan, probed(YES, NO), PENDING, now=NOW + HOUR)) is Step.TEST
    harmless = decide(probe.plan, probed(NO, YES), PENDING, now=NOW + HOUR)
    assert (type(harmless), harmless.events) == (Stop, ())


@pytest.mark.parametrize(("facts", "goes_on"), [(PENDING, True), (CUSTOM, False)])
def test_only_a_function_that_answers_probe_repairs_a_database_after_its_window(
    facts: Facts, goes_on: bool
) -> None:
    lost = in_flight(Step.PROBE).evolve(state=PlanState.FAILED, in_flight=False, exposed=True)
    assert isinstance(decide(lost, Woken(), facts, now=NOW + HOUR), Run if goes_on else Stop)


def test_an_interrupted_change_is_probed_even_after_its_window_before_anything_is_reported() -> None:
    plan = in_flight(Step.SET).evolve(exposed=True)
    assert step_of(decide(plan, Woken(), PENDING, now=NOW + 9 * HOUR)) is Step.PROBE


def test_a_cancelled_plan_ignores_the_outcome_of_the_step_in_flight() -> None:
    plan = cancel(in_flight(Step.FINISH))
    assert (plan.state, plan.in_flight, plan.drops_pending) == (PlanState.CANCELLED, False, False)
    decision = decide(plan, StepSucceeded(step=Step.FINISH), CURRENT, now=NOW)
    assert (type(decision), decision.plan, decision.events) == (Stop, plan, ())
    assert cancel(plan) is plan


def test_a_plan_whose_secret_no_longer_rotates_is_cancelled() -> None:
    decision = decide(in_flight(Step.SET), StepSucceeded(step=Step.SET), DISABLED, now=NOW)
    assert (type(decision), decision.plan.state) == (Stop, PlanState.CANCELLED)


def test_a_plan_that_lost_awspending_is_abandoned_once() -> None:
    decision = decide(in_flight(Step.SET), StepSucceeded(step=Step.SET), TAKEN, now=NOW)
    assert (type(decision), names(decision.events)) == (Abandon, [EventName.ROTATION_ABANDONED])
    assert decision.plan.last_error == "The staging label AWSPENDING was taken from the new version."
    again = decide(decision.plan, Woken(), TAKEN, now=NOW)
    assert (type(again), again.events) == (Stop, ())


def test_a_discard_whose_version_is_no_longer_current_is_abandoned() -> None:
    decision = decide(discard(token="new", now=NOW, starts_at=NOW), Woken(), PENDING, now=NOW)
    assert (type(decision), names(decision.events)) == (Abandon, [EventName.DISCARD_FAILED])
    assert decision.plan.last_error == "The staging label AWSCURRENT was taken from the new version."


@pytest.mark.parametrize(
    ("outcome", "facts", "event"),
    [
        (StepSucceeded(step=Step.TEST), PENDING, EventName.TEST_SUCCEEDED),
        (StepFailed(step=Step.TEST, message="refused"), PENDING, EventName.TEST_FAILED),
        (StepSucceeded(step=Step.TEST), TAKEN, EventName.TEST_FAILED),
    ],
)
def test_a_configuration_check_runs_test_secret_once_and_drops_its_copy(
    outcome: Outcome, facts: Facts, event: EventName
) -> None:
    plan, events = begin(
        token="new", purpose=Purpose.TEST, now=NOW, starts_at=NOW, window_closes_at=NOW + HOUR
    )
    assert names(events) == [EventName.TEST_STARTED]
    running = decide(plan, Woken(), PENDING, now=NOW)
    assert step_of(running) is Step.TEST
    decision = decide(running.plan, outcome, facts, now=NOW)
    assert names(decision.events) == [event]
    assert decision.plan.finished
    assert decision.plan.drops_pending


def test_an_interrupted_configuration_check_runs_again_within_its_window() -> None:
    plan = in_flight(Step.TEST, Purpose.TEST)
    assert step_of(decide(plan, Woken(), PENDING, now=NOW)) is Step.TEST
    assert isinstance(decide(plan, Woken(), PENDING, now=NOW + HOUR), Fail)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "accepted",
        7,
        [],
        {},
        {"pending": "accepted", "current": "refused"},
        {"pending": "accepted", "current": "refused", "previous": "maybe"},
        {"pending": "accepted", "current": ["refused"], "previous": "absent"},
        {"pending": None, "current": {}, "previous": 1},
    ],
)
def test_an_answer_to_probe_that_is_no_answer_is_a_failed_step(answer: object) -> None:
    outcome = read_probe(answer)
    assert isinstance(outcome, StepFailed)
    assert outcome.step is Step.PROBE


def test_an_answer_to_probe_is_read() -> None:
    answer = {"pending": "absent", "current": "accepted", "previous": "unreachable", "more": 1}
    assert read_probe(answer) == probed(NONE, YES, GONE)


def test_a_probe_without_an_answer_is_a_failed_attempt() -> None:
    decision = decide(in_flight(Step.PROBE), StepSucceeded(step=Step.PROBE), PENDING, now=NOW)
    assert isinstance(decision, Wait)
    assert decision.plan.last_error == "The function gave no answer to probe."


def test_a_change_that_leaves_awscurrent_valid_is_not_urgent() -> None:
    """Alternating users: nobody is locked out by a half-made twin, so the plan waits as long as after any failure."""
    safe = replace(PENDING, keeps_current=True)
    began = decide(new_plan().evolve(step=Step.SET), Woken(), safe, now=NOW)
    assert isinstance(began, Run)
    assert not began.plan.exposed
    failed = decide(began.plan, StepFailed(step=Step.SET, message="no"), safe, now=NOW)
    assert isinstance(failed, Wait)
    assert failed.until == NOW + FIRST_DELAY
