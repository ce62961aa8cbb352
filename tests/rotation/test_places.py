"""Places: what a node begins, keeps waiting and sends back, by arithmetic alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampling import examples
from turnlock.rotation.runner.places import (
    FIRST_TURN,
    REMEMBERED_AFTER,
    REMEMBERED_SECONDS,
    SENT_BACK_AFTER,
    SLOW_AFTER,
    SLOW_SHARE,
    START_ALLOWANCE,
    Places,
    Work,
)


def work(name: str = "f", *, began: float | None = 0.0, exposed: bool = False) -> Work:
    return Work(target=(name, None), step_began=began, exposed=exposed)


def filled(at_once: int, count: int, **given_: bool) -> tuple[Places, list[Work]]:
    """Return a node with so many functions that all hang, each of its own name, and each begun where a place was free."""
    places, works = Places(at_once=at_once), list[Work]()
    now = 0.0
    while len(works) < count:
        assert places.free(), "no place, though nothing is beyond its bounds"
        one = work(f"hangs-{len(works)}", began=now, **given_)
        places.take(one)
        works.append(one)
        if not places.free():
            now += SLOW_AFTER
            places.look(now)
    return places, works


def test_quick_work_has_as_many_places_as_the_operator_said() -> None:
    places = Places(at_once=3)
    for left in (2, 1, 0):
        places.take(work(began=None))
        assert places.free() == left
    assert (places.free_for_slow(), places.most) == (3 * SLOW_SHARE, 3 + 3 * SLOW_SHARE)


def test_what_has_become_slow_makes_its_place_free() -> None:
    places, works = filled(2, 2)
    places.look(SLOW_AFTER)
    assert places.free() == 2
    assert places.free_for_slow() == 2 * SLOW_SHARE - 2
    assert all(one.slow for one in works)


def test_what_was_slow_begins_again_in_a_place_for_the_slow_alone() -> None:
    places, works = filled(2, 1)
    places.look(SLOW_AFTER)
    assert places.known_slow() == []  # a machine under load is slow too
    places.leave(works[0], REMEMBERED_AFTER)
    assert places.known_slow() == [works[0].target]
    assert places.claimable_slow() == {works[0].target: 2}
    again = Work(target=works[0].target)
    places.take(again)
    assert again.slow
    assert places.free() == 2
    assert places.claimable_slow() == {works[0].target: 1}


def test_one_slow_function_fills_no_more_than_its_share() -> None:
    places = Places(at_once=2)
    first = work()
    places.take(first)
    places.look(REMEMBERED_AFTER)
    places.take(Work(target=first.target))
    assert places.free_for_slow() == 2 * SLOW_SHARE - 2
    assert places.claimable_slow() == {}


def test_what_ends_in_time_is_not_slow_any_more_and_what_was_slow_is_forgotten() -> None:
    places, works = filled(2, 1)
    places.leave(works[0], REMEMBERED_AFTER)
    assert places.known_slow()
    places.look(REMEMBERED_AFTER + REMEMBERED_SECONDS + 1)
    assert places.known_slow() == []


def test_as_many_are_sent_back_as_are_beyond_the_places_for_the_slow_the_longest_running_first() -> None:
    places, works = filled(2, 2 + 2 * SLOW_SHARE)
    now = (works[-1].step_began or 0.0) + SENT_BACK_AFTER
    places.look(now)
    assert places.free() == 0
    sent_back = places.to_send_back(now)
    assert len(sent_back) == 2
    assert all(one.runs_for(now) >= SENT_BACK_AFTER for one in sent_back)
    assert {id(one) for one in sent_back} == {id(one) for one in works[:2]}
    for one in sent_back:
        places.leave(one, now)
    assert places.free() == 2
    assert places.to_send_back(now) == []


def test_the_slow_take_turns_where_there_are_more_of_them_than_places_each_turn_twice_as_long() -> None:
    places, works = filled(1, 1)
    places.look(SLOW_AFTER)
    assert places.to_take_turns(1000.0) == []  # there is room
    exposed = work("exposed", exposed=True)
    places.take(exposed)
    places.look(SLOW_AFTER)
    assert places.free_for_slow() == 0
    assert places.to_take_turns(FIRST_TURN - 0.1) == []
    assert places.to_take_turns(FIRST_TURN) == [works[0]]
    places.leave(works[0], FIRST_TURN)
    assert works[0].target in places.known_slow()
    again = Work(target=works[0].target, step_began=FIRST_TURN)
    places.take(again)
    assert places.to_take_turns(3 * FIRST_TURN - 0.1) == []
    assert places.to_take_turns(3 * FIRST_TURN) == [again]


def test_the_start_of_a_process_counts_only_when_it_takes_long() -> None:
    one = Work(target=("f", None))
    one.begin(10.0, exposed=False)
    assert one.runs_for(10.0 + START_ALLOWANCE) == 0.0
    assert one.runs_for(11.0 + START_ALLOWANCE) == 1.0


def test_a_step_that_may_have_locked_applications_out_is_never_sent_back() -> None:
    places, works = filled(2, 2 + 2 * SLOW_SHARE, exposed=True)
    places.look(1000.0)
    assert places.to_send_back(1000.0) == []
    works[0].exposed = False
    assert places.to_send_back(1000.0) == [works[0]]


def test_the_next_look_is_when_something_becomes_slow_or_must_go() -> None:
    places = Places(at_once=2)
    assert places.next_look(0.0) == float("inf")
    places.take(work(began=None))
    assert places.next_look(0.0) == float("inf")
    places.take(work(began=1.0))
    assert places.next_look(1.5) == SLOW_AFTER - 0.5
    assert places.next_look(1.0 + SLOW_AFTER) == SENT_BACK_AFTER - SLOW_AFTER
    assert places.next_look(1.0 + SENT_BACK_AFTER) == float("inf")


@settings(max_examples=examples(200), deadline=None)
@given(
    st.integers(1, 5), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.booleans()), max_size=80)
)
def test_whatever_happens_the_bounds_hold_and_a_place_comes_free(
    at_once: int, steps: list[tuple[int, int, bool]]
) -> None:
    """Begin what may begin, let it run, end it or send it back: at no time more runs than `most`."""
    places, running, now = Places(at_once=at_once), list[Work](), 0.0
    for what, which, exposed in steps:
        now += 0.7
        places.look(now)
        if what == 0 and places.free() and ((f"f{which}", None) not in places.known_slow()):
            running.append(work(f"f{which}", began=now, exposed=exposed))
            places.take(running[-1])
        elif what == 1:
            for target, room in places.claimable_slow().items():
                if room:
                    running.append(Work(target=target, step_began=now, exposed=exposed))
                    places.take(running[-1])
                    break
        elif what == 2 and running:
            places.leave(running.pop(which % len(running)), now)
        else:
            for one in places.to_send_back(now):
                assert not one.exposed
                places.leave(one, now)
                running = [other for other in running if other is not one]
        assert len(running) <= places.most
        assert places.free() <= at_once
    later = now + SENT_BACK_AFTER
    places.look(later)
    for one in places.to_send_back(later):
        places.leave(one, later)
    if not any(one.exposed for one in running):
        assert places.free() > 0
