"""Hot queries answer as the same statement through SQLAlchemy Core does, on each store."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, or_, select, text
from sqlalchemy.exc import DBAPIError

from tests.storage.notes import notes, put
from turnlock.storage import Database, HotQuery, Unit, among, many

STATEMENT = (
    select(notes.c.name, notes.c.value, notes.c.after)
    .where(
        or_(notes.c.name == bindparam("name"), notes.c.value > bindparam("least")),
        # The same name twice, and a literal beside the parameters.
        notes.c.name != bindparam("name") + "%",
        notes.c.value < 1_000,
    )
    .order_by(notes.c.name)
)
HOT = HotQuery(STATEMENT)
ONE_OF_MANY = HotQuery(select(notes.c.name).where(among(notes.c.name, bindparam("names"))))


class NextExampleStartsFromNothing(Exception):
    """Undoes an example's unit."""


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    least=st.integers(-5, 5),
)
def test_a_hot_query_answers_as_the_core_does(store: Database, name: str, least: int) -> None:
    def work(unit: Unit) -> None:
        for value in range(-3, 4):
            put(f"{value}", value)(unit)
        put(f"given {name}", 7)(unit)
        for wanted in (name, "2", f"given {name}"):
            parameters = {"name": wanted, "least": least}
            core = [tuple(row) for row in unit.connection.execute(STATEMENT, parameters)]
            assert [tuple(row) for row in HOT.rows(unit, parameters)] == core
        raise NextExampleStartsFromNothing

    with pytest.raises(NextExampleStartsFromNothing):
        store.write(work)


def test_what_is_wrong_with_a_hot_query_comes_as_sqlalchemys_error_without_its_parameters(
    store: Database,
) -> None:
    broken = HotQuery(select(text("no_such_column")).where(notes.c.name == bindparam("name")))
    with pytest.raises(DBAPIError) as caught:
        store.read(lambda unit: broken.rows(unit, {"name": "a secret word"}))
    assert "secret word" not in str(caught.value)
    assert caught.value.orig is not None


def test_parameters_are_told_apart_by_name_whatever_their_order(store: Database) -> None:
    """What a read remembers of one question must not answer another whose values are the same in another order."""
    pair = HotQuery(
        select(notes.c.name).where(notes.c.value == bindparam("value"), notes.c.name == bindparam("name"))
    )
    store.write(put("one", 1))

    def work(unit: Unit) -> list[list[str]]:
        asked: list[dict[str, object]] = [
            {"name": "one", "value": 1},
            {"value": 1, "name": "one"},
        ]
        return [[row[0] for row in pair.rows(unit, parameters)] for parameters in asked]

    assert store.read(work) == [["one"], ["one"]]
    twice = HotQuery(
        select(notes.c.name).where(notes.c.name >= bindparam("least"), notes.c.name < bindparam("below"))
    )

    def crossed(unit: Unit) -> list[int]:
        return [
            len(twice.rows(unit, {"least": "a", "below": "z"})),
            len(twice.rows(unit, {"below": "a", "least": "z"})),
        ]

    assert [store.read(crossed) for _ in range(2)] == [[1, 0], [1, 0]]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    wanted=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8))
)
def test_one_of_many_is_what_in_says_whatever_the_texts(store: Database, wanted: list[str]) -> None:
    def work(unit: Unit) -> None:
        for name in {*wanted[::2], "another", '"', "\\", "{a,b}"}:
            put(name, 1)(unit)
        core = unit.connection.execute(select(notes.c.name).where(notes.c.name.in_(wanted))).scalars()
        found = ONE_OF_MANY.rows(unit, {"names": many(unit.dialect, wanted)})
        assert sorted(name for (name,) in found) == sorted(core)
        raise NextExampleStartsFromNothing

    with pytest.raises(NextExampleStartsFromNothing):
        store.write(work)


def test_what_is_asked_afresh_is_not_kept(store: Database) -> None:
    store.write(put("one", 1))

    def kept(unit: Unit) -> int:
        ONE_OF_MANY.fresh(unit, {"names": many(unit.dialect, ["one"])})
        return 0 if unit.remembered is None else len(unit.remembered._rows)

    assert [store.read(kept) for _ in range(2)] == [0, 0]
