"""The codes of MFA devices: judged here and nowhere else, and counted in the same step.

1  A right code is used up by being judged, also where the request is refused for another reason.
2  A wrong one is counted in the device's row. The row is written before anything can undo it: `judge_token_code` runs before the
   request is authorised, `take_pair` in handlers that return their refusal instead of raising it.
3  A device that rests (`attempts`) has no code judged: a right one is refused like a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from turnlock.accounts import NO_ATTEMPTS
from turnlock.core.action import Request
from turnlock.core.call import Call
from turnlock.errors import AccessDeniedException
from turnlock.iam.mfa.one_time_codes import accepted_pair, accepted_step
from turnlock.iam.mfa.store import DEVICES, MfaDevice, find_device, seed_of
from turnlock.storage import Unit


def judge_token_code(call: Call, request: Request, unit: Unit) -> Call:
    """Return the call with what its SerialNumber and TokenCode are worth: a code of the caller's own device is right or wrong.

    The code is used up, or counted as wrong. What is no device of the caller's counts as a wrong code, and is counted nowhere.
    """
    if "SerialNumber" not in request and "TokenCode" not in request:
        return call
    device = find_device(unit, call.principal.account_id, request.get("SerialNumber", ""))
    if device is None or device.user_id != call.principal.principal_id:
        return replace(call, code_was_right=False)
    taken = _judged(
        unit,
        device,
        lambda seed: accepted_step(seed, request.get("TokenCode", ""), unit.now, device.last_step),
    )
    return replace(call, code_was_right=taken is not None)


def require_right_code(call: Call) -> bool:
    """Return whether a right code came with the request. Raises AccessDeniedException where a wrong one came."""
    if call.code_was_right is False:
        raise AccessDeniedException("MultiFactorAuthentication failed with invalid MFA one time pass code. ")
    return call.code_was_right is True


def take_pair(unit: Unit, device: MfaDevice, request: Request) -> MfaDevice | None:
    """Return the device as it is kept once AuthenticationCode1 and AuthenticationCode2, of steps in a row, were used up.

    None for other codes, which are counted: the caller must not undo that.
    """
    first, second = request["AuthenticationCode1"], request["AuthenticationCode2"]
    return _judged(unit, device, lambda seed: accepted_pair(seed, first, second, unit.now, device.last_step))


def _judged(unit: Unit, device: MfaDevice, step_of: Callable[[bytes], int | None]) -> MfaDevice | None:
    if device.attempts.resting(unit.now):
        return None
    step = step_of(seed_of(unit, device))
    if step is None:
        DEVICES.replace(unit, device, device.evolve(attempts=device.attempts.missed(unit.now)))
        return None
    taken = device.evolve(last_step=step, attempts=NO_ATTEMPTS)
    DEVICES.replace(unit, device, taken)
    return taken
