"""How much a caller may have written into the trail by calls that need no right: those that are refused, or allowed to all.

Each refused call leaves a record, and so a disk could be filled by anyone who has a key. What such records take is charged to
the principal and to the address that it comes from; beyond that the call is answered ThrottlingException and leaves none.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from turnlock.core.call import Principal, PrincipalKind

log = structlog.get_logger(__name__)

BURST: Final = 8 * 1024 * 1024
"""Bytes that a principal may have written at once: about 8,000 refused calls."""

BYTES_PER_SECOND: Final = 64 * 1024
"""Bytes a second that it may have written on and on: about 60 refused calls."""

ADDRESS_FACTOR: Final = 4
"""How much more an address may have written than a principal: several can be behind it."""

MOST_KEYS: Final = 4096
"""Principals, and addresses, that are counted; the one that was not seen for longest is forgotten."""

_TOLD_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Account:
    written: float
    at: float
    told: float = float("-inf")


class WriteBudget:
    """The budgets of one worker's callers. Any thread may ask."""

    def __init__(
        self,
        burst: int = BURST,
        bytes_per_second: int = BYTES_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._principals = _Accounts(burst, bytes_per_second, clock)
        self._addresses = _Accounts(ADDRESS_FACTOR * burst, ADDRESS_FACTOR * bytes_per_second, clock)

    def spend(self, principal: Principal, address: str, size: int) -> bool:
        """Charge `size` bytes to both; False, and nothing is charged, where either has not so much left."""
        key = key_of(principal)
        if not self._principals.has(key, size) or not self._addresses.has(address, size):
            self._principals.tell(key, address)
            return False
        self._principals.take(key, size)
        self._addresses.take(address, size)
        return True


class _Accounts:
    def __init__(self, burst: int, bytes_per_second: int, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._rate = bytes_per_second
        self._clock = clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def has(self, key: str, size: int) -> bool:
        return self._account(key).written + size <= self._burst

    def take(self, key: str, size: int) -> None:
        self._account(key).written += size

    def tell(self, key: str, address: str) -> None:
        """Log, once a minute for each, whose refused calls are not recorded any more."""
        account = self._account(key)
        if account.at - account.told > _TOLD_SECONDS:
            account.told = account.at
            log.warning(
                "a caller's refused calls are not recorded any more, for they are too many",
                action="refusals_not_recorded",
                principal=key,
                source_ip=address,
            )

    def _account(self, key: str) -> _Account:
        now = self._clock()
        account = self._accounts.pop(key, None) or _Account(0.0, now)
        account.written = max(0.0, account.written - (now - account.at) * self._rate)
        account.at = now
        self._accounts[key] = account
        if len(self._accounts) > MOST_KEYS:
            self._accounts.popitem(last=False)
        return account


def key_of(principal: Principal) -> str:
    """Return whom a principal's records are charged to: a role for all its sessions."""
    if principal.kind is PrincipalKind.ASSUMED_ROLE:
        return principal.principal_id.partition(":")[0]
    return principal.principal_id
