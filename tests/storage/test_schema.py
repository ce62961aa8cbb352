"""What the tables of both stores have in common."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table, create_engine, select, text

from turnlock.storage import among, many

PEOPLE = Table(
    "people",
    MetaData(),
    Column("town", String(9), primary_key=True),
    Column("name", String(9), primary_key=True),
)


def test_one_of_many_is_found_by_the_index_on_sqlite() -> None:
    engine = create_engine("sqlite://")
    query = select(PEOPLE.c.name).where(
        PEOPLE.c.town == "Ulm",
        among(PEOPLE.c.name, text(":names").bindparams(names=many("sqlite", ["a", "b"]))),
    )
    with engine.connect() as connection:
        PEOPLE.create(connection)
        connection.execute(
            PEOPLE.insert(), [{"town": town, "name": name} for town in ("Ulm", "Bonn") for name in "abc"]
        )
        assert sorted(connection.execute(query).scalars()) == ["a", "b"]
        compiled = query.compile(engine, compile_kwargs={"render_postcompile": True})
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", ("Ulm", '["a","b"]')).all()
    assert any("(town=? AND name=?)" in str(row) for row in plan), plan
