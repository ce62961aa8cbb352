"""Reading the trail again: whatever is changed, cut, added or swapped by hand is found, and nothing else is told of."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from structlog.testing import capture_logs

from tests.placed import Placed
from tests.sampling import examples
from tests.support import NOON, SettableClock, StorePlace, fresh_keyring
from tests.trail.test_chain import KEY
from turnlock import accounts, kms
from turnlock.core.arn import AccountId, Region
from turnlock.core.record import TrailEntry
from turnlock.root_key_rotation import MACS, WRAPS
from turnlock.storage import Database, Unit, metadata
from turnlock.trail import SegmentHeads, SegmentWriter, TrailTable, key_context, key_of_unit, verify
from turnlock.trail.heads import trail_heads, trail_keys
from turnlock.trail.store import trail_records

ACCOUNT, REGION = AccountId("123456789012"), Region("eu-central-1")
_events = count()


def entry(text: str = "x") -> TrailEntry:
    """Return a record of its own."""
    number = next(_events)
    return TrailEntry(
        account_id=ACCOUNT,
        region=REGION,
        event_id=f"event-{number}",
        event_name="Test",
        at=NOON,
        body=f'{{"text":"{text}","n":{number}}}'.encode(),
    )


@pytest.fixture
def database(store_place: StorePlace) -> Database:
    """A store with two chains of rows of five records each."""
    opened = [store_place.open(sink=lambda name=name: TrailTable(name)) for name in ("one", "two")]  # type: ignore[misc]
    for _ in range(5):
        for node in opened:
            node.write(lambda unit: unit.record(entry()))
    return opened[0]


@pytest.fixture
def segments(database: Database, tmp_path: Path) -> Path:
    """The directory of two segments of five records, their heads in the store."""
    directory, key = tmp_path / "trail", database.write(key_of_unit)
    for name in ("a", "b"):
        writer, heads = SegmentWriter(directory, name, key), SegmentHeads()
        heads.watch(key, directory, writer.ends)
        for _ in range(5):
            writer.write([entry()])
        writer.close()
        heads.flush(database)
    return directory


def found(database: Database, directory: Path | None = None) -> list[tuple[str, int]]:
    return [(one.chain, one.sequence) for one in database.read(lambda unit: verify(unit, directory))]


def run(database: Database, *statements: Any) -> None:
    def work(unit: Unit) -> None:
        for statement in statements:
            unit.connection.execute(statement)

    database.write(work)


def at(writer: str, sequence: int) -> Any:
    return (trail_records.c.writer == writer) & (trail_records.c.sequence == sequence)


def test_a_trail_as_it_was_written_verifies(database: Database, segments: Path) -> None:
    assert found(database, segments) == []
    assert found(database) == []


def test_a_trail_that_was_taken_away_whole_is_missed(database: Database, segments: Path) -> None:
    """Records, heads, key and segments: what is left looks as if nothing had been recorded, but for its account."""
    database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    run(database, *(delete(table) for table in (trail_records, trail_heads, trail_keys)))
    for path in segments.iterdir():
        path.unlink()
    assert found(database, segments) == found(database) == [("", 0)]


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def begun(store_place: StorePlace, clock: SettableClock) -> Database:
    """A store as after its first start: its first account, the trail's key, and a record of each of two processes."""
    nodes = [store_place.open(clock=clock, sink=partial(TrailTable, name)) for name in ("one", "two")]

    def first(unit: Unit) -> None:
        key_of_unit(unit)
        accounts.create_account(unit, ACCOUNT)
        unit.record(entry())

    nodes[0].write(first)
    nodes[1].write(lambda unit: unit.record(entry()))
    clock.advance(timedelta(seconds=1))
    return nodes[0]


def recorded_anew(store_place: StorePlace, clock: SettableClock) -> Database:
    """Return another process's store, in which something was recorded."""
    node = store_place.open(clock=clock, sink=lambda: TrailTable("later"))
    node.write(lambda unit: unit.record(entry()))
    return node


def test_a_trail_that_was_taken_away_whole_and_begun_anew_is_seen(
    begun: Database, store_place: StorePlace, clock: SettableClock
) -> None:
    assert found(begun) == []
    run(begun, *(delete(table) for table in (trail_records, trail_heads, trail_keys)))
    node = recorded_anew(store_place, clock)
    (finding,) = node.read(verify)
    assert finding.words.endswith("an earlier trail was taken away")
    clock.advance(timedelta(days=1))
    node.write(lambda unit: unit.record(entry()))
    assert found(node) == [("", 0)], "for good"


def test_it_is_seen_though_the_accounts_were_away_while_the_new_key_was_drawn(
    begun: Database, store_place: StorePlace, clock: SettableClock
) -> None:
    here = metadata.tables["accounts"]
    rows = begun.read(lambda unit: [dict(row) for row in unit.connection.execute(select(here)).mappings()])
    run(begun, *(delete(table) for table in (trail_records, trail_heads, trail_keys, here)))
    node = recorded_anew(store_place, clock)
    assert found(node) == []
    run(node, insert(here).values(rows))
    assert found(node) == [("", 0)]


