"""What the pages say of the code: each path table names at most eight hops, and symbols and files that are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "turnlock"
PATHS = ("request-path.md", "rotation-path.md")
MOST_HOPS = 8

_CODE = re.compile(r"`([^`]+)`")
_SYMBOL = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def hops(page: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (number, symbols, files) for each row of a page's first table."""
    for line in (ROOT / "docs" / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and cells[0].isdigit():
            yield cells[0], _CODE.findall(cells[2]), _CODE.findall(cells[3])


@cache
def defined_in(file: str) -> frozenset[str]:
    """Return the names of a file's functions, classes and methods, with and without the class."""
    found = set()
    for node in ast.walk(ast.parse((SOURCE / file).read_text())):
        if isinstance(node, ast.ClassDef):
            inner = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {f"{node.name}.{one.name}" for one in inner}
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return frozenset(found)


@pytest.mark.parametrize("page", PATHS)
def test_a_path_has_at_most_eight_hops(page: str) -> None:
    assert [number for number, _, _ in hops(page)] == [
        str(number + 1) for number in range(len([*hops(page)]))
    ]
    assert 0 < len([*hops(page)]) <= MOST_HOPS


@pytest.mark.parametrize("page", PATHS)
def test_each_symbol_of_a_path_is_in_a_file_of_its_row(page: str) -> None:
    missing = [
        f"{number}: {symbol}"
        for number, symbols, files in hops(page)
        for symbol in symbols
        if _SYMBOL.fullmatch(symbol) and not any(symbol in defined_in(file) for file in files)
    ]
    assert missing == []


PAGES = sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_and_pages_that_a_page_names_are_there(page: Path) -> None:
    text = (ROOT / page).read_text()
    files = {name for name in _CODE.findall(text) if re.fullmatch(r"[\w/]+/[\w/]+\.(py|mjs|sh|md)", name)}
    places = (ROOT, SOURCE, ROOT / "docs")
    missing = {name for name in files if not any((place / name).exists() for place in places)}
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing |= {link for link in links if not ((ROOT / page).parent / link).exists()}
    assert missing == set()


def test_the_table_of_rooms_names_each_room_once() -> None:
    table = (ROOT / "docs" / "architecture.md").read_text().partition("\n## Rules")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    named = [name for row in rows for name in _CODE.findall(row)]
    rooms = {
        path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert sorted(named) == sorted(room for room in rooms if not room.startswith("__"))
