"""Rotation rules and windows, each limit as a row, and cron against a calendar walked day by day."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampling import examples
from turnlock.errors import InvalidParameterException
from turnlock.rotation.plan.schedule import (
    Cron,
    EveryDays,
    EveryHours,
    RotationRules,
    Schedule,
    Window,
    days_between,
    immediate_window,
    next_rotation_date,
    next_window,
    parse,
    start_at,
    windows_over,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAY_NAMES = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def scheduled(expression: str, duration: str | None = None) -> Schedule:
    return parse(RotationRules(schedule_expression=expression, duration=duration))


def opening(expression: str, last: str, now: str | None = None, duration: str | None = None) -> datetime:
    return next_window(scheduled(expression, duration), last=at(last), now=at(now or last)).opens_at


@pytest.mark.parametrize(
    ("rules", "duration"),
    [
        ({"AutomaticallyAfterDays": 1}, 24),
        ({"AutomaticallyAfterDays": 1000}, 24),
        ({"AutomaticallyAfterDays": 30, "Duration": "1h"}, 1),
        ({"AutomaticallyAfterDays": 30, "Duration": "24h"}, 24),
        ({"ScheduleExpression": "rate(4 hours)"}, 1),
        ({"ScheduleExpression": "rate(23 hours)", "Duration": "23h"}, 23),
        ({"ScheduleExpression": "rate(4 hour)", "Duration": "4h"}, 4),
        ({"ScheduleExpression": "rate(1 day)"}, 24),
        ({"ScheduleExpression": "rate(1 days)"}, 24),
        ({"ScheduleExpression": "rate(999 days)"}, 24),
        ({"ScheduleExpression": "cron(0 8 1 * ? *)"}, 16),
        ({"ScheduleExpression": "cron(0 8 1 * ? *)", "Duration": "16h"}, 16),
        ({"ScheduleExpression": "cron(0 23 ? * SUN *)"}, 1),
        ({"ScheduleExpression": "cron(0 /8 * * ? *)"}, 1),
        ({"ScheduleExpression": "cron(0 8/8 * * ? *)", "Duration": "8h"}, 8),
        ({"ScheduleExpression": "cron(0 2/10 * * ? *)", "Duration": "4h"}, 4),
        ({"ScheduleExpression": "cron(0 1/7 1 * ? *)", "Duration": "7h"}, 7),
        ({"ScheduleExpression": "cron(0 0/4 * * ? *)"}, 1),
        ({"ScheduleExpression": "cron(0 3/4 * * ? *)"}, 1),
        ({"ScheduleExpression": "cron(0 8 * * SUN *)"}, 16),
        ({"ScheduleExpression": "cron(0 8 sunl jan,Mar-may ? *)"}, 16),
        ({"ScheduleExpression": "cron(0 0 L,SUNL,1-3,/10 */2 ? *)"}, 24),
        ({"ScheduleExpression": "cron(0 0 ? 1/3 TUE#3,L,6L,FRIL,2-4,7/1 *)"}, 24),
        ({"ScheduleExpression": "cron(0 0 29 2 ? *)"}, 24),
        ({"ScheduleExpression": "cron(0 0 ? 2 FRI#5 *)"}, 24),
    ],
)
def test_rules_within_the_limits_give_windows_of_this_many_hours(
    rules: dict[str, object], duration: int
) -> None:
    assert parse(RotationRules.from_request(rules)).duration == duration * HOUR


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({}, "You must specify"),
        ({"Duration": "2h"}, "You must specify"),
        ({"AutomaticallyAfterDays": 0}, "between 1 and 1000"),
        ({"AutomaticallyAfterDays": 1001}, "between 1 and 1000"),
        ({"AutomaticallyAfterDays": 1, "Duration": "0h"}, "at least 1"),
        ({"AutomaticallyAfterDays": 1, "Duration": "3"}, "at least 1"),
        ({"AutomaticallyAfterDays": 1, "Duration": "\u0663h"}, "at least 1"),
        ({"AutomaticallyAfterDays": 1, "Duration": "25h"}, "at most 24h"),
    ],
)
def test_rules_outside_the_limits_are_refused(rules: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidParameterException, match=sentence):
        parse(RotationRules.from_request(rules))


@pytest.mark.parametrize(
    ("expression", "duration", "sentence"),
    [
        ("rate(3 hours)", None, "between 4 and 23"),
        ("rate(24 hours)", None, "between 4 and 23"),
        ("rate(0 days)", None, "whole number"),
        ("rate(1000 days)", None, "whole number"),
        ("rate(1.5 days)", None, "must be rate"),
        ("rate(10days)", None, "whole number"),
        ("rate(2 weeks)", None, "whole number"),
        ("rate(4 hours)", "5h", "at most 4h"),
        ("rate(10 days)", "25h", "at most 24h"),
        ("every(10 days)", None, "must be rate"),
        ("cron(0 8 1 * ? *", None, "must be rate"),
        ("cron(0 8 1 * ? *) ", None, "must be rate"),
        ("cron(0\t8 1 * ? *)", None, "must be rate"),
        ("cron()", None, "must be rate"),
        ("cron(" + "0 " * 130 + ")", None, "must be rate"),
        ("cron(0 8 1 * ?)", None, "six fields"),
        ("cron(0 8 1 * ? * *)", None, "six fields"),
        ("cron(15 8 1 * ? *)", None, "Minutes must be 0"),
        ("cron(* 8 1 * ? *)", None, "Minutes must be 0"),
        ("cron(0 8 1 * ? 2030)", None, "Year must be"),
        ("cron(0 24 1 * ? *)", None, "Hours"),
        ("cron(0 * 1 * ? *)", None, "Hours"),
        ("cron(0 8,20 1 * ? *)", None, "Hours"),
        ("cron(0 8-20 1 * ? *)", None, "Hours"),
        ("cron(0 */8 1 * ? *)", None, "Hours"),
        ("cron(0 0/0 1 * ? *)", None, "Hours"),
        ("cron(0 0/24 1 * ? *)", None, "Hours"),
        ("cron(0 8 0 * ? *)", None, "Day-of-month"),
        ("cron(0 8 32 * ? *)", None, "Day-of-month"),
        ("cron(0 8 15W * ? *)", None, "Day-of-month"),
        ("cron(0 8 L-3 * ? *)", None, "Day-of-month"),
        ("cron(0 8 1L * ? *)", None, "Day-of-month"),
        ("cron(0 8 MON * ? *)", None, "Day-of-month"),
        ("cron(0 8 5-2 * ? *)", None, "Day-of-month"),
        ("cron(0 8 1,,2 * ? *)", None, "Day-of-month"),
        ("cron(0 8 -5 * ? *)", None, "Day-of-month"),
        ("cron(0 8 *-5 * ? *)", None, "Day-of-month"),
        ("cron(0 8 1,? * ? *)", None, "Day-of-month"),
        ("cron(0 8 1 13 ? *)", None, "Month"),
        ("cron(0 8 1 FOO ? *)", None, "Month"),
        ("cron(0 8 1 L ? *)", None, "Month"),
        ("cron(0 8 ? * 0 *)", None, "Day-of-week"),
        ("cron(0 8 ? * 8 *)", None, "Day-of-week"),
        ("cron(0 8 ? * TUE#6 *)", None, "Day-of-week"),
        ("cron(0 8 ? * XYZ#2 *)", None, "Day-of-week"),
        ("cron(0 8 ? * SAT-SUN *)", None, "Day-of-week"),
        ("cron(0 8 1 * * *)", None, "must be ?"),
        ("cron(0 8 1 * MON *)", None, "must be ?"),
        ("cron(0 8 * * * *)", None, "must be ?"),
        ("cron(0 8 ? * ? *)", None, "must be ?"),
        ("cron(0 8 31 2,4,6 ? *)", None, "never fires"),
        ("cron(0 8 30 FEB ? *)", None, "never fires"),
        ("cron(0 0/3 * * ? *)", None, "every four hours"),
        ("cron(0 1/7 * * ? *)", None, "every four hours"),
        ("cron(0 1/7 L,1 * ? *)", None, "every four hours"),
        ("cron(0 8 1 * ? *)", "17h", "at most 16h"),
        ("cron(0 8/8 * * ? *)", "9h", "at most 8h"),
        ("cron(0 2/10 * * ? *)", "5h", "at most 4h"),
    ],
)
def test_expressions_outside_the_grammar_are_refused_with_a_reason(
    expression: str, duration: str | None, sentence: str
) -> None:
    with pytest.raises(InvalidParameterException) as caught:
        scheduled(expression, duration)
    assert sentence in caught.value.message


def test_days_and_an_expression_together_are_refused_in_awss_words() -> None:
    with pytest.raises(InvalidParameterException) as caught:
        parse(RotationRules(automatically_after_days=5, schedule_expression="rate(5 days)"))
    assert (
        caught.value.message == "You cannot specify both rotation frequency and schedule expression together."
    )


@given(st.text(max_size=40), st.sampled_from(["", "rate(", "cron(", "cron(0 8 "]))
def test_any_text_is_either_a_schedule_or_an_invalid_parameter(text: str, start: str) -> None:
    with contextlib.suppress(InvalidParameterException):
        assert isinstance(scheduled(start + text + ")", text[:3]), EveryDays | EveryHours | Cron)


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(InvalidParameterException) as caught:
        scheduled("cron(0 8 HUNTER2 * ? *)")
    assert "HUNTER2" not in caught.value.message


def test_rules_are_answered_as_they_were_given() -> None:
    members = {"AutomaticallyAfterDays": 7, "Duration": "3h"}
    assert RotationRules.from_request(members).as_answer() == members
    assert RotationRules.from_request(members).as_answer(days=9) == members
    rate = {"ScheduleExpression": "rate(7 days)"}
    assert RotationRules.from_request(rate).as_answer() == rate
    assert RotationRules.from_request(rate).as_answer(days=7) == {**rate, "AutomaticallyAfterDays": 7}


@pytest.mark.parametrize(
    ("expression", "last", "now", "opens"),
    [
        ("rate(10 days)", "2024-02-20T17:30", None, "2024-03-01"),
        ("rate(10 days)", "2024-02-20T17:30", "2024-03-01T23:59", "2024-03-01"),
        ("rate(10 days)", "2024-02-20T17:30", "2024-03-02", "2024-03-02"),
        ("rate(10 days)", "2024-02-20T17:30", "2024-05-09T11:00", "2024-05-09"),
        ("rate(6 hours)", "2024-12-31T20:30", None, "2025-01-01T02:30"),
        ("rate(6 hours)", "2024-12-31T20:30", "2025-01-01T03:29", "2025-01-01T02:30"),
        ("rate(6 hours)", "2024-12-31T20:30", "2025-01-01T03:30", "2025-01-01T08:30"),
        ("cron(0 8 L * ? *)", "2023-02-01", None, "2023-02-28T08:00"),
        ("cron(0 8 L * ? *)", "2024-02-28T08:00", None, "2024-02-29T08:00"),
        ("cron(0 8 L * ? *)", "2024-02-29T09:00", None, "2024-03-31T08:00"),
        ("cron(0 8 L * ? *)", "2024-02-29T07:00", "2024-03-01", "2024-03-31T08:00"),
        ("cron(0 0 SUNL * ? *)", "2024-06-01", None, "2024-06-30"),
        ("cron(0 0 SUNL * ? *)", "2024-02-26", None, "2024-03-31"),
        ("cron(0 0 ? * TUE#3 *)", "2024-12-18", None, "2025-01-21"),
        ("cron(0 0 ? * L *)", "2024-12-28T01:00", None, "2025-01-04"),
        ("cron(0 0 ? * 6L *)", "2024-12-27T01:00", None, "2025-01-31"),
        ("cron(0 0 29 2 ? *)", "2096-03-01", None, "2104-02-29"),
        ("cron(0 0 ? 2 FRI#5 *)", "2024-01-01", None, "2036-02-29"),
        ("cron(0 8/8 * * ? *)", "2024-12-31T16:00", None, "2025-01-01T08:00"),
        ("cron(0 8/8 * * ? *)", "2024-12-31T15:00", "2024-12-31T17:00", "2025-01-01T08:00"),
        ("cron(0 10 1 * ? *)", "2024-01-01T10:05", "2024-01-01T10:06", "2024-02-01T10:00"),
    ],
)
def test_the_next_window_opens_then(expression: str, last: str, now: str | None, opens: str) -> None:
    assert opening(expression, last, now) == at(opens)


def test_a_missed_day_window_is_caught_up_today_or_where_todays_is_over_tomorrow() -> None:
    assert opening("rate(5 days)", "2024-01-01", "2024-01-20T01:00", "2h") == at("2024-01-20")
    assert opening("rate(5 days)", "2024-01-01", "2024-01-20T02:00", "2h") == at("2024-01-21")


def test_moments_of_other_zones_are_read_in_utc_and_naive_ones_are_refused() -> None:
    tokyo = timezone(timedelta(hours=9))
    schedule = EveryDays(days=1, duration=DAY)
    window = next_window(
        schedule, last=datetime(2024, 1, 2, 3, tzinfo=tokyo), now=datetime(2024, 1, 2, 3, tzinfo=tokyo)
    )
    assert (window.opens_at, window.opens_at.tzinfo) == (at("2024-01-02"), UTC)
    with pytest.raises(ValueError, match="time zone"):
        next_window(schedule, last=at("2024-01-02").replace(tzinfo=None), now=at("2024-01-02"))


def test_a_rotation_asked_for_now_gets_a_window_of_its_own() -> None:
    now = at("2024-01-01T23:30")
    assert immediate_window(None, now=now) == Window(opens_at=now, closes_at=now + DAY)
    assert immediate_window(scheduled("rate(9 days)", "3h"), now=now).closes_at == now + 3 * HOUR


def test_the_next_rotation_date_is_the_last_second_of_the_window() -> None:
    assert next_rotation_date(Window(opens_at=at("2024-01-01"), closes_at=at("2024-01-02"))) == at(
        "2024-01-01T23:59:59"
    )


def test_the_days_between_rotations_are_derived_from_the_next_window() -> None:
    window = Window(opens_at=at("2024-03-01T08:00"), closes_at=at("2024-03-01T09:00"))
    assert days_between(at("2024-02-01T23:00"), window) == 29
    assert days_between(at("2024-03-01T04:00"), window) is None


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 24))
def test_a_secret_starts_in_the_first_quarter_of_its_window_and_in_its_first_hour(
    fraction: float, hours: int
) -> None:
    window = Window(opens_at=at("2024-01-01"), closes_at=at("2024-01-01") + hours * HOUR)
    waits = start_at(window, fraction) - window.opens_at
    assert timedelta(0) <= waits <= min(HOUR, hours * HOUR / 4)


def test_the_stagger_grows_with_the_fraction_and_takes_no_other_numbers() -> None:
    window = Window(opens_at=at("2024-01-01"), closes_at=at("2024-01-02"))
    assert start_at(window, 0.5) == at("2024-01-01T00:30")
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="fraction"):
            start_at(window, fraction)


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A piece of a cron expression beside what it means, said without any parsing."""

    text: str
    holds: Callable[[date], bool]