def test_it_is_seen_by_what_is_older_where_the_account_was_made_anew(
    begun: Database, store_place: StorePlace, clock: SettableClock
) -> None:
    run(begun, *(delete(table) for table in (trail_records, trail_heads, trail_keys)))
    run(begun, delete(metadata.tables["accounts"]))
    clock.advance(timedelta(minutes=6))
    assert found(recorded_anew(store_place, clock)) == [("", 0)], "the root user's access key is older"


def test_records_and_heads_that_were_taken_away_are_missed_though_the_key_stays(
    begun: Database, store_place: StorePlace, clock: SettableClock
) -> None:
    run(begun, delete(trail_records), delete(trail_heads))
    assert found(begun) == [("", 0)]
    with capture_logs() as logged:
        node = recorded_anew(store_place, clock)
    assert found(node) == [("", 0)]
    assert [line["action"] for line in logged] == ["seal_broken"]


def test_a_key_of_a_former_version_has_no_moment_and_verifies(
    store_place: StorePlace, clock: SettableClock
) -> None:
    sealed = store_place.keyring.wrap(KEY, context=key_context("1"))
    node = store_place.open(clock=clock)
    node.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    run(node, insert(trail_keys).values(key_id="1", sealed=sealed))
    assert node.write(key_of_unit) == KEY
    assert [one.words for one in node.read(verify)] == ["chains are missing or too many: 0 heads, 0 counted"]


def test_the_trail_of_a_store_that_was_only_started_verifies(tmp_path: Path) -> None:
    place = Placed(tmp_path / "data")
    assert found(place.application.database, tmp_path / "data" / "trail") == []
    place.close()


def test_a_store_without_a_trail_verifies(store_place: StorePlace) -> None:
    assert found(store_place.open()) == []


@pytest.mark.parametrize(
    ("forgery", "findings"),
    [
        (update(trail_records).where(at("one", 2)).values(body=b"{}"), [("one", 2)]),
        (update(trail_records).where(at("one", 2)).values(event_name="Other"), [("one", 2)]),
        (update(trail_records).where(at("one", 2)).values(region="us-east-1"), [("one", 2)]),
        (update(trail_records).where(at("one", 2)).values(digest=bytes(32)), [("one", 2)]),
        (delete(trail_records).where(at("one", 3)), [("one", 3)]),
        (delete(trail_records).where(at("one", 5)), [("one", 4)]),
        (delete(trail_records).where(at("one", 1)), [("one", 1)]),
        (delete(trail_records).where(trail_records.c.writer == "one"), []),
        (update(trail_records).where(at("one", 5)).values(sequence=9), [("one", 5)]),
        (delete(trail_heads).where(trail_heads.c.writer == "one"), [("", 0), ("one", 0)]),
        (delete(trail_heads).where(trail_heads.c.writer == ""), [("", 0)]),
        (
            update(trail_heads).where(trail_heads.c.writer == "one").values(sequence=4),
            [("one", 0), ("one", 5)],
        ),
        (delete(trail_keys), [("", 0)]),
        (update(trail_keys).values(sealed=b"x"), [("", 0)]),
    ],
)
def test_what_is_changed_is_found_where_it_is(
    database: Database, tmp_path: Path, forgery: Any, findings: list[tuple[str, int]]
) -> None:
    run(database, forgery)
    gone = [("one", 0)] if forgery.is_delete and not findings else []
    assert found(database, tmp_path) == findings + gone


def test_records_that_are_swapped_inserted_or_moved_to_another_chain_are_found(database: Database) -> None:
    rows = database.read(lambda unit: unit.connection.execute(select(trail_records)).mappings().all())
    mine = {row["sequence"]: dict(row) for row in rows if row["writer"] == "one"}
    first, second = ({"body": mine[n]["body"], "digest": mine[n]["digest"]} for n in (2, 3))
    run(
        database,
        update(trail_records).where(at("one", 2)).values(second),
        update(trail_records).where(at("one", 3)).values(first),
    )
    assert found(database) == [("one", 2)]
    run(
        database,
        update(trail_records).where(at("one", 2)).values(first),
        update(trail_records).where(at("one", 3)).values(second),
        insert(trail_records).values({**mine[5], "sequence": 6, "event_id": "added"}),
    )
    assert found(database) == [("one", 6)]
    run(database, delete(trail_records).where(at("one", 6)))
    assert found(database) == []


def test_two_chains_that_change_names_are_found(database: Database, segments: Path) -> None:
    for before, after in (("one", "x"), ("two", "one"), ("x", "two")):
        here = trail_records.c.writer == before
        run(database, update(trail_records).where(here).values(writer=after))
    (segments / "a.1.segment").rename(segments / "c.segment")
    (segments / "b.1.segment").rename(segments / "a.1.segment")
    (segments / "c.segment").rename(segments / "b.1.segment")
    assert found(database, segments) == [("one", 1), ("two", 1), ("a.1", 1), ("b.1", 1)]


def test_a_chain_that_is_gone_with_its_head_is_missed(database: Database, segments: Path) -> None:
    (segments / "a.1.segment").unlink()
    assert found(database, segments) == [("a.1", 0)]
    run(database, delete(trail_heads).where(trail_heads.c.writer == "a.1"))
    assert found(database, segments) == [("", 0)]


