"""What the benchmark says of its rounds."""

from __future__ import annotations

import pytest

from bench.figures import BEGIN, END, Round, Setting, failures, ratio, replace_figures, table
from bench.load import Measurement

SETTING = Setting(
    command="python -m bench",
    commit="abc",
    generator="wrk",
    connections=32,
    seconds=4,
    secrets=1000,
    workers=1,
    machine="2 cores",
    date="2026-11-23",
)


def measured(rate: int, failed: int = 0) -> Measurement:
    return Measurement(requests=rate, seconds=1.0, p50_ms=1.0, p99_ms=2.0, failures=failed)


def rounds(*pairs: tuple[int, int]) -> list[Round]:
    return [Round(bare=measured(bare), turnlock=measured(ours), repeated=False) for bare, ours in pairs]


def test_the_ratio_is_the_median_of_the_rounds_own() -> None:
    assert ratio(rounds((1000, 100), (2000, 600), (1000, 250))) == 0.25


def test_failures_of_both_servers_count() -> None:
    one = Round(bare=measured(10, 1), turnlock=measured(10, 2), repeated=False)
    assert failures([one, one]) == 6


def test_the_table_has_a_row_for_each_round_and_says_when_requests_were_repeated() -> None:
    repeated = Round(bare=measured(1000), turnlock=measured(200), repeated=True)
    lines = table([*rounds((1000, 300)), repeated]).splitlines()
    assert lines[2] == "| 1 | 1,000 | 1.00 / 2.00 | 300 | 1.00 / 2.00 | 30.0% |"
    assert lines[3].startswith("| 2 (requests repeated) |")
    assert lines[4].endswith("| **25.0%** |")


def test_new_figures_take_the_place_of_the_old_ones_and_of_nothing_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = replace_figures(page, rounds((1000, 300)), SETTING)
    assert new.startswith(f"before\n{BEGIN}\n")
    assert new.endswith(f"{END}\nafter\n")
    assert "old" not in new
    assert "**30.0%**" in new
    assert replace_figures(new, rounds((1000, 300)), SETTING) == new


def test_a_page_without_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="no <!-- figures"):
        replace_figures("text", rounds((1, 1)), SETTING)