def nth_of_month(day: date) -> int:
    return sum((day - count * 7 * DAY).month == day.month for count in range(5))


def number_phrase(low: int, high: int, value_of: Callable[[date], int]) -> st.SearchStrategy[Phrase]:
    numbers = st.integers(low, high)
    single = numbers.map(lambda n: Phrase(text=str(n), holds=lambda d: value_of(d) == n))
    spans = st.tuples(numbers, numbers).map(sorted)
    ranged = spans.map(lambda s: Phrase(text=f"{s[0]}-{s[1]}", holds=lambda d: s[0] <= value_of(d) <= s[1]))
    stepped = st.tuples(numbers, st.integers(1, high)).map(
        lambda s: Phrase(text=f"{s[0]}/{s[1]}", holds=lambda d: value_of(d) in range(s[0], high + 1, s[1]))
    )
    return st.one_of(single, ranged, stepped, st.just(Phrase(text="*", holds=lambda _: True)))


def named(suffix: str, holds: Callable[[date], bool]) -> st.SearchStrategy[Phrase]:
    return st.integers(0, 6).map(
        lambda n: Phrase(text=DAY_NAMES[n] + suffix, holds=lambda d: d.weekday() == n and holds(d))
    )


def some_of(phrases: st.SearchStrategy[Phrase]) -> st.SearchStrategy[Phrase]:
    return st.lists(phrases, min_size=1, max_size=3).map(
        lambda ps: Phrase(text=",".join(p.text for p in ps), holds=lambda d: any(p.holds(d) for p in ps))
    )


