"""The pages in docs/decisions: each says whether it stands and since when, and the index shows all of them."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

DECISIONS = Path(__file__).parents[2] / "docs" / "decisions"
PAGES = sorted(DECISIONS.glob("[0-9]*.md"))

_TITLE = re.compile(r"# (\d+)\. (\S.*)")
_STATUS = re.compile(r"Status: (proposed|accepted|replaced), (\d{4}-\d\d-\d\d)[.;]")
_NUMBER = re.compile(r"\b0\d{3}\b")


def title(page: Path) -> str:
    found = _TITLE.fullmatch(page.read_text().splitlines()[0])
    assert found, f"{page.name} does not begin with `# number. title`"
    assert int(found[1]) == int(page.name[:4])
    return found[2]


def status(page: Path) -> str:
    """Return the paragraph below the title, as one line."""
    return " ".join(page.read_text().split("\n\n")[1].split())


def others(page: Path, words: str) -> set[str]:
    """Return the numbers in the sentences of a page's status that say `words`."""
    sentences = re.split(r"[.;] ", status(page))
    return {number for one in sentences if re.search(words, one) for number in _NUMBER.findall(one)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_decision_says_its_status_and_since_when(page: Path) -> None:
    title(page)
    found = _STATUS.match(status(page))
    assert found, f"{page.name}: the paragraph below the title begins `Status: accepted, 2026-11-28.`"
    date.fromisoformat(found[2])


def test_no_two_decisions_have_one_number() -> None:
    numbers = [page.name[:4] for page in PAGES]
    assert sorted(set(numbers)) == numbers


def test_a_page_that_replaces_another_is_named_by_it_and_the_other_way_round() -> None:
    says = {(page.name[:4], other) for page in PAGES for other in others(page, r"^(Replaces|Amends)\b")}
    is_told = {
        (other, page.name[:4]) for page in PAGES for other in others(page, r"\b(replaced|amended) by\b")
    }
    assert says == is_told


def test_the_journal_of_reads_in_0012_is_marked_as_replaced_by_0021() -> None:
    (page,) = DECISIONS.glob("0012-*.md")
    assert "The journal of reads is replaced by 0021" in status(page)


def test_the_index_has_a_row_for_each_decision() -> None:
    rows = []
    for page in PAGES:
        found = _STATUS.match(status(page))
        assert found, page.name
        rows.append(f"| [{page.name[:4]}]({page.name}) | {title(page)} | {found[1]} | {found[2]} |")
    index = (DECISIONS / "README.md").read_text().splitlines()
    assert [line for line in index if line.startswith("| [")] == rows
