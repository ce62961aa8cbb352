"""Mutants: small changes of the code that some test of its room must notice. `make mutants`, or by name of an area.

Each area has files and the tests of its room. A seeded draw takes MOST of the places where a comparison, a Boolean operator, a
constant, a `not`, an `if`, a `raise`, a call or a return can be changed, and changes one. `mutants_forks.py` tries those inside functions: it
imports and collects once and forks for each mutant. What its tests do not notice, and what is changed outside of functions, is
tried in a copy of the sources by a Python of its own that imports everything anew. What noticed each mutant is kept in
`.mutants/AREA.json`, so that a run goes on where the last one ended; survivors are tried again. docs/mutants.md explains those
that stay.
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
from dataclasses import dataclass
from pathlib import Path

MOST, SEED = 60, 12
SECONDS = 300
"""How long the tests of an area may take in a Python of their own, on a machine that does other things too."""
DONE = Path(".mutants")
SOURCES = Path("src/turnlock")
ENVIRONMENT = {
    "TURNLOCK_TEST_STORES": "sqlite",
    "TURNLOCK_TEST_EXAMPLES": "few",
    "PYTHONDONTWRITEBYTECODE": "1",
}
AREAS: dict[str, tuple[list[str], list[str]]] = {
    "gate": (["shell/gate.py"], ["tests/shell/test_gate.py", "tests/shell/test_gate_nested.py", "tests/secrets/test_access.py"]),
    "evaluation": (
        ["policies/evaluation.py"],
        [
            "tests/policies/test_evaluation.py",
            "tests/policies/test_outcomes.py",
            "tests/policies/test_admits.py",
            "tests/policies/test_work.py",
            "tests/policies/test_explaining.py",
            "tests/iam/test_simulation.py",
            "tests/policies/test_naive.py",
            "tests/iam/test_mfa.py",
        ],
    ),
    "sealing": (
        ["kms/cryptography/sealing.py", "storage/sealed_rows.py", "secrets/seals.py", "secrets/values/customer_keys.py"],
        [
            "tests/storage/test_sealed_rows.py",
            "tests/kms/test_sealing.py",
            "tests/test_tampering.py",
            "tests/secrets/test_seals.py",
            "tests/secrets/test_customer_keys.py",
            "tests/secrets/test_values.py",
        ],
    ),
    "labels": (
        ["secrets/labels/store.py", "secrets/labels/clean_up.py", "secrets/model.py"],
        [
            "tests/secrets/test_model.py",
            "tests/secrets/test_stages.py",
            "tests/secrets/test_clean_up.py",
            "tests/secrets/test_listing.py",
            "tests/secrets/test_batch.py",
        ],
    ),
    "schedules": (["rotation/plan/schedule.py"], ["tests/rotation/test_schedule.py"]),
    "plan": (["rotation/plan/machine.py"], ["tests/rotation/test_plan.py", "tests/rotation/test_plan_faults.py"]),
    "trail": (["trail/chain.py", "trail/heads.py", "trail/verifying.py"], ["tests/trail/test_verifying.py", "tests/trail/test_chain.py", "tests/trail/test_heads.py", "tests/storage/test_migrations.py::test_fresh_schema_and_declared_schema_are_the_same"]),
}  # fmt: skip

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a node can be changed into."""
    if isinstance(node, ast.stmt):
        yield from _changed_statement(node)
    elif isinstance(node, ast.Compare):
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