LAST_OF_ITS_NAME = named("L", lambda d: (d + 7 * DAY).month != d.month)
MONTHS = some_of(
    number_phrase(1, 12, lambda d: d.month)
    | st.integers(0, 11).map(lambda n: Phrase(text=MONTH_NAMES[n], holds=lambda d: d.month == n + 1))
)
MONTH_DAYS = some_of(
    st.one_of(
        number_phrase(1, 31, lambda d: d.day),
        st.just(Phrase(text="L", holds=lambda d: (d + DAY).day == 1)),
        LAST_OF_ITS_NAME,
    )
)
WEEK_DAYS = some_of(
    st.one_of(
        number_phrase(1, 7, lambda d: (d.weekday() + 1) % 7 + 1),
        st.integers(1, 5).flatmap(lambda n: named(f"#{n}", lambda d: nth_of_month(d) == n)),
        LAST_OF_ITS_NAME,
        st.just(Phrase(text="L", holds=lambda d: d.weekday() == 5)),
    )
)
DAYS = st.one_of(
    st.tuples(MONTH_DAYS, MONTHS).map(
        lambda p: Phrase(text=f"{p[0].text} {p[1].text} ?", holds=lambda d: p[0].holds(d) and p[1].holds(d))
    ),
    st.tuples(MONTHS, WEEK_DAYS).map(
        lambda p: Phrase(text=f"? {p[0].text} {p[1].text}", holds=lambda d: p[0].holds(d) and p[1].holds(d))
    ),
)


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 23), st.integers(0, 23), DAYS, st.integers(0, 28 * 365), st.integers(0, 400))
def test_cron_agrees_with_a_walk_through_the_calendar(
    hour: int, step: int, days: Phrase, offset: int, idle: int
) -> None:
    """28 years of days and hours, written down one by one, say what is accepted and when it fires."""
    hours = list(range(hour, 24, step)) if step else [hour]
    calendar = (date(2001, 1, 1) + count * DAY for count in range(40 * 366))
    fires = [
        datetime(d.year, d.month, d.day, h, tzinfo=UTC) for d in calendar if days.holds(d) for h in hours
    ]
    expression = f"cron(0 {hour}{f'/{step}' if step else ''} {days.text} *)"
    if not fires or any(b - a < 4 * HOUR for a, b in pairwise(fires)):
        with pytest.raises(InvalidParameterException):
            scheduled(expression)
        return
    schedule = scheduled(expression)
    length = HOUR if len(hours) > 1 else (24 - hour) * HOUR
    last = at("2001-01-01") + offset * DAY / 4
    now = last + idle * 5 * HOUR
    expected = next(fire for fire in fires if fire > last and fire + length > now)
    assert next_window(schedule, last=last, now=now) == Window(opens_at=expected, closes_at=expected + length)


