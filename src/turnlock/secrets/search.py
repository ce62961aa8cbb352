"""One page of a list of secrets, in any order, whatever is looked for, without reading them all.

    1. Where a filter's terms are had by few secrets, these few are read: by `secret_terms`, term first.
    2. Otherwise the list is walked in its order, and each secret judged by its text of terms. A page ends after SCAN secrets,
       also when it is short or empty then: like AWS's, it has a next page (API reference, ListSecrets, "NextToken").
    3. The store only narrows. What is listed is what `filters` says of each secret that was found.

(3) makes it harmless when not every term of a question is asked of the store. What is never left to it is to keep a secret
out that matches: a condition must be one that follows from the filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
    tuple_,
    type_coerce,
)

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.model import Secret
from turnlock.secrets.store import secret_of
from turnlock.secrets.tables import SECRET_COLUMNS, secret_terms, secrets
from turnlock.secrets.terms import Question, Term, question_of
from turnlock.storage import HotQuery, Unit, micros
from turnlock.storage.schema import position_in

SCAN: Final = 4_000
"""Secrets walked past for one page."""

FEW: Final = 1_000
"""Secrets read by their terms: beyond it, walking finds a page as soon."""

MOST_TERMS: Final = 12
"""Terms asked of the store for one page: each costs something for each secret that is walked past."""

_SORT: Final = {
    "name": secrets.c.name,
    "created-date": secrets.c.created_at,
    "last-changed-date": secrets.c.last_changed_at,
    "last-accessed-date": secrets.c.last_accessed_at,
}
_FIELDS: Final = tuple(type_coerce(c, BigInteger) if c.name.endswith("_at") else c for c in SECRET_COLUMNS)


class Position(msgspec.Struct, array_like=True):
    """Where a page ended: the last secret's sort value (microseconds; None where it has none) and name.

    Without a name it stands before all secrets that have no sort value.
    """

    value: int | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The order of a list; what has no sort value comes last in either direction."""

    by: str
    """A SortBy of ListSecrets."""
    ascending: bool

    def position(self, secret: Secret) -> Position:
        """Return where a list stands behind a secret."""
        at = {
            "created-date": secret.created_at,
            "last-changed-date": secret.last_changed_at,
            "last-accessed-date": secret.last_accessed_at,
        }.get(self.by)
        return Position(None if at is None else micros(at), secret.name)


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
    """Return at most `size` secrets behind a position, without labels, and where the next page begins (None: nowhere).

    All that `filters` would list are among them; those are for the caller to choose.
    """
    questions = _within_limit([question_of(one) for one in search.filters])
    few = _few(unit, search, questions)
    conditions = [*_conditions(questions)]
    if not search.planned_deletion:
        conditions.append(secrets.c.deleted_at.is_(None))
    found: list[Secret] = []
    for segment in _segments(search.order, position):
        walk = _Walk(unit=unit, search=search, segment=segment)
        rows, end = walk.rows(conditions, few, limit=size + 1 - len(found))
        found += rows
        if len(found) > size:
            return found[:size], search.order.position(found[size - 1])
        if end is not None:
            return found, end
    return found, None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """A run of the list that one index has in order."""

    columns: tuple[ColumnElement[Any], ...]
    """What it is ordered by."""
    within: tuple[ColumnElement[bool], ...]
    after: tuple[Any, ...] | None
    """Values of `columns` behind which it begins."""
    ascending: bool


