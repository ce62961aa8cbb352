"""The places of one node: for work whose length nobody knows yet, and for what has turned out to be slow.

    1. `at_once` plans are worked on at the same time.
    2. One whose step has run for SLOW_AFTER is slow: it only waits, and moves to one of SLOW_SHARE times as many further places.
    3. When those are full, it stays where it is, and after SENT_BACK_AFTER it is sent back if others wait for its place: its
       function is ended, its plan goes on later, in a place for the slow. Not while the database may refuse AWSCURRENT
       (`Plan.exposed`): the step that would mend that runs to its end.
    4. What was sent back or ran for REMEMBERED_AFTER, a function against a host, is begun again only in a place for the slow, and
       fills at most `at_once` of them.
       Where more of the slow wait than there are places, each keeps its own for a turn, twice as long each time.

So a quick rotation waits for a place no longer than SENT_BACK_AFTER, however many functions hang, and one that was taken for slow
by mistake no longer than a turn (docs/decisions/0032). The scheduler's lock guards it.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

SLOW_AFTER: Final = 2.0
"""Seconds of one step without its process's start. A hosted function's steps take a tenth of a second."""

SENT_BACK_AFTER: Final = 3.0
"""Seconds of one step after which it gives its place up to those that wait."""

START_ALLOWANCE: Final = 10.0
"""Seconds for which a process may start before that counts as its step: Lambda's limit of the init phase.

Half a second is usual. A machine under load takes longer, and must not start still more processes because of that.
"""

FIRST_TURN: Final = 30.0
"""Seconds for which a slow function keeps its place the first time, while others that are slow wait."""

SLOW_SHARE: Final = 2
"""Places for the slow, for each of `at_once`."""

REMEMBERED_AFTER: Final = 10.0
"""Seconds of one step after which its function counts as slow from then on, as it does when it is sent back."""

REMEMBERED_SECONDS: Final = 600.0
"""How long a function counts as slow against a host after it was."""

MOST_REMEMBERED: Final = 200

Target = tuple[str, bytes | None]
"""A function's ARN and the keyed hash of the host that it works on, None where the secret names none."""


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """One plan that is being carried out, as its carrier reports on it. Seconds are of the monotonic clock."""

    target: Target
    step_began: float | None = None
    """When the step that runs was begun, of one whose process starts: will have been; None between two."""
    exposed: bool = False
    """Whether that step must not be sent back."""
    slow: bool = False
    """Whether it holds, or should hold, a place for the slow; for as long as it is carried out."""
    longest: float = 0.0
    """How long its longest step has run, as far as anybody looked."""
    sent_back: bool = False
    """Whether its function is being ended, for others that wait."""
    begun_slow: bool = False
    """Whether it was begun in a place for the slow, where it may stay."""

    def begin(self, now: float, *, exposed: bool) -> None:
        """Note that a step is asked for, whose process may have to be started."""
        self.exposed, self.step_began = exposed, now + START_ALLOWANCE

    def started(self) -> None:
        """Note that the step's process has started, and has its event now."""
        if self.step_began is not None:
            self.step_began = min(self.step_began, time.monotonic())

    def runs_for(self, now: float) -> float:
        """Return how long the step has run."""
        return 0.0 if self.step_began is None else max(0.0, now - self.step_began)


@dataclass(slots=True, kw_only=True)
class Places:
    """What is being carried out, and what was slow lately."""

    at_once: int
    _works: list[Work] = field(default_factory=list)
    _slow_until: OrderedDict[Target, float] = field(default_factory=OrderedDict)
    _turns: dict[Target, float] = field(default_factory=dict)
    """How long a slow function's next turn is, where it is not the first."""

    @property
    def most(self) -> int:
        """How many plans can be carried out at the same time, the slow among them."""
        return self.at_once * (1 + SLOW_SHARE)

    def take(self, work: Work) -> None:
        """Give a plan the place that was free for it."""
        work.slow = work.begun_slow = work.target in self._slow_until
        self._works.append(work)

    def leave(self, work: Work, now: float) -> None:
        """Take the place back, and learn from how it went: what ended in time against a host is not slow any more."""
        self.look(now)
        self._works = [one for one in self._works if one is not work]
        if work.longest < SLOW_AFTER and not work.sent_back:
            self._slow_until.pop(work.target, None)
            self._turns.pop(work.target, None)

    def look(self, now: float) -> None:
        """Find out what has become slow, and forget what was slow long ago."""
        for work in self._works:
            work.longest = max(work.longest, work.runs_for(now))
            if work.longest >= SLOW_AFTER:
                work.slow = True
            if work.longest >= REMEMBERED_AFTER:
                self._remember(work, now)
        while self._slow_until and (
            len(self._slow_until) > MOST_REMEMBERED or next(iter(self._slow_until.values())) < now
        ):
            self._turns.pop(self._slow_until.popitem(last=False)[0], None)

    def free(self) -> int:
        """Return how many plans may begin of which nothing is known."""
        too_many = max(0, self._slow() - self.at_once * SLOW_SHARE)
        return max(0, self.at_once - (len(self._works) - self._slow()) - too_many)

    def free_for_slow(self) -> int:
        """Return how many plans may begin that are known to be slow."""
        return max(0, self.at_once * SLOW_SHARE - self._slow())

    def known_slow(self) -> list[Target]:
        """Return what may begin in places for the slow alone."""
        return list(self._slow_until)

    def claimable_slow(self) -> dict[Target, int]:
        """Return what of it may begin now, and how many plans of each."""
        free, busy = self.free_for_slow(), Counter(work.target for work in self._works)
        rooms = {target: min(free, self.at_once - busy[target]) for target in self._slow_until}
        return {target: room for target, room in rooms.items() if room > 0}

    def any_slow(self) -> bool:
        """Tell whether slow work holds a place: then what came last goes before some of what waits."""
        return self._slow() > 0

    def to_send_back(self, now: float) -> list[Work]:
        """Return what must give its place to others that wait: the slow beyond their places, the longest-running first."""
        too_many = self._slow() - self.at_once * SLOW_SHARE
        candidates = [
            one
            for one in self._works
            if one.runs_for(now) >= SENT_BACK_AFTER and not (one.exposed or one.begun_slow)
        ]
        candidates.sort(key=lambda one: -one.runs_for(now))
        sent_back = candidates[: max(0, too_many)]
        for one in sent_back:
            one.sent_back = True
            self._remember(one, now)
        return sent_back

    def to_take_turns(self, now: float) -> list[Work]:
        """Return the slow work whose turn is over, for when others that are slow wait; its next turn is twice as long."""
        if self.free_for_slow():
            return []
        over = [
            one
            for one in self._works
            if one.slow and not one.exposed and one.runs_for(now) >= self._turns.get(one.target, FIRST_TURN)
        ]
        self._turns.update({one.target: 2 * self._turns.get(one.target, FIRST_TURN) for one in over[:1]})
        return over[:1]

    def next_look(self, now: float) -> float:
        """Return the seconds until something becomes slow, or has to be sent back; infinite when nothing runs."""
        ages = [one.runs_for(now) for one in self._works if one.step_began is not None]
        waits = [limit - age for age in ages for limit in (SLOW_AFTER, SENT_BACK_AFTER) if age < limit]
        return min(waits, default=float("inf"))  # a turn's end may be met a second late

    def _remember(self, work: Work, now: float) -> None:
        self._slow_until[work.target] = now + REMEMBERED_SECONDS
        self._slow_until.move_to_end(work.target)

    def _slow(self) -> int:
        return sum(one.slow for one in self._works)
