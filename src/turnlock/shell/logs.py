"""Structured logs: one JSON object a line on standard error, each with a stable `action`, and the request's id where there is one.

Nothing sensitive is ever given to a log call; JSON escapes control characters, so no caller's text can forge a line.
Tracebacks are written without the values of local variables.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from contextvars import ContextVar

import structlog
from structlog.typing import EventDict

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being carried out here, if one is: each line that is logged meanwhile names it."""


class StandardError:
    """Writes lines to standard error, as structlog's loggers do, but never fails.

    Where a line cannot be written (the log's disk is full, its pipe closed), the line is lost and not what it tells of: the
    thread that logs a failed commit is the one that makes the next.
    """

    def msg(self, line: str) -> None:
        """Write one line."""
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)  # noqa: T201  (standard error is the log)

    debug = info = warning = error = critical = msg


def _standard_error(*_names: object) -> StandardError:
    return StandardError()


def _name_request(_logger: object, _method: str, event: EventDict) -> EventDict:
    request_id = REQUEST_ID.get()
    if request_id:
        event.setdefault("request_id", request_id)
    return event


def configure(level: int = logging.INFO) -> None:
    """Set up structlog for a server process."""
    structlog.configure(
        processors=[
            _name_request,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_standard_error,
        cache_logger_on_first_use=True,
    )
