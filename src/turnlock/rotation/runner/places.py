"""How many plans one node carries out at once, and how slow functions are kept from delaying the others.

    1. `at_once` plans are carried out at the same time.
    2. A plan whose step has run for SLOW_AFTER is slow. It moves to one of the further places for slow plans, SLOW_SHARE times
       as many.
    3. When those are full it stays, and after SENT_BACK_AFTER it is sent back if another plan waits for its place: its function
       is ended, and its plan runs later in a slow place. Except while the database may refuse AWSCURRENT (`Plan.exposed`): the
       step that repairs this runs to its end.
    4. A function that was sent back or ran for REMEMBERED_AFTER against a host begins only in slow places from then on, and has at
       most `at_once` of them. Where more are slow than there are places, each keeps its place for a turn, and its next turn is
       twice as long.

So a quick rotation waits at most SENT_BACK_AFTER for a place, however many functions hang, and one that was taken for
slow by mistake at most a turn (docs/decisions/0032). The scheduler's lock guards this object.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

SLOW_AFTER: Final = 2.0
"""Seconds of one step, without its process's start, after which it is slow. A hosted function's steps take 0.1 s."""

SENT_BACK_AFTER: Final = 3.0
"""Seconds of one step after which a plan is sent back if others wait."""

START_ALLOWANCE: Final = 10.0
"""Seconds that a process may take to start before the time counts as its step: Lambda's limit of the init phase.

Half a second is usual. A machine under load takes longer, and must not start more processes because of it.
"""

FIRST_TURN: Final = 30.0
"""Seconds of a slow function's first turn, while other slow ones wait."""

SLOW_SHARE: Final = 2
"""Slow places for each of `at_once`."""

REMEMBERED_AFTER: Final = 10.0
"""Seconds of one step after which its function is remembered as slow."""

REMEMBERED_SECONDS: Final = 600.0
"""How long a function is remembered as slow against a host."""

MOST_REMEMBERED: Final = 200

Target = tuple[str, bytes | None]
"""A function's ARN and the keyed hash of the host that it works on, None where the secret names none."""


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """One plan that is being carried out, as its carrier reports on it. Seconds are of the monotonic clock."""

    target: Target
    step_began: float | None = None
    """When the running step began. While its process starts: when it will count as begun. None between two steps."""
    exposed: bool = False
    """Whether the running step must not be sent back."""
    slow: bool = False
    """Whether it is slow; then it stays so until it ends."""
    longest: float = 0.0
    """How long its longest step ran, when last looked at."""
    sent_back: bool = False
    """Whether its function is being ended because others wait."""
    begun_slow: bool = False
    """Whether it began in a slow place."""

    def begin(self, now: float, *, exposed: bool) -> None:
        """Note that a step was requested; its process may have to start first."""
        self.exposed, self.step_began = exposed, now + START_ALLOWANCE

    def started(self) -> None:
        """Note that the step's process has started and has its event."""
        if self.step_began is not None:
            self.step_began = min(self.step_began, time.monotonic())

    def runs_for(self, now: float) -> float:
        """Return how long the step has run."""
        return 0.0 if self.step_began is None else max(0.0, now - self.step_began)


@dataclass(slots=True, kw_only=True)
class Places:
    """The plans that are being carried out, and the functions that were slow lately."""

    at_once: int
    _works: list[Work] = field(default_factory=list)
    _slow_until: OrderedDict[Target, float] = field(default_factory=OrderedDict)
    _turns: dict[Target, float] = field(default_factory=dict)
    """Function and host → length of the next turn, where it is not the first."""

    @property
    def most(self) -> int:
        """How many plans can be carried out at once, slow ones included."""
        return self.at_once * (1 + SLOW_SHARE)

    def take(self, work: Work) -> None:
        """Give a plan a free place."""
        work.slow = work.begun_slow = work.target in self._slow_until
        self._works.append(work)

    def leave(self, work: Work, now: float) -> None:
        """Free a plan's place. A function that ended in time is no longer remembered as slow."""
        self.look(now)
        self._works = [one for one in self._works if one is not work]
        if work.longest < SLOW_AFTER and not work.sent_back:
            self._slow_until.pop(work.target, None)
            self._turns.pop(work.target, None)

    def look(self, now: float) -> None:
        """Mark plans that have become slow, and forget functions that were slow long ago."""
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
        """Return how many plans may begin that are not known to be slow."""
        too_many = max(0, self._slow() - self.at_once * SLOW_SHARE)
        return max(0, self.at_once - (len(self._works) - self._slow()) - too_many)

    def free_for_slow(self) -> int:
        """Return how many plans may begin that are known to be slow."""
        return max(0, self.at_once * SLOW_SHARE - self._slow())

    def known_slow(self) -> list[Target]:
        """Return the functions and hosts that may begin only in slow places."""
        return list(self._slow_until)

    def claimable_slow(self) -> dict[Target, int]:
        """Return which of these may begin now, and how many plans of each."""
        free, busy = self.free_for_slow(), Counter(work.target for work in self._works)
        rooms = {target: min(free, self.at_once - busy[target]) for target in self._slow_until}
        return {target: room for target, room in rooms.items() if room > 0}

    def any_slow(self) -> bool:
        """Tell whether a slow plan has a place: then every other place goes to the plan that became due last."""
        return self._slow() > 0

    def to_send_back(self, now: float) -> list[Work]:
        """Return the plans to send back: slow ones beyond the slow places, the longest-running first."""
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
        """Return the slow plans whose turn is over, when other slow ones wait; their next turn is twice as long."""
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