def _changed_statement(node: ast.stmt) -> Iterator[ast.stmt]:
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()
    elif isinstance(node, ast.If) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Call | ast.Compare | ast.BoolOp):
        yield ast.Return(ast.Constant(None))


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file."""

    words: str
    """Where it is, what stood there and what stands there now; names it in the results."""
    file: str
    """Relative to the sources."""
    text: str
    """The whole changed file."""
    tree: ast.Module
    """The same with the places of the file as it is, so that functions can be told by their lines."""
    function: int | None
    """The first line of the innermost function whose body is changed; None outside of functions."""


Place = tuple[ast.AST, str, int | None, ast.AST, int | None]
"""A parent, its field, the index where that is a list, the child, and the first line of the function around it."""


def places_of(parent: ast.AST, function: int | None = None) -> Iterator[Place]:
    """Yield every place of a tree where something may be changed: neither types nor decorators."""
    for name, value in ast.iter_fields(parent):
        if name in {"returns", "annotation", "decorator_list"}:
            continue
        around = function
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef) and name == "body":
            around = min(node.lineno for node in [parent, *parent.decorator_list])
        for index, node in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(node, ast.AST):
                yield parent, name, index if isinstance(value, list) else None, node, around
                yield from places_of(node, around)


def draw(files: list[str], most: int, only: str) -> tuple[list[Mutant], int]:
    """Return the mutants that the seed picks of those whose words have `only` in them, and how many of these there are."""
    every = [(file, place, other) for file in files for place, other in _changes(file)]
    if only:
        every = [one for one in every if only in _mutant(*one).words]
    picked = random.Random(SEED).sample(range(len(every)), min(most, len(every)))  # noqa: S311 (a draw, not a secret)
    return [_mutant(*every[number]) for number in picked], len(every)


def _changes(file: str) -> Iterator[tuple[int, int]]:
    tree = ast.parse((SOURCES / file).read_text(encoding="utf-8"))
    for number, (_, _, _, node, _) in enumerate(places_of(tree)):
        yield from ((number, other) for other, _ in enumerate(changed(node)))


def _mutant(file: str, number: int, other: int) -> Mutant:
    tree = ast.parse((SOURCES / file).read_text(encoding="utf-8"))
    parent, name, index, node, function = list(places_of(tree))[number]
    instead = ast.copy_location(list(changed(node))[other], node)
    where = f"{file}:{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"
    words = f"{where} {_first_line(node)} -> {_first_line(instead)}"
    if index is None:
        setattr(parent, name, instead)
    else:
        getattr(parent, name)[index] = instead
    ast.fix_missing_locations(tree)
    return Mutant(words, file, ast.unparse(tree), tree, function)


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).partition("\n")[0]


class Results:
    """What noticed each mutant of an area: a test, `time` where it did not end, nothing where it survives."""

    def __init__(self, area: str) -> None:
        self._path = DONE / f"{area}.json"
        self.noticed: dict[str, str] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def keep(self, mutant: Mutant, by: str) -> None:
        """Keep what came of a mutant, and say so."""
        self.noticed[mutant.words] = by
        DONE.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(self.noticed, indent=1))
        print(f"  {by or 'SURVIVES'}: {mutant.words}", flush=True)


def noticed_by_a_new_python(copy: Path, mutant: Mutant, tests: list[str]) -> str:
    """Return the test that notices a mutant when everything is imported anew; `time` when the tests do not end."""
    path = copy / "turnlock" / mutant.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(mutant.text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-rfE",
        "-p",
        "no:cacheprovider",
        "--tb=no",
        *tests,
    ]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(copy)}
    try:
        ended = subprocess.run(  # noqa: S603
            command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "time"
    finally:
        path.write_text(whole, encoding="utf-8")
    if ended.returncode == 0:
        return ""
    named = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return named[0] if named else "the tests cannot be imported"


def try_area(area: str, copy: Path, most: int, only: str) -> None:
    """Try the mutants of an area that no test is known to notice, and print what came of it."""
    files, tests = AREAS[area]
    drawn, of = draw(files, most, only)
    results = Results(area)
    left = [mutant for mutant in drawn if not results.noticed.get(mutant.words)]
    print(f"{area}: {len(left)} to try", flush=True)
    if any(mutant.function for mutant in left):
        command = [sys.executable, str(Path(__file__).with_name("mutants_forks.py")), area, str(most), only]
        subprocess.run(command, env={**os.environ, **ENVIRONMENT}, check=True)  # noqa: S603
    results = Results(area)
    for mutant in left:
        if not results.noticed.get(mutant.words):
            results.keep(mutant, noticed_by_a_new_python(copy, mutant, tests))
    survivors = [mutant.words for mutant in drawn if not results.noticed[mutant.words]]
    print(f"{area}: {len(drawn) - len(survivors)} of {len(drawn)} noticed, of {of} that there are")
    for words in sorted(survivors):
        print(f"  survives: {words}")


def main() -> int:
    """Run the areas that are named, or all; return 0 whatever survives: survivors are for readers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("areas", nargs="*", default=[])
    parser.add_argument("--most", type=int, default=MOST)
    parser.add_argument("--only", default="", help="of the mutants whose words have this text in them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        shutil.copytree(SOURCES, copy / "turnlock", ignore=shutil.ignore_patterns("__pycache__"))
        for area in options.areas or AREAS:
            try_area(area, copy, options.most, options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
