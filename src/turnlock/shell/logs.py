"""Structured logs: one JSON object a line on standard error, each with a stable `action`, and the request's id where there is one.

Nothing sensitive is ever given to a log call; JSON escapes control characters, so no caller's text can forge a line.
Tracebacks are written without the values of local variables. What is expected to fail, the store and the machine, gets a sentence
instead of a traceback: that the database is away says everything.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from contextvars import ContextVar

import structlog
from structlog.typing import EventDict

from turnlock.errors import ConfigurationError, StoreError

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


def _shorten_expected(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put an expected error's sentence, and its cause's, in the traceback's place."""
    error = sys.exception() if event.get("exc_info") is True else None
    if error is not None and _is_expected(error):
        del event["exc_info"]
        causes = (error, error.__cause__) if error.__cause__ is not None else (error,)
        event["exception"] = "; ".join(map(_sentence, causes))
    return event


def _is_expected(error: BaseException) -> bool:
    # Loaded by whoever could raise them: the commands that have no store do without.
    database = sys.modules.get("sqlalchemy.exc")
    away = () if database is None else (database.OperationalError, database.InterfaceError)
    return isinstance(error, (ConfigurationError, StoreError, OSError, *away))


def _sentence(error: BaseException) -> str:
    """Return an error's class and its first line: SQLAlchemy's next ones are the statement."""
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first}"


def configure(level: int = logging.INFO) -> None:
    """Set up structlog for a server process."""
    structlog.configure(
        processors=[
            _name_request,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _shorten_expected,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_standard_error,
        cache_logger_on_first_use=True,
    )
