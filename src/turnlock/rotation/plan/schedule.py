"""When a secret is due: rotation rules as AWS writes them, and the windows that follow from them.

Pure: `now`, the moment of the last rotation and the stagger fraction are given. Everything is UTC; a moment in another
zone is converted, a naive one is refused. The grammar is that of the Secrets Manager user guide, "Schedule
expressions":

    AutomaticallyAfterDays 1-1000              a day schedule
    rate(n hours), 4-23                        an hour schedule
    rate(n days), 1-999                        a day schedule
    cron(0 Hours Day-of-month Month Day-of-week *)
        one hour a day: a day schedule; more: an hour schedule

Decided where the guide is silent: `hour`, `hours`, `day` and `days` go with any number (the guide lists `hour`,
although no number below 4 is allowed); the highest number of hours is 23; names of days and months have any case; a
range ascends; `L` as Day-of-week is Saturday; `FRIL` or `6L` is the last Friday of the month.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from turnlock.errors import InvalidParameterException

MOST_DAYS: Final = 1000
"""The largest AutomaticallyAfterDays (API reference, RotationRulesType)."""

CLOSEST: Final = timedelta(hours=4)
"""No schedule may rotate more often than this (user guide, "Schedule expressions")."""

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)

_RATES: Final[Mapping[str, tuple[int, int]]] = {"hour": (4, 23), "day": (1, 999)}
"""Unit → the smallest and the largest number that `rate` takes of it."""

_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_EXPRESSION = re.compile(r"(rate|cron)\(([0-9A-Za-z#?*/, -]{1,250})\)")
_RATE = re.compile(r" *([1-9][0-9]{0,2}) +(hour|day)s? *")
_DURATION = re.compile(r"([0-9]{1,2})h")
_ITEM = re.compile(r"(?P<first>\*|[0-9A-Z]+)?(?:-(?P<last>[0-9A-Z]+))?(?:/(?P<step>[0-9]{1,2}))?")
_WEEKDAY_OF_MONTH = re.compile(r"([1-7]|[A-Z]{3})(L|#[1-5])")


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRules:
    """RotationRulesType as the caller gave it; `parse` says what it means."""

    automatically_after_days: int | None = None
    duration: str | None = None
    schedule_expression: str | None = None

    @classmethod
    def from_request(cls, rules: Mapping[str, Any]) -> RotationRules:
        """Take the three members out of a request's RotationRules; what is absent is None."""
        return cls(
            automatically_after_days=rules.get("AutomaticallyAfterDays"),
            duration=rules.get("Duration"),
            schedule_expression=rules.get("ScheduleExpression"),
        )

    def as_answer(self, *, days: int | None = None) -> dict[str, int | str]:
        """Return the members that have a value, under AWS's names.

        `days` is what `days_between` derives after a successful rotation (DescribeSecret shows AutomaticallyAfterDays
        for every kind of schedule); it stands in only where the caller gave no number.
        """
        members = {
            "AutomaticallyAfterDays": self.automatically_after_days or days,
            "Duration": self.duration,
            "ScheduleExpression": self.schedule_expression,
        }
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time in which a rotation may start: from `opens_at` on and before `closes_at`, both UTC."""

    opens_at: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """A cron expression: its days and its hours, which are the same on each of these days."""

    hours: tuple[int, ...]
    """Ascending, 0-23, at least one."""
    months: frozenset[int]
    days: frozenset[str]
    """The marks (see `_marks`) that select a day."""

    def includes(self, day: date) -> bool:
        """Say whether the expression fires on this day."""
        return day.month in self.months and not self.days.isdisjoint(_marks(day))

    def first_after(self, moment: datetime) -> datetime:
        """Return the first moment after `moment` (UTC) at which the expression fires."""
        day = moment.date()
        while True:
            if self.includes(day):
                for hour in self.hours:
                    fires_at = datetime.combine(day, time(hour), UTC)
                    if fires_at > moment:
                        return fires_at
            day = day + _DAY if day.month in self.months else _next_month(day)

    def closest(self) -> timedelta:
        """Return the smallest time between two firings, across the ends of days, months and years."""
        inside = min((later - sooner for sooner, later in pairwise(self.hours)), default=24)
        across = 24 - self.hours[-1] + self.hours[0]
        if across < inside and any(
            self.includes(a) and self.includes(b) for a, b in pairwise(_every_kind_of_year())
        ):
            return across * _HOUR
        return inside * _HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class EveryDays:
    """Windows that open at 00:00 UTC, `days` days after the last rotation's date."""

    days: int
    duration: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class EveryHours:
    """Windows that open each `hours` hours, counted from the moment of the last rotation."""

    hours: int
    duration: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Windows that open when the expression fires."""

    timetable: Timetable
    duration: timedelta


Schedule = EveryDays | EveryHours | Cron


def parse(rules: RotationRules) -> Schedule:
    """Return the schedule that `rules` describe, with the length of its windows decided.

    A window without Duration lasts 1 hour for hour schedules and until the end of the UTC day for day schedules.
    Raises InvalidParameterException when the rules contradict each other, are none, are outside a limit, never fire,
    fire more often than each 4 hours, or have windows that run into the next one (for day schedules: into the next day).
    """
    if rules.automatically_after_days is None:
        return _parse_expression(rules.schedule_expression, rules.duration)
    if rules.schedule_expression is not None:
        raise InvalidParameterException(
            "You cannot specify both rotation frequency and schedule expression together."
        )
    if not 1 <= rules.automatically_after_days <= MOST_DAYS:
        raise InvalidParameterException(f"AutomaticallyAfterDays must be between 1 and {MOST_DAYS}.")
    return EveryDays(
        days=rules.automatically_after_days, duration=_duration(rules.duration, usual=_DAY, longest=_DAY)
    )


def next_window(schedule: Schedule, *, last: datetime, now: datetime) -> Window:
    """Return the first window that is not over at `now` and belongs to a due date counted from `last`.

    `last` is the previous rotation, the last update of the value by hand, or the moment rotation was configured,
    whichever is latest. A day schedule whose window was missed gets each day's window until the rotation is done; an
    hour rate gets the following multiples; a cron expression its next firing. ValueError for naive moments.
    """
    last, now = _utc(last), _utc(now)
    if isinstance(schedule, EveryDays):
        opens_at = _day_opening(schedule, last, now)
    elif isinstance(schedule, EveryHours):
        every = schedule.hours * _HOUR
        opens_at = last + every * max(1, (now - schedule.duration - last) // every + 1)
    else:
        opens_at = schedule.timetable.first_after(max(last, now - schedule.duration))
    return Window(opens_at=opens_at, closes_at=opens_at + schedule.duration)


def windows_over(schedule: Schedule, *, last: datetime, since: datetime, now: datetime) -> Iterator[Window]:
    """Yield the windows, counted from `last`, that ended after `since` and are over at `now`, in order."""
    window = next_window(schedule, last=last, now=since)
    while window.closes_at <= now:
        yield window
        window = next_window(schedule, last=last, now=window.closes_at)


def immediate_window(schedule: Schedule | None, *, now: datetime) -> Window:
    """Return the window of a rotation that was asked for now: as long as the schedule's, or a day without one."""
    opens_at = _utc(now)
    return Window(opens_at=opens_at, closes_at=opens_at + (_DAY if schedule is None else schedule.duration))