def _segments(order: Order, position: Position | None) -> Iterator[_Segment]:
    column, name = _SORT[order.by], secrets.c.name
    if column is name:
        after = None if position is None else (position.name,)
        yield _Segment(columns=(name,), within=(), after=after, ascending=order.ascending)
        return
    raw = type_coerce(column, BigInteger)
    nullable = bool(column.nullable)
    if position is None or position.value is not None:
        yield _Segment(
            columns=(raw, name),
            within=(column.is_not(None),) if nullable else (),
            after=None if position is None else (position.value, position.name),
            ascending=order.ascending,
        )
        position = None
    if nullable:
        after = None if position is None or position.name is None else (position.name,)
        yield _Segment(columns=(name,), within=(column.is_(None),), after=after, ascending=order.ascending)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """Reading one segment."""

    unit: Unit
    search: Search
    segment: _Segment

    def rows(
        self, conditions: Sequence[ColumnElement[bool]], few: Select[Any] | None, *, limit: int
    ) -> tuple[list[Secret], Position | None]:
        """Return secrets of the segment, and where the walk was broken off, None at the segment's end."""
        statement = self._ordered(select(*_FIELDS), sort=few is not None)
        end = None
        if few is not None:
            statement = statement.where(secrets.c.name.in_(few))
        elif conditions:
            end = self._end()
            if end is not None:
                statement = statement.where(self._compared(end, up_to=True))
        found = self.unit.connection.execute(statement.where(*conditions).limit(limit))
        position = None if end is None else Position(end[0] if len(end) == 2 else None, end[-1])
        return [secret_of(tuple(row)) for row in found], position

    def _end(self) -> tuple[Any, ...] | None:
        """Return the sort values of the SCANth secret from here; None when there are fewer."""
        row = self.unit.connection.execute(
            self._ordered(select(*self.segment.columns)).limit(1).offset(SCAN - 1)
        ).first()
        return None if row is None else tuple(row)

    def _ordered(self, statement: Select[Any], *, sort: bool = False) -> Select[Any]:
        """Return the statement on this segment, in its order.

        With `sort` no index has that order: a planner must not walk the whole list for the few that are wanted.
        """
        segment = self.segment
        statement = statement.where(
            secrets.c.account_id == self.search.account_id,
            secrets.c.region == self.search.region,
            *segment.within,
        )
        if segment.after is not None:
            statement = statement.where(self._compared(segment.after, up_to=False))
        order = [func.coalesce(c, c) if sort else c for c in segment.columns]
        return statement.order_by(*(c if segment.ascending else c.desc() for c in order))

    def _compared(self, values: tuple[Any, ...], *, up_to: bool) -> ColumnElement[bool]:
        """Return the condition of lying behind `values`, or with `up_to` of lying before or at them."""
        columns, ends = tuple_(*self.segment.columns), tuple_(*values)
        if up_to:
            return columns <= ends if self.segment.ascending else columns >= ends
        return columns > ends if self.segment.ascending else columns < ends


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
    """Return a selection of the names that can match, where a question says that they are few; None otherwise."""
    best: list[Term] = []
    fewest = FEW + 1
    for question in questions:
        rarest = [min((_count(unit, search, term), term) for term in asked) for asked in question.wanted]
        count = sum(number for number, _ in rarest)
        if rarest and count < fewest:
            best, fewest = [term for _, term in rarest], count
    return _names(search, best) if best else None


_columns = secret_terms.c
_WITHIN: Final = (
    *(_columns[name] == bindparam(name) for name in ("account_id", "region", "kind")),
    _columns.term >= bindparam("first"),
    _columns.term < bindparam("end"),
)
_COUNT: Final = HotQuery(
    select(func.count()).select_from(select(_columns.name).where(*_WITHIN).limit(FEW + 1).subquery())
)


def _count(unit: Unit, search: Search, term: Term) -> int:
    """Return how many terms begin so, FEW + 1 for more."""
    return int(_COUNT.rows(unit, _range(search, term))[0][0]) if term.text else FEW + 1


def _names(search: Search, terms: Sequence[Term]) -> Select[Any]:
    ranges = [_range(search, term) for term in terms]
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


def _range(search: Search, term: Term) -> dict[str, object]:
    """Return the parameters for all terms that begin so.

    A filter's value is ASCII without DEL: there is a next character, and what begins so lies before it.
    """
    return {
        "account_id": search.account_id,
        "region": search.region,
        "kind": term.kind,
        "first": term.text,
        "end": term.text[:-1] + chr(ord(term.text[-1]) + 1),
    }
