"""Each reference to a page, from the code, the tests or another page, names a page and a heading that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = (ROOT, ROOT / "docs", ROOT / "docs" / "decisions")
"""Where a page is looked for that is named by less than its whole path."""

TOP = (".ci", ".github", "bench", "docs", "examples", "src", "tests", "tools")
READ = {".py", ".md", ".sh", ".mjs", ".toml", ".yml", ".yaml", ""}

_PAGE = re.compile(r"(?<![\w/.-])(?P<page>(?:[\w.-]+/)*[\w-]+\.md)(?P<anchor>#[\w-]+)?(?![\w-])")
_DECISION = re.compile(r"\bdecisions?[ /](?P<number>\d+)\b")
_HERE = re.compile(r"\]\((?P<anchor>#[^)]+)\)")
_NOTES = re.compile(r"\b(BEHAVIOU?R|DESIGN|HOUSE|PEERS|STYLE|PERFORMANCE)\b(?!\.md)")
"""Names of notes from outside the repository; as pages (`DESIGN.md`) they are looked for like any other."""


@cache
def files() -> tuple[Path, ...]:
    """Return the text files of the repository that may refer to a page."""
    below = [path for top in TOP for path in (ROOT / top).rglob("*") if "__pycache__" not in path.parts]
    return tuple(
        path.relative_to(ROOT)
        for path in sorted([*ROOT.iterdir(), *below])
        if path.is_file() and path.suffix in READ and path != Path(__file__)
    )


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return a page's anchors as GitHub makes them of headings: lower case, `-` for a space, no punctuation."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", text, flags=re.MULTILINE):
        plain = re.sub(r"\]\([^)]*\)", "", heading)
        anchor = re.sub(r"[^\w -]", "", plain.lower()).replace(" ", "-")
        assert anchor not in found, f"{page}: two headings have the anchor #{anchor}"
        found.add(anchor)
    return frozenset(found)


def dangling(text: str, file: Path) -> Iterator[str]:
    """Yield the references of a text to pages, headings and decisions that are not there; `file` is where it stands."""
    for match in _PAGE.finditer(text):
        places = (ROOT / file.parent, *PLACES)
        page = next((place / match["page"] for place in places if (place / match["page"]).is_file()), None)
        if page is None or (match["anchor"] and match["anchor"][1:] not in anchors(page)):
            yield match[0]
    for match in _HERE.finditer(text) if file.suffix == ".md" else ():
        if match["anchor"][1:] not in anchors(ROOT / file):
            yield match["anchor"]
    for match in _DECISION.finditer(text):
        if len([*(ROOT / "docs" / "decisions").glob(f"{int(match['number']):04}-*.md")]) != 1:
            yield match[0]
    yield from (match[0] for match in _NOTES.finditer(text))


@pytest.mark.parametrize(
    "text",
    [
        "BEHAVIOUR 4.6",
        "(DESIGN, rule 4)",
        "HOUSE.md",
        "docs/absent.md",
        "docs/aws-behaviour.md#absent",
        "[there](#absent)",
        "decisions/9999",
        "decision 9999",
    ],
)
def test_a_reference_to_what_is_not_there_is_found(text: str) -> None:
    assert [*dangling(text, Path("docs/aws-behaviour.md"))] != []


@pytest.mark.parametrize(
    "text",
    [
        "docs/aws-behaviour.md#kms-keys-of-secrets",
        "[it](aws-behaviour.md#secrets-manager)",
        "[it](#secrets-manager)",
        "SECURITY.md",
        "docs/decisions/0004",
        "decision 27",
    ],
)
def test_a_reference_to_what_is_there_is_not(text: str) -> None:
    assert [*dangling(text, Path("docs/aws-behaviour.md"))] == []


def test_every_reference_names_a_page_and_a_heading_that_are_there() -> None:
    found = [f"{file}: {one}" for file in files() for one in dangling((ROOT / file).read_text(), file)]
    assert found == []