def next_rotation_date(window: Window) -> datetime:
    """Return what NextRotationDate shows: the last whole second of the window ("on or before").

    A window that ends at midnight shows the day that ends, not the next one.
    """
    return window.closes_at - _SECOND


def start_at(window: Window, fraction: float) -> datetime:
    """Return the moment at which one secret's rotation starts.

    `fraction`, in [0, 1), comes from a keyed hash of the secret. It spreads the secrets of one window over its first
    hour or its first quarter, whichever is shorter. The rest is for retries. ValueError for another fraction.
    """
    if not 0 <= fraction < 1:
        raise ValueError("a stagger fraction is in [0, 1)")
    return window.opens_at + min(_HOUR, (window.closes_at - window.opens_at) / 4) * fraction


def days_between(last: datetime, window: Window) -> int | None:
    """Return the AutomaticallyAfterDays that DescribeSecret derives after a success; None for less than a day."""
    return (window.opens_at.date() - _utc(last).date()).days or None


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.astimezone(UTC)


def _day_opening(schedule: EveryDays, last: datetime, now: datetime) -> datetime:
    due, today = (datetime.combine(moment.date(), time(), UTC) for moment in (last, now))
    due += schedule.days * _DAY
    return next(opens_at for opens_at in (due, today, today + _DAY) if opens_at + schedule.duration > now)


