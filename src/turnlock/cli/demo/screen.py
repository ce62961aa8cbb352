"""What the demo shows: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import click

from turnlock.cli.demo.application import Work
from turnlock.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.table import Table

LINE_SECONDS = 5.0
"""Seconds from one plain line to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything that the screen shows at one moment."""

    seconds: float
    """Since the start."""
    rotations: int
    failed_rotations: int
    last_error: str
    """Why the last failed rotation failed; empty when none did."""
    last_rotation: float | None
    """Seconds that the last rotation took; None before the first."""
    rotating: bool
    next_rotation: float
    """Seconds until the next one is asked for."""
    work: Work

    @property
    def good(self) -> bool:
        """Whether nothing has failed."""
        return not (self.failed_rotations or self.work.failed)


class Screen(Protocol):
    """Where the demo speaks."""

    def live(self) -> AbstractContextManager[object]:
        """Return the context in which `show` may be called."""
        ...

    def say(self, text: str, *, aloud: bool = False) -> None:
        """Show a text that stays; its lines are never broken, so that commands can be pasted."""
        ...

    def show(self, figures: Figures) -> None:
        """Show how things stand."""
        ...


class Lines:
    """Plain lines, for pipes and logs."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def live(self) -> AbstractContextManager[object]:
        return nullcontext()

    def say(self, text: str, *, aloud: bool = False) -> None:  # noqa: ARG002 (it has one voice)
        click.echo(text)

    def show(self, figures: Figures) -> None:
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            click.echo(summary(figures))


class LiveTable:
    """A table that changes in place, and what stays above it. Raises ConfigurationError without rich."""

    def __init__(self) -> None:
        try:
            from rich.console import Console  # noqa: PLC0415 (an optional extra)
            from rich.live import Live  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError(
                "On a terminal the demo needs the package rich: install turnlock[demo]."
            ) from None
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, refresh_per_second=5)

    def live(self) -> AbstractContextManager[object]:
        return self._live

    def say(self, text: str, *, aloud: bool = False) -> None:
        for line in text.splitlines():
            style = "bold green" if aloud else "dim" if line.startswith("#") else None
            self._console.print(line, soft_wrap=True, markup=False, style=style)

    def show(self, figures: Figures) -> None:
        self._live.update(_table(figures))


def open_screen() -> Screen:
    """Return the live table on a terminal that can show it, else plain lines."""
    capable = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return LiveTable() if capable else Lines()


def rows(figures: Figures) -> list[tuple[str, str, bool]]:
    """Return what the table shows: a name, its value, and whether it is as it should be."""
    work = figures.work
    last = "none yet" if figures.last_rotation is None else f"{figures.last_rotation:.2f} s"
    return [
        ("rotations completed", f"{figures.rotations:,}", True),
        ("last rotation took", last, True),
        (
            "rotations failed",
            f"{figures.failed_rotations:,} {figures.last_error}".strip(),
            not figures.failed_rotations,
        ),
        ("application operations", f"{work.operations:,}", True),
        ("retries after a refused login", f"{work.retries:,}", True),
        ("failed operations", f"{work.failed:,}", not work.failed),
        ("longest gap between two operations", f"{work.longest_gap:.2f} s", True),
    ]


def summary(figures: Figures) -> str:
    """Return the same as one line."""
    return f"{figures.seconds:.0f} s: " + ", ".join(f"{name} {value}" for name, value, _ in rows(figures))


def _table(figures: Figures) -> Table:
    from rich import box  # noqa: PLC0415 (an optional extra)
    from rich.table import Table  # noqa: PLC0415

    state = (
        "a rotation is running"
        if figures.rotating
        else f"the next rotation is in {figures.next_rotation:.0f} s"
    )
    table = Table(
        title=f"after {figures.seconds:.0f} s",
        caption=f"{state}; Ctrl-C ends everything",
        box=box.ROUNDED,
        show_header=False,
        min_width=56,
    )
    table.add_column()
    table.add_column(justify="right")
    for name, value, good in rows(figures):
        table.add_row(name, value, style=None if good else "bold red")
    return table
