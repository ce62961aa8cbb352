"""What a process that is stopped by signals is judged by."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from turnlock.functions.runtime.process import FunctionProcess


@pytest.mark.parametrize(
    ("looks", "judged"),
    [
        ([True, True], [False, False]),
        # On a busy machine the signal takes effect after the first look.
        ([False, True, True], [False, False, False]),
        ([False, True, False, True], [False, False, False, False]),
        ([False, False], [False, True]),
    ],
)
def test_only_what_is_found_running_at_two_looks_in_a_row_runs_on(
    looks: list[bool], judged: list[bool]
) -> None:
    process = FunctionProcess.__new__(FunctionProcess)
    process._found_running = 0
    remaining = iter(looks)
    process._watch = SimpleNamespace(is_at_rest=lambda: next(remaining), note_rest=lambda: None)  # type: ignore[assignment]
    assert [process.runs_on() for _ in looks] == judged
