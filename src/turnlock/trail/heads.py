"""The trail's key, and where each chain ends: so that nobody makes, cuts or removes a chain unseen.

    1. The key is drawn once, and lies in the store sealed under the root key, with the moment at which the trail began: what is older
       than its trail had another one, which was taken away. A rotation of the root key seals it anew, and every chain still verifies.
    2. Each chain has a head in the store, under a MAC: of rows in the transaction that wrote them, of a segment when it ends. While a
       segment grows, its head is in a file beside it, under a MAC and written every few seconds, and the store only says that it is
       there: a commit to the store every few seconds would make each process forget the rows that it remembers.
    3. Heads are numbered, and one row more says how many there are: a chain that is gone with its head is missed. That row is written
       with the key, never later.

What this does not tell: that a head was put back as it once was, together with the records behind it; only a copy of the heads
elsewhere could. Of a segment that a crash ended, the records of the last HEAD_SECONDS can be cut unseen.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from turnlock.core.ports import Entropy, RootKeyring
from turnlock.root_keys import write_private
from turnlock.storage import Database, Unit, metadata, micros, moment
from turnlock.storage.alarms import alarm
from turnlock.trail.chain import Ends, Link

HEAD_SECONDS: Final = 10.0
"""How often the head of a segment that grows is written down."""

_KEY_BYTES: Final = 32
_MOMENT_BYTES: Final = 8
_KEY_ID: Final = "1"
_IN_FILE: Final = Link(0, b"")
"""The head of a segment whose end is in a file beside it."""

_COUNT: Final = ""
"""The writer of the row that says how many heads there are: no chain's name."""

