"""What the demo shows of its figures."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from turnlock.cli.demo import screen
from turnlock.cli.demo.application import Work
from turnlock.cli.demo.screen import Figures, Lines, LiveTable, open_screen, summary
from turnlock.errors import ConfigurationError

FIGURES = Figures(
    seconds=12.3,
    rotations=2,
    failed_rotations=0,
    last_error="",
    last_rotation=0.123,
    rotating=False,
    next_rotation=3.2,
    work=Work(operations=1234, retries=5, failed=0, longest_gap=0.25),
)


def test_nothing_failed_is_good() -> None:
    assert FIGURES.good
    assert not replace(FIGURES, failed_rotations=1).good
    assert not replace(FIGURES, work=Work(failed=1)).good


def test_the_line_says_every_figure() -> None:
    assert summary(FIGURES) == (
        "12 s: rotations completed 2, last rotation took 0.12 s, rotations failed 0, application operations 1,234,"
        " retries after a refused login 5, failed operations 0, longest gap between two operations 0.25 s"
    )


def test_a_pipe_gets_one_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = open_screen()
    assert isinstance(lines, Lines)
    now = 10.0
    monkeypatch.setattr(screen, "time", SimpleNamespace(monotonic=lambda: now))
    for _ in range(3):
        lines.show(FIGURES)
    now += screen.LINE_SECONDS
    lines.show(FIGURES)
    assert capsys.readouterr().out.count("rotations completed") == 2


def test_a_terminal_gets_a_table_above_which_commands_are_never_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    table = LiveTable()
    command = f"# {'long ' * 40}[not markup]"
    with table.live():
        table.say(command)
        table.say("done", aloud=True)
        table.show(replace(FIGURES, rotating=True, work=Work(failed=3)))
    shown = capsys.readouterr().out
    assert command.strip() in shown
    assert "a rotation is running" in shown


def test_a_terminal_without_rich_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ConfigurationError, match=r"install turnlock\[demo\]"):
        LiveTable()
