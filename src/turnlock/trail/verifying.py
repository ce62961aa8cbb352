"""Reading the whole trail again: every chain of rows and of segments, against the trail's key and the heads."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import func, literal, select, table

from turnlock.errors import SealBroken
from turnlock.storage import Unit, metadata
from turnlock.trail.chain import Chain
from turnlock.trail.heads import find_key, head_fits, is_count, is_in_file, read_file, trail_heads
from turnlock.trail.store import covered_bytes, trail_records


class Finding(msgspec.Struct, frozen=True):
    """Something in the trail that is not as it was written."""

    chain: str
    """Its writer; empty where it is of no chain."""
    sequence: int
    """The record in it, counted from 1; 0 where it is of none."""
    words: str


_LINE: Final = re.compile(rb"([1-9]\d*) ([0-9a-f]{64}) (.*)", re.DOTALL)
"""Of a segment: sequence, digest, record."""

_CLOCKS: Final = timedelta(minutes=5)
"""How far the clocks of nodes may differ: what another node made soon after the first start may look older than that."""

Record = tuple[int, bytes, bytes]
"""(sequence, digest, covered bytes)."""


def verify(unit: Unit, directory: Path | None = None) -> list[Finding]:
    """Return what is wrong with the trail in the store and in the segments of a directory; nothing where all is as written.

    A record that is not in its place ends its chain: what stands behind it is not judged. A segment may go on behind its head, which
    is written down every few seconds; a chain of rows may not. Chains that are gone with all their records are looked for where a
    directory is given: without one nobody can tell a segment's head from another's.
    """
    try:
        found = find_key(unit.connection, unit.keyring)
    except SealBroken:
        return [Finding("", 0, "the trail's key was not sealed by this root key")]
    heads = [dict(row) for row in unit.connection.execute(select(trail_heads)).mappings()]
    if found is None:
        some = unit.connection.execute(select(trail_records.c.event_id).limit(1)).first()
        # The first start draws the key together with the first account.
        used = unit.connection.execute(select(literal(1)).select_from(table("accounts")).limit(1)).first()
        lost = some is not None or used is not None or heads or any(_segments(directory))
        return [Finding("", 0, "the trail's key is gone")] if lost else []
    key, drawn = found
    findings = [*_older(unit, drawn), *_judge_heads(key, heads)]
    ends = {row["writer"]: row for row in heads if not is_count(row)}
    seen: set[str] = set()
    for writer, records in _rows(unit):
        seen.add(writer)
        findings += _judge(key, writer, records, ends.get(writer), exact=True)
    for path in _segments(directory):
        writer = path.name.removesuffix(".segment")
        seen.add(writer)
        end = ends.get(writer)
        if end is not None and is_in_file(end):
            link = read_file(path.parent, key, writer)
            if link is None:
                findings.append(
                    Finding(writer, 0, "the file of the head is gone, or was not written by this server")
                )
                continue
            end = {"sequence": link.sequence, "digest": link.digest}
        findings += _judge(key, writer, _lines(path), end, exact=False)
    if directory is not None:
        findings += [Finding(writer, 0, "the chain is gone") for writer in ends.keys() - seen]
    return findings


def _older(unit: Unit, drawn: datetime) -> Iterator[Finding]:
    """Tell of what was there before the trail began: the first start draws the trail's key together with the first account."""
    for one in metadata.sorted_tables:
        if "created_at" not in one.c:
            continue
        first = unit.connection.execute(select(func.min(one.c.created_at))).scalar()
        tolerated = timedelta(0) if one.name == "accounts" else _CLOCKS
        if first is not None and first < drawn - tolerated:
            words = f"the trail began at {drawn:%Y-%m-%dT%H:%M:%SZ}, but {one.name} has something of {first:%Y-%m-%dT%H:%M:%SZ}"
            yield Finding("", 0, f"{words}: an earlier trail was taken away")
            return


def _judge_heads(key: bytes, heads: list[dict[str, Any]]) -> Iterator[Finding]:
    for row in heads:
        if not head_fits(key, row):
            yield Finding(row["writer"], 0, "the head was not written by this server")
    counted = [int(row["number"]) for row in heads if is_count(row)]
    numbers = sorted(int(row["number"]) for row in heads if not is_count(row))
    if len(counted) != 1 or numbers != list(range(1, counted[0] + 1)):
        yield Finding("", 0, f"chains are missing or too many: {len(numbers)} heads, {sum(counted)} counted")


def _judge(
    key: bytes, writer: str, records: Iterable[Record | None], end: dict[str, Any] | None, *, exact: bool
) -> Iterator[Finding]:
    chain = Chain(writer, key)
    digests = {0: chain.head.digest}
    for record in records:
        place = chain.head.sequence + 1
        if record is None:
            yield Finding(writer, place, "the record cannot be read")
            return
        sequence, digest, body = record
        (link,) = chain.extend([body])
        if sequence != link.sequence or not hmac.compare_digest(link.digest, digest):
            yield Finding(writer, place, "the record is not the one that was written here")
            return
        chain.advance([link])
        if end is not None and link.sequence == end["sequence"]:
            digests[link.sequence] = link.digest
    last = chain.head.sequence
    if end is None:
        if exact:
            yield Finding(writer, 0, "the chain has no head")
        return
    if last < end["sequence"] or (exact and last != end["sequence"]):
        yield Finding(writer, last, f"the chain ends here, its head says {end['sequence']}")
    elif digests.get(end["sequence"]) != bytes(end["digest"]):
        yield Finding(writer, end["sequence"], "the head is another chain's")


def _rows(unit: Unit) -> Iterator[tuple[str, Iterator[Record | None]]]:
    statement = select(trail_records).order_by(trail_records.c.writer, trail_records.c.sequence)
    rows = unit.connection.execution_options(yield_per=1000).execute(statement).mappings()
    for writer, found in groupby(rows, key=lambda row: str(row["writer"])):
        yield writer, map(_record, found)


def _record(row: Any) -> Record | None:
    try:
        return row["sequence"], bytes(row["digest"]), covered_bytes(row)
    except (TypeError, ValueError, AttributeError):
        return None


def _segments(directory: Path | None) -> list[Path]:
    return [] if directory is None else sorted(directory.glob("*.segment"))


def _lines(path: Path) -> Iterator[Record | None]:
    """Read a segment as its format says: it ends at the first zero, and a last line without a line feed is left out."""
    for line in path.read_bytes().partition(b"\0")[0].split(b"\n")[:-1]:
        found = _LINE.fullmatch(line)
        yield None if found is None else (int(found[1]), bytes.fromhex(found[2].decode()), found[3])
