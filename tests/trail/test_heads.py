"""Where chains end, as the store keeps it."""

from __future__ import annotations

from typing import NoReturn

import pytest
from sqlalchemy import delete, select, update
from structlog.testing import capture_logs

from turnlock.storage import Database
from turnlock.trail.chain import Link
from turnlock.trail.heads import HEAD_SECONDS, SegmentHeads, is_count, key_of_unit, save_head, trail_heads


def kept(database: Database) -> dict[str, int]:
    """Return the sequence that each chain's head names."""
    rows = database.read(lambda unit: unit.connection.execute(select(trail_heads)).mappings().all())
    return {row["writer"]: row["sequence"] for row in rows if not is_count(row)}


def test_segments_heads_are_written_once_they_have_moved_and_not_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads, ends = SegmentHeads(), {"a": Link(3, b"digest")}
    heads.watch(database.write(key_of_unit), lambda: dict(ends))
    assert heads.flush(database) == HEAD_SECONDS
    assert kept(database) == {"a": 3}
    ends |= {"a": Link(4, b"digest"), "b": Link(1, b"digest")}
    heads.flush(database)
    assert kept(database) == {"a": 4, "b": 1}

    def write(_work: object) -> NoReturn:
        pytest.fail("nothing has moved")

    monkeypatch.setattr(database, "write", write)
    assert heads.flush(database) == HEAD_SECONDS


def test_the_trails_key_has_256_bits_and_is_drawn_once(database: Database) -> None:
    key = database.write(key_of_unit)
    assert len(key) == 32
    assert database.write(key_of_unit) == key


def test_without_segments_no_head_is_written(database: Database) -> None:
    assert SegmentHeads().flush(database) == HEAD_SECONDS
    assert kept(database) == {}


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "forged"])
def test_a_chain_that_begins_where_the_count_was_tampered_with_raises_the_alarm_and_is_not_counted(
    database: Database, gone: bool
) -> None:
    key = database.write(key_of_unit)
    database.write(lambda unit: save_head(unit.connection, key, "a", Link(1, b"digest")))
    here = trail_heads.c.writer == ""
    tampered = delete(trail_heads).where(here) if gone else update(trail_heads).where(here).values(number=7)
    database.write(lambda unit: unit.connection.execute(tampered).rowcount)
    with capture_logs() as logged:
        database.write(lambda unit: save_head(unit.connection, key, "b", Link(1, b"digest")))
    assert [(line["action"], line["row"]) for line in logged] == [
        ("seal_broken", "The count of the trail's chains")
    ]
    rows = database.read(lambda unit: unit.connection.execute(select(trail_heads)).mappings().all())
    assert {row["writer"]: row["number"] for row in rows if not is_count(row)} == {"a": 1, "b": 0}
    assert [row["number"] for row in rows if is_count(row)] == ([] if gone else [7])