trail_keys = Table(
    "trail_keys",
    metadata,
    Column("key_id", String(8), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

trail_heads = Table(
    "trail_heads",
    metadata,
    Column("writer", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)


def key_context(key_id: str) -> bytes:
    """Return what a trail key is sealed for."""
    return f"trail-key/{key_id}".encode()


def find_key(connection: Connection, keyring: RootKeyring) -> tuple[bytes, datetime] | None:
    """Return the trail's key and when it was drawn; None where nothing was recorded yet.

    Raises SealBroken for one that was not sealed by the root key.
    """
    here = select(trail_keys.c.sealed).where(trail_keys.c.key_id == _KEY_ID)
    sealed = connection.execute(here).scalar()
    if sealed is None:
        return None
    drawn = keyring.unwrap(bytes(sealed), context=key_context(_KEY_ID))
    # A key of 0.2.0 has no moment: it was drawn in 1970, before all that there is.
    return drawn[:_KEY_BYTES], moment(int.from_bytes(drawn[_KEY_BYTES:]))


def held_key(connection: Connection, keyring: RootKeyring, entropy: Entropy, now: datetime) -> bytes:
    """Return the trail's key, drawn `now` where there is none; for a transaction that writes."""
    found = find_key(connection, keyring)
    if found is not None:
        return found[0]
    key = entropy.bytes(_KEY_BYTES)
    drawn = key + micros(now).to_bytes(_MOMENT_BYTES)
    row = {"key_id": _KEY_ID, "sealed": keyring.wrap(drawn, context=key_context(_KEY_ID))}
    # Where another node's transaction drew it meanwhile, PostgreSQL reports a conflict, and the unit runs again.
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(trail_keys).values(row).on_conflict_do_nothing())
    count = _row(key, _COUNT, 0, Link(0, b""))
    connection.execute(insert(trail_heads).values(count).on_conflict_do_nothing())
    return key


def key_of_unit(unit: Unit) -> bytes:
    """Return the trail's key to whoever writes segments, drawn where there is none."""
    return held_key(unit.connection, unit.keyring, unit.entropy, unit.now)


def save_head(connection: Connection, key: bytes, writer: str, link: Link) -> None:
    """Write down where a chain ends now; the first time it gets its number."""
    here = trail_heads.c.writer == writer
    number = connection.execute(select(trail_heads.c.number).where(here)).scalar()
    if number is not None:
        connection.execute(update(trail_heads).where(here).values(_row(key, writer, number, link)))
        return
    number = _next_number(connection, key)
    connection.execute(trail_heads.insert().values(_row(key, writer, number, link)))


def head_fits(key: bytes, row: Any) -> bool:
    """Tell whether a head is as this server wrote it."""
    wanted = _mac(key, row["writer"], row["number"], row["sequence"], bytes(row["digest"]))
    return hmac.compare_digest(wanted, bytes(row["mac"]))


def is_count(row: Any) -> bool:
    """Tell whether this is the row that says, in `number`, how many heads there are."""
    return bool(row["writer"] == _COUNT)


def is_in_file(row: Any) -> bool:
    """Tell whether a head says that the segment's end is in a file beside it."""
    return bool(row["sequence"] == _IN_FILE.sequence)


class SegmentHeads:
    """The heads of one process's segments, written down by a loop. The segments' thread notes, another flushes."""

    def __init__(self) -> None:
        self._key: bytes | None = None
        self._directory = Path()
        self._read: Callable[[], Ends] = lambda: Ends(ended={}, growing={})
        self._written: dict[str, Link] = {}
        self._finished: set[str] = set()

    def watch(self, key: bytes, directory: Path, read: Callable[[], Ends]) -> None:
        """From now on, write down what `read` tells of the segments in a directory: their last durable records."""
        self._key, self._directory, self._read = key, directory, read

    def flush(self, database: Database) -> float:
        """Write down the heads that have moved; return how many seconds to wait before the next time."""
        key = self._key
        if key is None:
            return HEAD_SECONDS
        ends = self._read()
        for writer, link in ends.growing.items():
            if self._written.get(writer) != link:
                _write_file(self._directory, key, writer, link)
        # The file first, then the row that says that there is one.
        rows = dict.fromkeys(ends.growing.keys() - self._written.keys(), _IN_FILE)
        rows |= {writer: link for writer, link in ends.ended.items() if writer not in self._finished}
        if rows:
            held = key
            database.write(lambda unit: _save_all(unit, held, rows))
        self._written |= ends.growing
        for writer in ends.ended.keys() - self._finished:
            head_file(self._directory, writer).unlink(missing_ok=True)
            self._finished.add(writer)
        return HEAD_SECONDS


def head_file(directory: Path, writer: str) -> Path:
    """Return where the head of a growing segment is."""
    return directory / f"{writer}.head"


def read_file(directory: Path, key: bytes, writer: str) -> Link | None:
    """Return the head of a segment that grows, or that a crash ended; None where no file was written by this server."""
    try:
        body, _, mac = head_file(directory, writer).read_text(encoding="ascii").partition("\n")
        sequence, digest = msgspec.json.decode(body, type=tuple[int, bytes])
        wanted = _file_mac(key, writer, sequence, digest)
        return Link(sequence, digest) if hmac.compare_digest(wanted, mac.encode("ascii")) else None
    except (OSError, ValueError):
        return None


def _write_file(directory: Path, key: bytes, writer: str, link: Link) -> None:
    body = msgspec.json.encode((link.sequence, link.digest)).decode()
    mac = _file_mac(key, writer, link.sequence, link.digest).decode()
    write_private(head_file(directory, writer), f"{body}\n{mac}", replace=True)


def _file_mac(key: bytes, writer: str, sequence: int, digest: bytes) -> bytes:
    message = msgspec.json.encode(["turnlock-trail-head-file-1", writer, sequence, digest])
    return hmac.new(key, message, "sha256").hexdigest().encode()


def _save_all(unit: Unit, key: bytes, heads: Mapping[str, Link]) -> None:
    for writer, link in heads.items():
        save_head(unit.connection, key, writer, link)


def _next_number(connection: Connection, key: bytes) -> int:
    """Return the number of a new head, and count it. A count that was forged stays as it is, for `verify` to tell of."""
    row = connection.execute(select(trail_heads).where(trail_heads.c.writer == _COUNT)).mappings().first()
    if row is None or not head_fits(key, row):
        alarm("The count of the trail's chains", table=trail_heads.name)
        return 0
    number = int(row["number"]) + 1
    counted = update(trail_heads).where(trail_heads.c.writer == _COUNT)
    connection.execute(counted.values(_row(key, _COUNT, number, Link(0, b""))))
    return number


def _row(key: bytes, writer: str, number: int, link: Link) -> dict[str, object]:
    return {
        "writer": writer,
        "number": number,
        "sequence": link.sequence,
        "digest": link.digest,
        "mac": _mac(key, writer, number, link.sequence, link.digest),
    }


def _mac(key: bytes, writer: str, number: int, sequence: int, digest: bytes) -> bytes:
    message = msgspec.json.encode(["turnlock-trail-head-1", writer, number, sequence, digest])
    return hmac.digest(key, message, "sha256")
