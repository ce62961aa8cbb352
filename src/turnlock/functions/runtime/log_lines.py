"""What a function writes: taken from its pipe without ever blocking, bounded, redacted, and only then logged."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator
from typing import Final

import structlog

from turnlock.functions.model import MIB, FaultKind, InvocationResult, longest_spelling, redact

TAIL_CHARACTERS: Final = 64 * 1024
"""How much of an invocation's output is kept: its end."""
LINE_CHARACTERS: Final = 1024
"""Longer lines are cut in the server's log."""

_READ_BYTES = 64 * 1024
_READS_AT_ONCE = 16
"""A function that writes without pause must not keep its owner from looking at the clock."""
_BYTES_PER_CHARACTER = 4
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


class FunctionOutput:
    """The reading end of a function's stdout and stderr. Not thread-safe: one invocation at a time owns it."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._kept = bytearray()
        self._cut = False
        self._values: frozenset[str] = frozenset()
        self._margin = 0
        self.taken = 0
        """Bytes since `begin`, kept or not."""
        self.ended = False
        """True when every writer has closed its end."""

    def begin(self, values: Collection[str], *, warm: bool) -> None:
        """Begin an invocation: redact `values` too, and drop what a warm process wrote since the last one."""
        self.hide(values)
        if warm:
            self.pump()
        self._kept.clear()
        self.taken = 0
        self._cut = False

    def hide(self, values: Collection[str]) -> None:
        """Redact `values` too, in all that was kept. Those of earlier invocations stay: the process may still know them."""
        self._values |= frozenset(values)
        # A value that is cut by the beginning of what is kept cannot be recognised; as many characters as the longest
        # one has, and those of one broken UTF-8 sequence, are therefore never shown.
        self._margin = longest_spelling(self._values) + _BYTES_PER_CHARACTER

    def pump(self) -> None:
        """Take what is there now."""
        for _ in range(_READS_AT_ONCE):
            try:
                chunk = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                self.ended = True
                return
            self.taken += len(chunk)
            self._keep(chunk)

    def _keep(self, chunk: bytes) -> None:
        self._kept += chunk
        excess = len(self._kept) - _BYTES_PER_CHARACTER * (TAIL_CHARACTERS + self._margin)
        if excess > 0:
            del self._kept[:excess]
            self._cut = True

    def tail(self) -> str:
        """Return the last 64 Ki characters since `begin`, redacted."""
        text = self._kept.decode("utf-8", "replace")
        shown = redact(text, self._values, start=self._margin if self._cut else 0)
        return shown[-TAIL_CHARACTERS:]

    def redact(self, text: str) -> str:
        """Return `text` without the values of this invocation."""
        return redact(text, self._values)


def log_lines(tail: str) -> Iterator[str]:
    """Split redacted output into lines for the log: control characters escaped, long lines cut, empty ones left out."""
    for line in _LINE_BREAK.split(tail):
        if line.strip():
            yield escape(line[:LINE_CHARACTERS])


def log_events(tail: str) -> Iterator[str]:
    """Split redacted output into the events of the function's log: one for each line, its control characters escaped.

    A runtime keeps what belongs together in one line by writing carriage returns for its line breaks (awslambdaric does it with a
    traceback); in the event they are line breaks again.
    """
    for line in re.split(r"\r?\n", tail):
        if line.strip():
            yield "\n".join(map(escape, line.strip("\r").split("\r")))


def invocation_log(
    result: InvocationResult, *, request_id: str, version: str, memory_bytes: int
) -> Iterator[str]:
    """Yield the lines of one invocation as Lambda writes them, the function's own between START and END."""
    yield f"START RequestId: {request_id} Version: {version}"
    yield from log_events(result.log_tail)
    if result.fault is not None and result.fault.kind is not FaultKind.FUNCTION:
        yield f"RequestId: {request_id} Error: {escape(result.fault.message)}"
    yield f"END RequestId: {request_id}"
    milliseconds = result.duration_seconds * 1000
    yield (
        f"REPORT RequestId: {request_id} Duration: {milliseconds:.2f} ms"
        f" Billed Duration: {math.ceil(milliseconds)} ms Memory Size: {memory_bytes // MIB} MB"
        f" Max Memory Used: {math.ceil(result.most_memory_bytes / MIB)} MB"
    )


def escape(text: str) -> str:
    """Return `text` with whatever could move a terminal's cursor or reorder its letters written as an escape."""
    spaced = text.replace("\t", " ").replace("\u00a0", " ")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in spaced
    )


def write_log(tail: str, *, function: str, request_id: str) -> None:
    """Give redacted output to the server's log, one event for each line."""
    log = structlog.get_logger("turnlock.functions")
    for line in log_lines(tail):
        log.info("function log", action="function_log", function=function, request_id=request_id, line=line)
