"""What the rounds say together: medians, their ratio, and the page that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.load import Measurement

BEGIN, END = "<!-- figures: written by python -m bench --write -->", "<!-- end of the figures -->"
MARK = 0.20
"""The least that GetSecretValue must reach of the bare server's rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round: the bare server and Turnlock, one after the other."""

    bare: Measurement
    turnlock: Measurement
    repeated: bool
    """True when Turnlock was so fast that a request was sent a second time."""

    @property
    def ratio(self) -> float:
        """Turnlock's rate as a part of the bare server's."""
        return self.turnlock.rate / self.bare.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a run was made."""

    command: str
    commit: str
    generator: str
    connections: int
    seconds: int
    secrets: int
    workers: int
    machine: str
    date: str


def ratio(rounds: Sequence[Round]) -> float:
    """Return the median of the rounds' ratios."""
    return median(one.ratio for one in rounds)


def failures(rounds: Sequence[Round]) -> int:
    """Return how many requests failed, on either server."""
    return sum(one.bare.failures + one.turnlock.failures for one in rounds)


def table(rounds: Sequence[Round]) -> str:
    """Return a Markdown table of the rounds and their medians."""
    rows = [
        "| round | bare, requests/s | p50 / p99 ms | Turnlock, requests/s | p50 / p99 ms | ratio |",
        "|---|---|---|---|---|---|",
        *(_row(str(number), one) for number, one in enumerate(rounds, 1)),
    ]
    bare, ours = [one.bare for one in rounds], [one.turnlock for one in rounds]
    rows.append(f"| **median** | {_medians(bare)} | {_medians(ours)} | **{ratio(rounds):.1%}** |")
    return "\n".join(rows)


def replace_figures(page: str, rounds: Sequence[Round], setting: Setting) -> str:
    """Return the page with new figures between its two marks; ValueError when it does not have both."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} with an {END} behind it")
    return f"{before}{begin}\n{_figures(rounds, setting)}{end}{after}"


def _figures(rounds: Sequence[Round], setting: Setting) -> str:
    return f"""\
`{setting.command}` on {setting.date}, commit `{setting.commit}`, {setting.machine}; {setting.secrets:,} secrets, workers {setting.workers},
{setting.connections} connections, generator {setting.generator}, {setting.seconds} s for each server in each round.

{table(rounds)}
"""


def _row(name: str, one: Round) -> str:
    note = " (requests repeated)" if one.repeated else ""
    return f"| {name}{note} | {_cells(one.bare)} | {_cells(one.turnlock)} | {one.ratio:.1%} |"


def _cells(one: Measurement) -> str:
    return f"{one.rate:,.0f} | {one.p50_ms:.2f} / {one.p99_ms:.2f}"


def _medians(several: Sequence[Measurement]) -> str:
    p50, p99 = median(one.p50_ms for one in several), median(one.p99_ms for one in several)
    return f"{median(one.rate for one in several):,.0f} | {p50:.2f} / {p99:.2f}"
