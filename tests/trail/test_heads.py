"""Where chains end, as the store keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import delete, select, update
from structlog.testing import capture_logs

from turnlock.storage import Database
from turnlock.trail.chain import Ends, Link
from turnlock.trail.heads import (
    HEAD_SECONDS,
    SegmentHeads,
    is_count,
    key_of_unit,
    read_file,
    save_head,
    trail_heads,
)


def kept(database: Database) -> dict[str, int]:
    """Return the sequence that each chain's head names."""
    rows = database.read(lambda unit: unit.connection.execute(select(trail_heads)).mappings().all())
    return {row["writer"]: row["sequence"] for row in rows if not is_count(row)}


def test_segments_heads_are_written_once_they_have_moved_and_not_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, heads = database.write(key_of_unit), SegmentHeads()
    growing, ended = {"a": Link(3, b"digest")}, dict[str, Link]()
    heads.watch(key, tmp_path, lambda: Ends(ended=dict(ended), growing=dict(growing)))
    assert heads.flush(database) == HEAD_SECONDS
    assert kept(database) == {"a": 0}  # its head is in the file
    assert read_file(tmp_path, key, "a") == Link(3, b"digest")
    ended["a"], growing = Link(4, b"digest"), {"b": Link(1, b"digest")}
    heads.flush(database)
    assert kept(database) == {"a": 4, "b": 0}
    growing["b"] = Link(2, b"digest")

    def write(_work: object) -> NoReturn:
        pytest.fail("what has moved is in a file")

    monkeypatch.setattr(database, "write", write)
    assert heads.flush(database) == HEAD_SECONDS
    assert (read_file(tmp_path, key, "a"), read_file(tmp_path, key, "b")) == (None, Link(2, b"digest"))
    (tmp_path / "b.head").unlink()
    heads.flush(database)
    assert not (tmp_path / "b.head").exists()  # nothing has moved


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