def _marks(day: date) -> set[str]:
    """Return a day's marks, all the ways in which cron can select it: 31, L, TUE, TUE#5, TUEL."""
    name = _WEEKDAYS[day.isoweekday() % 7]
    days_left = calendar.monthrange(day.year, day.month)[1] - day.day
    marks = {str(day.day), name, f"{name}#{(day.day + 6) // 7}"}
    if days_left == 0:
        marks.add("L")
    if days_left < 7:
        marks.add(f"{name}L")
    return marks


def _next_month(day: date) -> date:
    return day.replace(day=1) + timedelta(days=calendar.monthrange(day.year, day.month)[1])


def _every_kind_of_year() -> Iterator[date]:
    """Yield the days of 28 years: a leap year or not, beginning on each weekday, with each kind of next year."""
    first = date(2000, 1, 1)
    return (first + timedelta(days=count) for count in range((date(2028, 1, 1) - first).days + 1))


def _duration(text: str | None, *, usual: timedelta, longest: timedelta) -> timedelta:
    if text is None:
        return usual
    found = _DURATION.fullmatch(text)
    if found is None or int(found[1]) < 1:
        raise InvalidParameterException("Duration must be a number of hours, at least 1, such as 3h.")
    if (duration := int(found[1]) * _HOUR) > longest:
        raise InvalidParameterException(
            "The rotation window must not run into the next rotation window or, for a schedule in days, into the next"
            f" UTC day: with this schedule Duration is at most {longest // _HOUR}h."
        )
    return duration


def _parse_expression(expression: str | None, duration: str | None) -> Schedule:
    if expression is None:
        raise InvalidParameterException("You must specify a rotation frequency or a schedule expression.")
    found = _EXPRESSION.fullmatch(expression)
    if found is None:
        raise _invalid(
            "it must be rate(Value Unit) or cron(Minutes Hours Day-of-month Month Day-of-week Year)."
        )
    if found[1] == "rate":
        return _parse_rate(found[2], duration)
    timetable, closest = _parse_cron(found[2].upper())
    if len(timetable.hours) > 1:
        return Cron(timetable=timetable, duration=_duration(duration, usual=_HOUR, longest=closest))
    left = (24 - timetable.hours[0]) * _HOUR
    return Cron(timetable=timetable, duration=_duration(duration, usual=left, longest=left))


