"""Pure: what a process said or did, in the words of Lambda's own errors."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from turnlock.confinement import walls
from turnlock.functions.model import Fault, FaultKind
from turnlock.functions.runtime.watch import Excess

LARGEST_REPORT: Final = 256 * 1024
"""Bytes of an error report that is shown whole; of a larger one only type and message are."""

_MOST_VALUES: Final = 20_000
"""Values and brackets of an answer that is read: reading JSON holds up every thread, 6 MiB of `[],` for seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The body that the function answered with, unparsed."""

    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The error that the function or its runtime reported, not yet redacted."""

    error_type: str = field(repr=False)
    message: str = field(repr=False)
    report: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """The whole report, where it is a JSON object: what Invoke shows, with the stack trace."""


ABORTED: Final = Fault(
    kind=FaultKind.ABORTED,
    error_type="Turnlock.Aborted",
    message="The invocation was aborted and its process killed",
)


def timed_out(seconds: float) -> Fault:
    """Return the fault of an invocation that passed its deadline of `seconds`."""
    sentence = f"Task timed out after {seconds:.2f} seconds"
    return Fault(kind=FaultKind.TIMEOUT, error_type="Sandbox.Timedout", message=sentence)


def start_timed_out(seconds: float) -> Fault:
    """Return the fault of a process that asked for no event within `seconds`."""
    sentence = f"Init timed out after {seconds:.2f} seconds"
    return Fault(kind=FaultKind.INIT, error_type="Sandbox.Timedout", message=sentence)


def exited(kind: FaultKind, status: int | None) -> Fault:
    """Return the fault of a process that ended with `status`: negative for a signal, None when nobody knows."""
    if status == walls.REFUSED:
        sentence = "This machine's kernel does not offer what confines a function"
        return Fault(kind=FaultKind.UNAVAILABLE, error_type="Turnlock.NotConfined", message=sentence)
    return Fault(kind=kind, error_type="Runtime.ExitError", message=_exit_sentence(status))


def exceeded(excess: Excess) -> Fault:
    """Return the fault of a process that was killed because it went over a limit."""
    return Fault(kind=FaultKind.EXITED, error_type=excess.error_type, message=excess.value)


def _exit_sentence(status: int | None) -> str:
    if not status:
        return "Runtime exited without providing a reason"
    if status > 0:
        return f"Runtime exited with error: exit status {status}"
    try:
        return f"Runtime exited with error: signal: {signal.Signals(-status).name}"
    except ValueError:
        return f"Runtime exited with error: signal: {-status}"


def reported(kind: FaultKind, failure: Failure) -> Fault:
    """Return the fault that the process itself reported; not yet redacted."""
    return Fault(kind=kind, error_type=failure.error_type, message=failure.message)


def read_failure(body: bytes, header: str) -> Failure:
    """Read an error report; what is not one becomes a failure of type `header`, or `Unhandled`, without a message."""
    report = _read(body)
    report = report if isinstance(report, dict) else {}
    error_type, message = report.get("errorType"), report.get("errorMessage")
    return Failure(
        error_type=error_type if isinstance(error_type, str) and error_type else header or "Unhandled",
        message=message if isinstance(message, str) else "",
        report=report if report and len(body) <= LARGEST_REPORT else None,
    )


def read_answer(body: bytes) -> Any:
    """Return the value of an answer; None for what is not strict JSON, which a runtime of one's own may send, or too much of it.

    Turnlock looks into the answers of rotation functions alone, which are short. Who invokes a function gets its bytes.
    """
    return _read(body, parse_constant=_refuse_constant)


def _read(body: bytes, **options: Any) -> Any:
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        return None
    try:
        return json.loads(body, **options)
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
