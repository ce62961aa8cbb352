"""The chain: whoever walks it again finds every edit, swap, gap and foreign record."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from turnlock.trail import Chain
from turnlock.trail.chain import Link

KEY = bytes(range(32))
BODIES = st.lists(st.binary(max_size=20), min_size=1, max_size=12)


def holds(writer: str, records: Sequence[tuple[Link, bytes]], key: bytes = KEY) -> bool:
    """Walk a chain from its start: the naive second implementation of the formula that the module states."""
    digest = hmac.digest(key, b"turnlock-trail-2" + b"\0" + writer.encode(), "sha256")
    for place, (link, body) in enumerate(records, start=1):
        digest = hmac.digest(key, digest + body, "sha256")
        if (link.sequence, link.digest) != (place, digest):
            return False
    return True


def chained(writer: str, bodies: Sequence[bytes]) -> list[tuple[Link, bytes]]:
    return list(zip(Chain(writer, KEY).extend(bodies), bodies, strict=True))


@given(bodies=BODIES)
def test_a_chain_as_it_was_written_holds_under_its_writers_name_only(bodies: list[bytes]) -> None:
    assert holds("one", chained("one", bodies))
    assert not holds("other", chained("one", bodies))
    assert not holds("one", chained("one", bodies), key=bytes(32))


@given(groups=st.lists(BODIES, min_size=1, max_size=4))
def test_groups_make_the_same_chain_as_one_long_write(groups: list[list[bytes]]) -> None:
    chain = Chain("one", KEY)
    records: list[tuple[Link, bytes]] = []
    for group in groups:
        links = chain.extend(group)
        chain.advance(links)
        records.extend(zip(links, group, strict=True))
    assert records == chained("one", [body for group in groups for body in group])


@given(bodies=BODIES, data=st.data())
def test_an_edited_record_is_found(bodies: list[bytes], data: st.DataObject) -> None:
    records = chained("one", bodies)
    place = data.draw(st.integers(0, len(records) - 1))
    link, body = records[place]
    records[place] = (link, data.draw(st.binary(max_size=20).filter(lambda other: other != body)))
    assert not holds("one", records)


@given(bodies=st.lists(st.binary(max_size=20), min_size=2, max_size=12), data=st.data())
def test_a_record_dropped_from_the_middle_is_found(bodies: list[bytes], data: st.DataObject) -> None:
    records = chained("one", bodies)
    del records[data.draw(st.integers(0, len(records) - 2))]
    assert not holds("one", records)
    # Also when who drops it numbers the rest anew.
    renumbered = [(replace(link, sequence=n), body) for n, (link, body) in enumerate(records, start=1)]
    assert not holds("one", renumbered)


@given(bodies=st.lists(st.binary(max_size=20), min_size=2, max_size=12, unique=True), data=st.data())
def test_swapped_records_are_found_with_their_links_or_without(
    bodies: list[bytes], data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(bodies) - 2))
    second = data.draw(st.integers(first + 1, len(bodies) - 1))
    whole = chained("one", bodies)
    whole[first], whole[second] = whole[second], whole[first]
    assert not holds("one", whole)
    only_bodies = chained("one", bodies)
    (link, body), (other_link, other_body) = only_bodies[first], only_bodies[second]
    only_bodies[first], only_bodies[second] = (link, other_body), (other_link, body)
    assert not holds("one", only_bodies)


@given(bodies=BODIES, data=st.data())
def test_a_record_of_anothers_chain_is_found(bodies: list[bytes], data: st.DataObject) -> None:
    records = chained("one", bodies)
    place = data.draw(st.integers(0, len(records) - 1))
    records[place] = chained("other", bodies)[place]
    assert not holds("one", records)


@given(bodies=BODIES)
def test_the_head_stays_until_it_is_told_to_advance(bodies: list[bytes]) -> None:
    chain = Chain("one", KEY)
    first = chain.extend(bodies)
    assert chain.extend(bodies) == first
    chain.advance(first)
    assert chain.extend([b"next"])[0].sequence == len(bodies) + 1


def test_advancing_by_nothing_changes_nothing() -> None:
    chain = Chain("one", KEY)
    chain.advance([])
    assert chain.extend([b"x"]) == Chain("one", KEY).extend([b"x"])
    assert chain.extend([]) == []


@pytest.mark.parametrize(("one", "other"), [(b"ab", b"a"), (b"", b"\0")])
def test_records_are_not_run_together(one: bytes, other: bytes) -> None:
    assert Chain("w", KEY).extend([one, b"b"])[1] != Chain("w", KEY).extend([other, b"bb"])[1]