def _parse_rate(text: str, duration: str | None) -> Schedule:
    found = _RATE.fullmatch(text)
    if found is None:
        raise _invalid("rate takes a whole number and hours or days, such as rate(10 days).")
    number, unit = int(found[1]), found[2]
    lowest, highest = _RATES[unit]
    if not lowest <= number <= highest:
        raise _invalid(f"a rate in {unit}s must be between {lowest} and {highest}.")
    if unit == "day":
        return EveryDays(days=number, duration=_duration(duration, usual=_DAY, longest=_DAY))
    return EveryHours(hours=number, duration=_duration(duration, usual=_HOUR, longest=number * _HOUR))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One field of a cron expression: its numbers, their names, and which of `* - /` it may use."""

    title: str
    low: int
    high: int
    marks: str
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """Read one number or name; InvalidParameterException when it is not one of this field."""
        if text in self.names:
            return self.low + self.names.index(text)
        if len(text) > 2 or not text.isdecimal() or not self.low <= int(text) <= self.high:
            raise self.refusal()
        return int(text)

    def numbers(self, item: str) -> range:
        """Read `*`, `n`, `n-m`, `n/step`, `/step` and `n-m/step`; a step without an end runs to the highest number."""
        found = _ITEM.fullmatch(item)
        if not item or found is None or any(mark in item and mark not in self.marks for mark in "*-/"):
            raise self.refusal()
        first, last, step = found["first"], found["last"], int(found["step"] or 1)
        whole = first in (None, "*")
        low = self.low if whole else self.number(first)
        high = self.high if whole or found["step"] else low
        if last is not None:
            high = self.number(last)
        if low > high or not 1 <= step <= self.high or (whole and last is not None):
            raise self.refusal()
        return range(low, high + 1, step)

    def refusal(self) -> InvalidParameterException:
        """Return the error that names this field."""
        return _invalid(f"the field {self.title} of cron is not valid.")


_HOURS = _Field(title="Hours", low=0, high=23, marks="/")
_DAY_OF_MONTH = _Field(title="Day-of-month", low=1, high=31, marks="*-/")
_MONTH = _Field(title="Month", low=1, high=12, marks="*-/", names=_MONTHS)
_DAY_OF_WEEK = _Field(title="Day-of-week", low=1, high=7, marks="*-/", names=_WEEKDAYS)


# Finding that an expression never fires costs milliseconds, and the scheduler asks for the same few again and again.
@lru_cache(maxsize=1024)
def _parse_cron(text: str) -> tuple[Timetable, timedelta]:
    """Read the six fields, in capitals; return them with the smallest time between two firings."""
    fields = text.split()
    if len(fields) != 6:
        raise _invalid("cron takes six fields: Minutes Hours Day-of-month Month Day-of-week Year.")
    minutes, hours, month_day, months, week_day, year = fields
    if minutes != "0" or year != "*":
        raise _invalid("in cron, Minutes must be 0 and Year must be *.")
    timetable = Timetable(
        hours=tuple(_HOURS.numbers(hours)),
        months=frozenset(number for item in months.split(",") for number in _MONTH.numbers(item)),
        days=_parse_days(month_day, week_day),
    )
    if not any(timetable.includes(day) for day in _every_kind_of_year()):
        raise _invalid("it never fires.")
    if (closest := timetable.closest()) < CLOSEST:
        raise _invalid("a secret can be rotated as often as every four hours.")
    return timetable, closest


def _parse_days(month_day: str, week_day: str) -> frozenset[str]:
    """Read the two fields of days, one of which must be `?`.

    The guide's older form, `*` as Day-of-month beside a Day-of-week that has a value, is accepted too.
    """
    older_form = month_day == "*" and week_day not in ("*", "?")
    if (month_day == "?") == (week_day == "?") and not older_form:
        raise _invalid("in cron, one of Day-of-month and Day-of-week must be ?.")
    if week_day == "?":
        return frozenset(mark for item in month_day.split(",") for mark in _month_day_marks(item))
    return frozenset(mark for item in week_day.split(",") for mark in _week_day_marks(item))


def _month_day_marks(item: str) -> list[str]:
    if item == "L" or (item.endswith("L") and item[:-1] in _WEEKDAYS):
        return [item]
    return [str(number) for number in _DAY_OF_MONTH.numbers(item)]


def _week_day_marks(item: str) -> list[str]:
    if item == "L":
        return [_WEEKDAYS[-1]]
    if found := _WEEKDAY_OF_MONTH.fullmatch(item):
        return [_WEEKDAYS[_DAY_OF_WEEK.number(found[1]) - 1] + found[2]]
    return [_WEEKDAYS[number - 1] for number in _DAY_OF_WEEK.numbers(item)]


def _invalid(reason: str) -> InvalidParameterException:
    return InvalidParameterException(f"Invalid ScheduleExpression: {reason}")