@settings(max_examples=examples(60))
@given(st.integers(4, 23), st.integers(1, 4), st.integers(0, 300_000))
def test_hour_rates_agree_with_stepping_from_window_to_window(hours: int, duration: int, idle: int) -> None:
    last = at("2023-12-28T13:37")
    now = last + timedelta(minutes=idle)
    opens = last + hours * HOUR
    while opens + duration * HOUR <= now:
        opens += hours * HOUR
    window = next_window(EveryHours(hours=hours, duration=duration * HOUR), last=last, now=now)
    assert window == Window(opens_at=opens, closes_at=opens + duration * HOUR)


@given(st.integers(1, 1000), st.integers(1, 24), st.integers(0, 40_000))
def test_day_schedules_agree_with_asking_each_day_of_the_calendar(
    days: int, duration: int, idle: int
) -> None:
    last = at("2023-12-28T13:37")
    now = last + idle * HOUR
    day, count = at("2023-12-28"), 0
    while count < days or day + duration * HOUR <= now:
        day, count = day + DAY, count + 1
    window = next_window(EveryDays(days=days, duration=duration * HOUR), last=last, now=now)
    assert window == Window(opens_at=day, closes_at=day + duration * HOUR)


@pytest.mark.parametrize(
    "rules",
    [
        {"automatically_after_days": 2},
        {"schedule_expression": "rate(2 days)", "duration": "3h"},
        {"schedule_expression": "rate(5 hours)", "duration": "2h"},
        {"schedule_expression": "cron(0 8 * * ? *)", "duration": "4h"},
    ],
    ids=str,
)
def test_a_window_is_the_next_one_until_the_microsecond_in_which_it_ends(rules: dict[str, Any]) -> None:
    schedule, last = parse(RotationRules(**rules)), at("2024-03-01T10:30:00")
    window = next_window(schedule, last=last, now=last)
    instant = timedelta(microseconds=1)
    assert next_window(schedule, last=last, now=window.closes_at - instant) == window
    following = next_window(schedule, last=last, now=window.closes_at)
    assert following.opens_at > window.opens_at
    assert list(windows_over(schedule, last=last, since=last, now=window.closes_at - instant)) == []
    assert list(windows_over(schedule, last=last, since=last, now=window.closes_at)) == [window]
    assert list(windows_over(schedule, last=last, since=window.closes_at, now=window.closes_at)) == []
