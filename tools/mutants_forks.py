"""Mutants of functions, each in a fork of one pytest that has imported and collected everything.

A first fork runs the tests as they are: which functions of the files does each one enter, and how long does it take? Then each
mutant gets a fork, whose functions are given the changed code in place; it runs the tests that enter the changed function, the
fastest first, until one fails. Called by mutants.py with an area, how many mutants are drawn, and of which words.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from select import select
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from mutants import AREAS, SOURCES, Mutant, Results, draw

SECONDS = 60
"""How long a mutant's tests may take, besides five times what they take without it."""


def put_in_place(mutant: Mutant) -> None:
    """Give every function of the changed file its changed code. Raises ValueError where closures do not fit."""
    file = str((SOURCES / mutant.file).resolve())
    codes = {
        (code.co_qualname, code.co_firstlineno): code for code in _codes(compile(mutant.tree, file, "exec"))
    }
    for function in [one for one in gc.get_objects() if isinstance(one, FunctionType)]:
        code = function.__code__
        if code.co_filename == file and (code.co_qualname, code.co_firstlineno) in codes:
            function.__code__ = codes[code.co_qualname, code.co_firstlineno]


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


class Entered:
    """Which functions of some files are entered, by (file, first line), also in threads that begin later."""

    def __init__(self, files: list[str]) -> None:
        self._files = {str((SOURCES / file).resolve()): file for file in files}
        self.functions: set[tuple[str, int]] = set()

    def begin(self) -> None:
        """Watch from now on."""
        threading.settrace(self._called)
        sys.settrace(self._called)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> None:
        file = self._files.get(frame.f_code.co_filename)
        if file is not None:
            self.functions.add((file, frame.f_code.co_firstlineno))


class Forks:
    """A pytest plugin that runs the collected tests once as they are, and then some of them for each mutant."""

    def __init__(self, area: str, most: int, only: str) -> None:
        self._files = AREAS[area][0]
        self._drawn, _ = draw(self._files, most, only)
        self._results = Results(area)
        self._failed: str | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Look for no smaller example: the first one that fails is enough."""
        from hypothesis import Phase, settings  # noqa: PLC0415 (pytest rewrites it, and warns if it came first)

        settings.register_profile("mutants", settings(phases=(Phase.explicit, Phase.generate)))
        settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the first test that fails."""
        if report.failed and self._failed is None:
            self._failed = report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every mutant that is left."""
        items = session.items
        whole = json.loads(in_a_fork(lambda: self._as_it_is(items), None) or '{"failed": "a fork"}')
        if isinstance(whole, dict):
            print(f"  the tests fail as they are: {whole['failed']}")
            return True
        for mutant in self._drawn:
            if self._results.noticed.get(mutant.words) or mutant.function is None:
                continue
            entering = sorted(
                (seconds, number)
                for number, (seconds, functions) in enumerate(whole)
                if [mutant.file, mutant.function] in functions
            )
            tests = [items[number] for _, number in entering]
            limit = SECONDS + 5 * sum(seconds for seconds, _ in entering)
            by = in_a_fork(lambda mutant=mutant, tests=tests: self._changed(mutant, tests), limit)  # type: ignore[misc]
            if by != "":
                self._results.keep(mutant, "time" if by is None else by)
        return True

    def _as_it_is(self, items: list[pytest.Item]) -> str:
        """Return for each test its seconds and the functions that it enters, as JSON; or the test that fails."""
        found: list[Any] = []
        for number, item in enumerate(items):
            entered, began = Entered(self._files), time.monotonic()
            entered.begin()
            _run(item, items[number + 1 : number + 2])
            if self._failed is not None:
                return json.dumps({"failed": self._failed})
            found.append([time.monotonic() - began, [list(one) for one in entered.functions]])
        return json.dumps(found)

    def _changed(self, mutant: Mutant, items: list[pytest.Item]) -> str:
        """Return the first test that a mutant fails, or nothing."""
        try:
            put_in_place(mutant)
        except ValueError:
            return ""
        for number, item in enumerate(items):
            _run(item, items[number + 1 : number + 2])
            if self._failed is not None:
                return self._failed
        return ""


def _run(item: pytest.Item, further: list[pytest.Item]) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=further[0] if further else None)


def in_a_fork(work: Callable[[], str], seconds: float | None) -> str | None:
    """Return what some work returns in a fork of this process; None when it does not end in time.

    The fork has directories for temporary files of its own and says nothing; processes that it leaves are ended.
    """
    reading, writing = os.pipe()
    memory = Path("/dev/shm")  # noqa: S108 (mkdtemp makes one of its own there)
    directory = tempfile.mkdtemp(prefix="turnlock-mutant-", dir=memory if memory.is_dir() else None)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.tempdir = directory
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        try:
            answer = work()
        except BaseException as error:  # noqa: BLE001 (a mutant may raise whatever there is)
            answer = f"{type(error).__name__} outside of a test"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read().decode() if select([answers], [], [], seconds)[0] else None
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    shutil.rmtree(directory, ignore_errors=True)
    return answer


def main() -> int:
    """Try the mutants of an area."""
    area, most, only = sys.argv[1:]
    arguments = [
        "-q",
        "-s",
        "--no-header",
        "--no-summary",
        "-p",
        "no:cacheprovider",
        "--tb=no",
        *AREAS[area][1],
    ]
    return 0 if pytest.main(arguments, plugins=[Forks(area, int(most), only)]) in (0, 5) else 1


if __name__ == "__main__":
    sys.exit(main())
