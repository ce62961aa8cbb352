"""The segments of the trail, as an auditor reads them."""

from __future__ import annotations

from pathlib import Path

from turnlock.trail.chain import Link


def read_segment(path: Path) -> list[tuple[Link, bytes]]:
    """Read a segment as its format says: it ends at the first zero, and a last line without a line feed is left out."""
    records = []
    for line in path.read_bytes().partition(b"\0")[0].split(b"\n")[:-1]:
        sequence, digest, body = line.split(b" ", 2)
        records.append((Link(int(sequence), bytes.fromhex(digest.decode())), body))
    return records


def recorded_bodies(data_dir: Path) -> list[bytes]:
    """Return the records in all segments of a data directory, in the order of their files' names."""
    paths = sorted((data_dir / "trail").glob("*.segment"))
    return [body for path in paths for _, body in read_segment(path)]
