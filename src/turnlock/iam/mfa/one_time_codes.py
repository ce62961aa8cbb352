"""Time-based one-time codes (RFC 6238 over SHA-1, 6 digits, steps of 30 seconds): which step a code is of.

Pure but for the HMAC. A code is taken up to one step early or late, and only if its step is after the last one taken.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

STEP_SECONDS: Final = 30
DIGITS: Final = 6
SEED_BYTES: Final = 40
"""64 characters of Base32; RFC 4226 asks for 16 bytes at least."""
DRIFT: Final = 1
"""Steps that a device's clock may be off (RFC 6238, section 5.2)."""
RESYNC_DRIFT: Final = 10
"""Steps that it may be off when two codes in a row prove that it is the device."""


def step_at(now: datetime) -> int:
    """Return the number of the step that a moment is in."""
    return int(now.timestamp()) // STEP_SECONDS


def code_of(seed: bytes, step: int, digits: int = DIGITS) -> str:
    """Return the code of a step."""
    # SHA-1 is what authenticator applications have; HMAC does not need its collision resistance (RFC 6238, B.2).
    return HOTP(seed, digits, SHA1(), enforce_key_length=False).generate(step).decode()  # noqa: S303


def accepted_step(seed: bytes, code: str, now: datetime, last_step: int) -> int | None:
    """Return the step of a code that may be taken now; None for a wrong, an old or a used one."""
    here = step_at(now)
    return _found(seed, (code,), range(max(here - DRIFT, last_step + 1), here + DRIFT + 1))


def accepted_pair(seed: bytes, first: str, second: str, now: datetime, last_step: int) -> int | None:
    """Return the step of the second of two codes of steps in a row; None where they are none such."""
    here = step_at(now)
    steps = range(max(here - RESYNC_DRIFT, last_step + 1), here + RESYNC_DRIFT)
    start = _found(seed, (first, second), steps)
    return None if start is None else start + 1


def _found(seed: bytes, codes: tuple[str, ...], steps: range) -> int | None:
    """Return the first of the steps from which these codes follow; every step is tried, so that time tells nothing."""
    wanted, found = "".join(codes).encode(), None
    for step in steps:
        made = "".join(code_of(seed, step + ahead) for ahead in range(len(codes)))
        if hmac.compare_digest(made.encode(), wanted) and found is None:
            found = step
    return found
