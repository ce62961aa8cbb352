"""Wrong tries of a credential that can be guessed, and how long no more of them are judged. Pure.

The count stands in the row of the credential, so that it holds for every worker and node. Whoever judges a credential writes
the count in the same step, outside of what a refusal undoes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

TRIES: Final = 5
"""Wrong tries in a row before the credential rests."""
REST: Final = timedelta(minutes=5)
"""The first rest; each that follows is twice as long, until a right try."""
LONGEST_REST: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What went wrong since the last right try."""

    wrong: int = 0
    rests_until: datetime | None = None
    """No try is judged before this moment, nor counted (UTC)."""

    def resting(self, now: datetime) -> bool:
        """Tell whether no try is judged now."""
        return self.rests_until is not None and now < self.rests_until

    def missed(self, now: datetime) -> Attempts:
        """Return the attempts after one more wrong try."""
        wrong = self.wrong + 1
        if wrong % TRIES:
            return Attempts(wrong=wrong)
        # The exponent is bounded, because a timedelta is.
        rest = min(REST * 2 ** min(wrong // TRIES - 1, 16), LONGEST_REST)
        return Attempts(wrong=wrong, rests_until=now + rest)


NO_ATTEMPTS: Final = Attempts()
