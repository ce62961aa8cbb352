"""The full matrices of `make proof`: which cases are still to be run, and a line for each one that passed.

TURNLOCK_PROOF=full asks for everything. A case that passed is a JSON object on a line of its own in `build/proofs.jsonl`
(or the file that TURNLOCK_PROOF_FILE names), with the commit: run again on the same commit, what has passed is left out,
unless files differ from the commit: then everything is run. `docs/proofs.md` is written from these lines.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

C = TypeVar("C")

ROOT = Path(__file__).parents[1]
FULL = os.environ.get("TURNLOCK_PROOF") == "full"
RESULTS = Path(os.environ.get("TURNLOCK_PROOF_FILE", ROOT / "build" / "proofs.jsonl"))
SEED = int(os.environ.get("TURNLOCK_PROOF_SEED", "20261123"))
"""What the sample is drawn with, and every random delay of a case."""


def chosen(suite: str, cases: Sequence[C], sample: int) -> list[C]:
    """Return the cases to run, each known by its `str`: a sample, or in the proof all that have not passed yet."""
    if FULL:
        return [case for case in cases if (suite, str(case)) not in _passed()]
    return random.Random(f"{SEED} {cases[0]}").sample(cases, min(sample, len(cases)))


def record(suite: str, case: object, **figures: Any) -> None:
    """Show the figures of a case that passed; in the proof, keep them."""
    print(f"{suite} {case}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    if not FULL:
        return
    at = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"suite": suite, "case": str(case), "commit": _commit(), "at": at, "seed": SEED, **figures}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")


@cache
def _passed() -> frozenset[tuple[str, str]]:
    if not RESULTS.exists() or _commit().endswith("-dirty"):
        return frozenset()
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    return frozenset((line["suite"], line["case"]) for line in lines if line["commit"] == _commit())


@cache
def _commit() -> str:
    """Return the commit, marked where the tree differs from it."""
    words = ("git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty")
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
