"""Mutants: small changes of the code that some test of its room must notice. `make mutants`, or by name of an area.

Each area has files and the tests of its room. A seeded draw takes MOST of the places where a comparison, a Boolean operator, a
constant, a `not` or a return can be changed, changes one in a copy of the sources, and runs the tests against the copy until the
first failure, at most SECONDS long. What came of each is kept in `.mutants.json`, so that a run goes on where the last one ended.
Survivors and the share that was noticed are printed; docs/mutants.md explains those that stay.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

MOST, SECONDS, SEED = 60, 120, 12
DONE = Path(".mutants.json")
SOURCES = Path("src")
AREAS: dict[str, tuple[list[str], list[str]]] = {
    "gate": (["gate.py"], ["tests/test_gate.py", "tests/test_gate_nested.py"]),
    "evaluation": (
        ["identity/evaluation.py"],
        ["tests/identity/test_evaluation.py", "tests/identity/test_naive.py", "tests/identity/iam/test_mfa.py"],
    ),
    "sealing": (
        ["keys/sealing.py", "storage/sealed_rows.py", "secrets/seals.py", "secrets/customer_keys.py"],
        [
            "tests/storage/test_sealed_rows.py",
            "tests/keys/test_sealing.py",
            "tests/test_tampering.py",
            "tests/secrets/test_seals.py",
            "tests/secrets/test_customer_keys.py",
        ],
    ),
    "labels": (
        ["secrets/labels.py", "secrets/clean_up.py"],
        [
            "tests/secrets/test_stages.py",
            "tests/secrets/test_clean_up.py",
            "tests/secrets/test_listing.py",
            "tests/secrets/test_batch.py",
        ],
    ),
    "schedules": (["rotation/schedule.py"], ["tests/rotation/test_schedule.py"]),
    "plan": (["rotation/model.py"], ["tests/rotation/test_plan.py", "tests/rotation/test_plan_faults.py"]),
    "trail": (["trail/chain.py", "trail/heads.py", "trail/verifying.py"], ["tests/trail/test_verifying.py", "tests/trail/test_chain.py"]),
}  # fmt: skip

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a node can be changed into."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = deepcopy(node)
            other.ops[place] = _COMPARISONS[type(operator)]()
            yield other
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(op=ast.Or() if isinstance(node.op, ast.And) else ast.And(), values=node.values)
        yield from (one for one in (node.values[0], node.values[-1]))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Call | ast.Compare | ast.BoolOp):
        yield ast.Return(ast.Constant(None))


def mutants_of(path: Path) -> list[tuple[str, str]]:
    """Return (what was changed, the changed text) for each mutant of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            for place, node in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(node, ast.AST) or name in {"returns", "annotation", "decorator_list"}:
                    continue
                before = ast.unparse(node)
                for other in changed(node):
                    _put(parent, name, place, value, other)
                    line = f"{path.name}:{getattr(node, 'lineno', 0)}"
                    found.append((f"{line} {before} -> {ast.unparse(other)}", ast.unparse(tree)))
                    _put(parent, name, place, value, node)
    return found


def _put(parent: ast.AST, name: str, place: int, value: object, node: ast.AST) -> None:
    if isinstance(value, list):
        value[place] = node
    else:
        setattr(parent, name, node)


def killed(copy: Path, file: str, text: str, tests: list[str]) -> bool:
    """Tell whether a test notices a mutant; one that does not end in time is noticed too."""
    path = copy / "turnlock" / file
    whole = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy), "TURNLOCK_TEST_STORES": "sqlite", "TURNLOCK_TEST_EXAMPLES": "few", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", *tests]
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(whole, encoding="utf-8")
    return ended.returncode != 0


def main() -> int:
    """Run the areas that are named, or all; return 0 whatever survives: survivors are for readers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("areas", nargs="*", default=[])
    parser.add_argument("--most", type=int, default=MOST)
    options = parser.parse_args()
    done: dict[str, bool] = json.loads(DONE.read_text()) if DONE.exists() else {}
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        shutil.copytree(SOURCES / "turnlock", copy / "turnlock", ignore=shutil.ignore_patterns("__pycache__"))
        for area in options.areas or AREAS:
            files, tests = AREAS[area]
            drawn = [(file, *one) for file in files for one in mutants_of(SOURCES / "turnlock" / file)]
            random.Random(SEED).shuffle(drawn)  # noqa: S311 (a draw, not a secret)
            outcomes = {}
            for file, words, text in drawn[: options.most]:
                if not done.get(words, False):  # a survivor is tried again: tests were added since
                    done[words] = killed(copy, file, text, tests)
                    DONE.write_text(json.dumps(done, indent=1))
                outcomes[words] = done[words]
            print(
                f"{area}: {sum(outcomes.values())} of {len(outcomes)} noticed, of {len(drawn)} that there are"
            )
            for words in sorted(words for words, noticed in outcomes.items() if not noticed):
                print(f"  survives: {words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
