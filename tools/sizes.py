"""The size report: every file and function of the product against the budget; a number over its hard cap fails.

The budget is for readers: a file that one can hold in one's head, a function that fits one screen. A file may name itself in
TABLES with the reason why it is long.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FILE_CAP, FILE_HARD_CAP, FUNCTION_CAP, FUNCTION_MEDIAN = 400, 600, 60, 9

TABLES = {
    "src/turnlock/storage/migrations/versions/0001_tables.py": "a table of tables",
}


def functions_of(path: Path) -> list[tuple[int, str]]:
    """Return (length in lines, place) of every function in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{path}:{node.lineno} {node.name}")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def main() -> int:
    """Print the report; return 1 when something is over a cap."""
    paths = sorted(Path("src/turnlock").rglob("*.py"))
    files = [(len(path.read_text(encoding="utf-8").splitlines()), str(path)) for path in paths]
    functions = [row for path in paths for row in functions_of(path)]
    lengths = sorted(length for length, _ in functions)
    median = lengths[len(lengths) // 2]
    print(
        f"{len(files)} files, median {sorted(files)[len(files) // 2][0]} lines;"
        f" {len(functions)} functions, median {median}, p90 {lengths[int(len(lengths) * 0.9)]}"
    )
    over = [
        f"{place}: {length} lines" for length, place in files if length > FILE_CAP and place not in TABLES
    ]
    long = [
        f"{place}: {length} lines"
        for length, place in functions
        if length > FUNCTION_CAP and "0001_" not in place
    ]
    for line in over + long:
        print(f"over the budget: {line}")
    failed = bool(long) or median > FUNCTION_MEDIAN or any(length > FILE_HARD_CAP for length, _ in files)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
