from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from turnlock.functions.model import REDACTED
from turnlock.functions.runtime.log_lines import (
    LINE_CHARACTERS,
    TAIL_CHARACTERS,
    FunctionOutput,
    escape,
    log_events,
    log_lines,
    write_log,
)


@pytest.fixture
def pipe() -> Iterator[tuple[int, FunctionOutput]]:
    reading, writing = os.pipe()
    yield writing, FunctionOutput(reading)
    for fd in (reading, writing):
        os.close(fd)


def test_pumping_an_empty_pipe_does_not_wait(pipe: tuple[int, FunctionOutput]) -> None:
    _, output = pipe
    output.begin([], warm=False)
    output.pump()
    assert output.tail() == ""
    assert not output.ended


def test_a_value_written_in_two_pieces_is_redacted(pipe: tuple[int, FunctionOutput]) -> None:
    writing, output = pipe
    output.begin(["hunter2"], warm=False)
    for piece in (b"it is hun", b"ter2\n"):
        os.write(writing, piece)
        output.pump()
    assert output.tail() == f"it is {REDACTED}\n"


def test_a_value_cut_by_the_bound_leaves_no_rest(pipe: tuple[int, FunctionOutput]) -> None:
    writing, output = pipe
    secret = "ü" * 1000 + "S" * 1000
    output.begin([secret], warm=False)
    for piece in (b"start ", secret.encode(), b"." * 65536, *([b"." * 4096] * 80)):
        for at in range(0, len(piece), 4096):
            os.write(writing, piece[at : at + 4096])
            output.pump()
            shown = output.tail()
            assert len(shown) <= TAIL_CHARACTERS
            assert "S" not in shown.replace(REDACTED, "") or at + 4096 < len(secret.encode())
    assert set(output.tail()) == {"."}


@pytest.mark.parametrize(
    ("tail", "events"),
    [
        ("one\ntwo\r\n\n three\n", ["one", "two", " three"]),
        ("[ERROR] E: x\rTraceback:\r\u00a0 File\nnext", ["[ERROR] E: x\nTraceback:\n  File", "next"]),
        ("x" * 5000 + "\x1b[2J", ["x" * 5000 + "\\x1b[2J"]),
    ],
)
def test_a_line_is_one_event_with_the_breaks_that_its_runtime_wrote(tail: str, events: list[str]) -> None:
    assert list(log_events(tail)) == events


@given(st.integers(0, 30), st.integers(0, 400_000))
def test_wherever_the_cut_falls_no_part_of_a_value_is_shown(before: int, after: int) -> None:
    reading, writing = os.pipe()
    try:
        output = FunctionOutput(reading)
        output.begin(["SECRET" * 50], warm=False)
        text = b"-" * before + b"SECRET" * 50 + b"-" * after
        for at in range(0, len(text), 60_000):
            os.write(writing, text[at : at + 60_000])
            output.pump()
        assert not set("SECRT") & set(output.tail())
    finally:
        os.close(reading)
        os.close(writing)


def test_a_warm_process_begins_with_a_clean_tail_and_keeps_its_old_values(
    pipe: tuple[int, FunctionOutput],
) -> None:
    writing, output = pipe
    output.begin(["first"], warm=False)
    os.write(writing, b"late words of the last invocation")
    output.begin(["second"], warm=True)
    os.write(writing, b"first and second")
    output.pump()
    assert output.tail() == f"{REDACTED} and {REDACTED}"


def test_the_end_of_the_pipe_is_noticed() -> None:
    reading, writing = os.pipe()
    output = FunctionOutput(reading)
    os.close(writing)
    output.pump()
    assert output.ended
    os.close(reading)


def test_lines_are_split_cut_and_escaped() -> None:
    tail = f"one\rtwo\r\n\nthree \x1b[2J\u202e\n{'x' * 5000}"
    assert list(log_lines(tail)) == ["one", "two", "three \\x1b[2J\\u202e", "x" * LINE_CHARACTERS]


@given(st.text())
def test_an_escaped_text_is_printable(text: str) -> None:
    assert escape(text).isprintable()


def test_each_line_is_one_event_with_a_stable_action() -> None:
    with capture_logs() as events:
        write_log("one\ntwo", function="f", request_id="r")
    assert [(event["action"], event["line"]) for event in events] == [
        ("function_log", "one"),
        ("function_log", "two"),
    ]
