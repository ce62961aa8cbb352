"""One page of a list of secrets, in any order and with any filters, without reading all secrets.

    1. Where few secrets have a filter's terms, these are read, by `secret_terms`.
    2. Otherwise the list is read in its order and each secret is tested by its text of terms. A page ends after SCAN secrets, even
       if it is short or empty. It then has a next page, as at AWS (API reference, ListSecrets, "NextToken").
    3. The store only narrows. `filters` decides for each secret found whether it is listed.

Because of (3) not every term has to be passed to the store. But a condition that is passed must follow from the filter:
the store must not leave out a secret that matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
)

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.listing.terms import Question, Term, question_of
from turnlock.secrets.listing.walk import Order, Position, Walk, keep_to_indexes, segments
from turnlock.secrets.model import Secret
from turnlock.secrets.tables import secret_terms, secrets
from turnlock.storage import HotQuery, Unit
from turnlock.storage.schema import position_in

FEW: Final = 1_000
"""The most secrets that are read by their terms; with more, reading in order is as fast."""

MOST_TERMS: Final = 12
"""Terms in one page's query; each is tested against every secret that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is to be listed."""

    account_id: AccountId
    region: Region
    filters: Sequence[Mapping[str, Any]]
    """Well-formed filters of ListSecrets."""
    planned_deletion: bool
    """Whether to list what is scheduled for deletion too."""
    order: Order


def find_page(
    unit: Unit, search: Search, position: Position | None, size: int
) -> tuple[list[Secret], Position | None]:
    """Return at most `size` secrets after a position, without labels, and where the next page begins (None: no more).

    They include all that `filters` would list; the caller applies `filters`.
    """
    keep_to_indexes(unit)
    questions = _within_limit([question_of(one) for one in search.filters])
    few = _few(unit, search, questions)
    conditions = [*_conditions(questions)]
    if not search.planned_deletion:
        conditions.append(secrets.c.deleted_at.is_(None))
    found: list[Secret] = []
    for segment in segments(search.order, position):
        walk = Walk(unit=unit, account_id=search.account_id, region=search.region, segment=segment)
        rows, end = walk.rows(conditions, few, limit=size + 1 - len(found))
        found += rows
        if len(found) > size:
            return found[:size], search.order.position(found[size - 1])
        if end is not None:
            return found, end
    return found, None


def _within_limit(questions: Sequence[Question]) -> list[Question]:
    """Return the questions that together ask for at most MOST_TERMS terms; the others are left to `filters`."""
    kept: list[Question] = []
    count = 0
    for question in questions:
        asked = sum(map(len, (*question.wanted, *question.unwanted)))
        if asked and count + asked <= MOST_TERMS:
            kept.append(question)
            count += asked
    return kept


def _conditions(questions: Sequence[Question]) -> Iterator[ColumnElement[bool]]:
    for question in questions:
        if question.wanted:
            yield or_(*map(_holds_all, question.wanted))
        for alternative in question.unwanted:
            yield not_(_holds_all(alternative))


def _holds_all(terms: Sequence[Term]) -> ColumnElement[bool]:
    return and_(*(position_in(secrets.c.terms, term.mark) > 0 for term in terms))


def _few(unit: Unit, search: Search, questions: Sequence[Question]) -> Select[Any] | None:
    """Return a query for the names that can match, where few can; None otherwise."""
    counts = _counts(unit, search, [term for question in questions for term in chain(*question.wanted)])
    best: list[Term] = []
    fewest = FEW + 1
    for question in questions:
        rarest = [min((counts[term], term) for term in asked) for asked in question.wanted]
        count = sum(number for number, _ in rarest)
        if rarest and count < fewest:
            best, fewest = [term for _, term in rarest], count
    return _names(search, best) if best else None


def _counts(unit: Unit, search: Search, terms: Sequence[Term]) -> dict[Term, int]:
    """Return for each beginning how many terms have it, FEW + 1 for more; one query for all."""
    asked = [term for term in dict.fromkeys(terms) if term.text]
    if not asked:
        return dict.fromkeys(terms, FEW + 1)
    parameters: dict[str, object] = {"account_id": search.account_id, "region": search.region}
    for number, term in enumerate(asked):
        parameters |= {f"{name}_{number}": value for name, value in _range(term).items()}
    found = _counting(len(asked)).rows(unit, parameters)[0]
    return {**dict.fromkeys(terms, FEW + 1), **dict(zip(asked, found, strict=True))}


_columns = secret_terms.c


@cache
def _counting(terms: int) -> HotQuery:
    """Return the query that counts for so many terms, at most MOST_TERMS of them."""
    columns: list[Any] = [_counted(number) for number in range(terms)]
    return HotQuery(select(*columns))


def _counted(number: int) -> ScalarSelect[int]:
    found = select(_columns.name).where(
        _columns.account_id == bindparam("account_id"),
        _columns.region == bindparam("region"),
        _columns.kind == bindparam(f"kind_{number}"),
        _columns.term >= bindparam(f"first_{number}"),
        _columns.term < bindparam(f"end_{number}"),
    )
    return select(func.count()).select_from(found.limit(FEW + 1).subquery()).scalar_subquery()


def _names(search: Search, terms: Sequence[Term]) -> Select[Any]:
    ranges = [_range(term) for term in terms]
    return select(_columns.name).where(
        _columns.account_id == search.account_id,
        _columns.region == search.region,
        or_(
            *(
                and_(_columns.kind == one["kind"], _columns.term >= one["first"], _columns.term < one["end"])
                for one in ranges
            )
        ),
    )


def _range(term: Term) -> dict[str, object]:
    """Return the bounds of all terms with this beginning.

    A filter's value is ASCII without DEL, so each character has a successor, which gives the upper bound.
    """
    return {
        "kind": term.kind,
        "first": term.text,
        "end": term.text[:-1] + chr(ord(term.text[-1]) + 1),
    }