def test_a_segment_may_go_on_behind_its_head_but_not_end_before_it(
    database: Database, tmp_path: Path
) -> None:
    key = database.write(key_of_unit)
    writer, heads = SegmentWriter(tmp_path / "trail", "w", key), SegmentHeads()
    heads.watch(key, tmp_path / "trail", writer.ends)
    heads.flush(database)  # nothing yet: no head
    writer.write([entry(), entry()])
    heads.flush(database)
    writer.write([entry()])  # and the power goes
    assert found(database, tmp_path / "trail") == []
    path = tmp_path / "trail" / "w.1.segment"
    whole = path.read_bytes()
    lines = whole.partition(b"\0")[0].splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    assert found(database, tmp_path / "trail") == []
    path.write_bytes(b"".join(lines[:1]))
    assert found(database, tmp_path / "trail") == [("w.1", 1)]


def test_while_a_segment_grows_its_head_costs_one_commit_of_the_store(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit makes every process forget the rows that it remembers."""
    directory, key, commits = tmp_path / "trail", database.write(key_of_unit), []
    writer, heads, write = SegmentWriter(directory, "w", key), SegmentHeads(), database.write

    def counted(work: Any) -> Any:
        commits.append(work)
        return write(work)

    monkeypatch.setattr(database, "write", counted)
    heads.watch(key, directory, writer.ends)
    for _ in range(5):
        writer.write([entry()])
        heads.flush(database)
    assert len(commits) == 1
    writer.close()
    heads.flush(database)
    heads.flush(database)
    assert len(commits) == 2
    assert [path.name for path in directory.iterdir()] == ["w.1.segment"]
    assert found(database, directory) == []


def test_a_head_in_a_file_is_missed_when_it_is_gone_changed_or_another_chain_s(
    database: Database, tmp_path: Path
) -> None:
    directory, key = tmp_path / "trail", database.write(key_of_unit)
    for name in ("v", "w"):
        writer, heads = SegmentWriter(directory, name, key), SegmentHeads()
        heads.watch(key, directory, writer.ends)
        writer.write([entry()])
        heads.flush(database)
    file, other = directory / "w.1.head", directory / "v.1.head"
    whole = file.read_bytes()
    for forged in (b"", whole.replace(b"[1,", b"[0,"), whole[:-1], whole + b"0", other.read_bytes(), b"\xff"):
        file.write_bytes(forged)
        assert found(database, directory) == [("w.1", 0)]
    file.unlink()
    assert found(database, directory) == [("w.1", 0)]
    file.write_bytes(whole)
    assert found(database, directory) == []


def test_a_trail_under_another_key_is_found(database: Database, tmp_path: Path) -> None:
    """Every digest made anew, as whoever knows the formula and not the key can."""
    writer = SegmentWriter(tmp_path / "trail", "forged", KEY)
    writer.write([entry()])
    writer.close()
    assert found(database, tmp_path / "trail") == [("forged.1", 1)]


def test_the_trail_verifies_after_the_root_key_was_rotated(
    store_place: StorePlace, database: Database, segments: Path
) -> None:
    new = fresh_keyring()
    kms.rewrap(database, store_place.keyring, new, MACS, lambda _: None, wraps=WRAPS)
    kms.prove(database, new, MACS, WRAPS)
    node = store_place.open(keyring=new, sink=lambda: TrailTable("three"))
    node.write(lambda unit: unit.record(entry()))
    assert found(node, segments) == []
    assert found(database, segments) == [("", 0)]  # under the former root key


CHANGES = examples(1_000)


def test_random_changes_to_bytes_are_all_found(
    database: Database, segments: Path, store_place: StorePlace
) -> None:
    """Of records and digests in the store, and of segments; each undone before the next."""
    random_ = random.Random(29)
    for number in range(CHANGES):
        change = _in_a_segment if number % 2 else _in_a_row
        undo = change(random_, database, segments)
        assert found(database, segments), number
        undo()
    assert found(database, segments) == []


def _changed(random_: random.Random, data: bytes) -> bytes:
    place = random_.randrange(len(data))
    return data[:place] + bytes([data[place] ^ random_.randrange(1, 256)]) + data[place + 1 :]


def _in_a_segment(random_: random.Random, _database: Database, segments: Path) -> Callable[[], object]:
    path = random_.choice(sorted(segments.glob("*.segment")))
    before = path.read_bytes()
    path.write_bytes(_changed(random_, before))
    return lambda: path.write_bytes(before)


def _in_a_row(random_: random.Random, database: Database, _segments: Path) -> Callable[[], object]:
    here = at(random_.choice(["one", "two"]), random_.randrange(1, 6))
    column = random_.choice([trail_records.c.body, trail_records.c.digest])
    before = database.read(lambda unit: unit.connection.execute(select(column).where(here)).scalar_one())
    run(database, update(trail_records).where(here).values({column.name: _changed(random_, bytes(before))}))
    return lambda: run(database, update(trail_records).where(here).values({column.name: before}))
