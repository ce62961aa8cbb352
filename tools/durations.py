"""Write docs/tests.md: how long the suite takes and which tests take longest, from what a run of it left in build/.

make test && .venv/bin/python tools/durations.py        # build/tests.xml
make quick && .venv/bin/python tools/durations.py       # build/quick.xml
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tests.md"
RUNS = {"make test": ROOT / "build" / "tests.xml", "make quick": ROOT / "build" / "quick.xml"}
SLOWEST, ROOMS = 20, 12
MARK = "<!-- measured: tools/durations.py writes what follows -->\n"


class Run(NamedTuple):
    """What one run of the suite took; times in seconds of wall clock."""

    at: str
    seconds: float
    counts: str
    tests: dict[str, float]


def read(path: Path) -> Run:
    """Read a run's JUnit report."""
    suite = ET.parse(path).getroot()[0]  # noqa: S314 (pytest wrote it)
    told = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    tests: dict[str, float] = {}
    for case in suite.iter("testcase"):
        name = f"{case.attrib['classname'].replace('.', '/')}::{case.attrib['name']}"
        tests[name] = float(case.attrib["time"])
    counts = ", ".join(f"{count} {name}" for name, count in told.items())
    return Run(suite.attrib["timestamp"][:16], float(suite.attrib["time"]), counts, tests)


def room(test: str) -> str:
    """Return the folder below tests/ that a test is in."""
    parts = test.split("::", maxsplit=1)[0].split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def section(command: str, run: Run) -> str:
    """Return the part of the page about one command."""
    spent = Counter[str]()
    for name, seconds in run.tests.items():
        spent[room(name)] += seconds
    load = f"{run.seconds:.0f} s from start to end on {os.cpu_count()} cores"
    lines = [
        f"## `{command}`",
        "",
        f"{run.at}: {run.counts}; {load}, {sum(run.tests.values()):.0f} s in tests.",
        "",
        "| room | seconds |",
        "|---|---|",
        *(f"| {name} | {seconds:.0f} |" for name, seconds in spent.most_common(ROOMS)),
        "",
        f"The {SLOWEST} slowest, as `pytest --durations={SLOWEST}` lists them, with what prepares them:",
        "",
        "| seconds | test |",
        "|---|---|",
    ]
    slowest = sorted(run.tests.items(), key=lambda item: -item[1])[:SLOWEST]
    lines += [f"| {seconds:.1f} | `{name.replace('|', '/')}` |" for name, seconds in slowest]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Put what the runs say in the place of what the page said of them."""
    head = PAGE.read_text().split(MARK)[0]
    parts = [section(command, read(path)) for command, path in RUNS.items() if path.exists()]
    PAGE.write_text(head + MARK + "\n" + "\n".join(parts))


if __name__ == "__main__":
    main()
