"""Deployment packages: zip files from strangers, checked whole before a byte of them is kept, and unpacked by the same rules.

A package may not decide where its files go (absolute paths, `..`, links, drive letters), nor grow beyond its bounds: what is
counted is what comes out of the decompressor, never what the archive says of itself.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

MIB: Final = 1024 * 1024
MOST_ZIPPED: Final = 50 * MIB
"""Bytes of a package that is uploaded with the request (Lambda quotas)."""
MOST_UNZIPPED: Final = 250 * MIB
"""Bytes of all files (Lambda quotas)."""
MOST_ENTRIES: Final = 20_000
MOST_RATIO: Final = 200
"""How many times an entry may be larger than it is compressed; below `RATIO_FREE` it does not matter."""
RATIO_FREE: Final = MIB
LONGEST_PATH: Final = 512

_CHUNK = 256 * 1024
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OSError,
    RuntimeError,
    OverflowError,
)
"""What `zipfile` raises for archives that are damaged or made to be; NotImplementedError is a RuntimeError."""


class BadPackage(ValueError):
    """The package cannot be taken; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a package."""

    path: PurePosixPath
    executable: bool
    info: zipfile.ZipInfo


def check_package(content: bytes) -> list[Entry]:
    """Return the files of a package, every one read to its end. Raises BadPackage."""
    if len(content) > MOST_ZIPPED:
        raise BadPackage(f"the zipped package is larger than {MOST_ZIPPED} bytes")
    with _opened(content) as archive:
        entries = _entries(archive)
        total = 0
        for entry in entries:
            for chunk in _chunks(archive, entry):
                total += len(chunk)
                if total > MOST_UNZIPPED:
                    raise BadPackage(f"the unzipped package is larger than {MOST_UNZIPPED} bytes")
    return entries


def unpack(content: bytes, target: Path) -> None:
    """Write the files of a package below `target`, a new directory: readable by all, writable by the owner."""
    target.mkdir(mode=0o755)
    target.chmod(0o755)
    with _opened(content) as archive:
        for entry in _entries(archive):
            path = target / entry.path
            _make_directories(target, path.parent)
            with path.open("xb") as file:
                for chunk in _chunks(archive, entry):
                    file.write(chunk)
            path.chmod(0o755 if entry.executable else 0o644)


def _opened(content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except _DAMAGE:
        raise BadPackage("it is not a zip file") from None


def _entries(archive: zipfile.ZipFile) -> list[Entry]:
    infos = archive.infolist()
    if len(infos) > MOST_ENTRIES:
        raise BadPackage(f"it has more than {MOST_ENTRIES} entries")
    entries = [_entry(info) for info in infos if not info.filename.endswith("/")]
    paths = {entry.path for entry in entries}
    if len(paths) != len(entries):
        raise BadPackage("two of its entries have the same path")
    if any(parent in paths for path in paths for parent in path.parents):
        raise BadPackage("one of its entries is a file and a directory")
    if not entries:
        raise BadPackage("it holds no file")
    return entries


def _entry(info: zipfile.ZipInfo) -> Entry:
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise BadPackage("it holds a link or a device")
    if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
        raise BadPackage("it is encrypted, or compressed in a way that is not known")
    return Entry(path=_path(info.filename), executable=bool(mode & 0o111), info=info)


def _path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    wild = any(letter in name for letter in "\\\0:") or not name.isprintable()
    if wild or path.is_absolute() or ".." in path.parts or not path.parts or len(name) > LONGEST_PATH:
        raise BadPackage("the path of an entry leads outside the package, or is none")
    return path


def _chunks(archive: zipfile.ZipFile, entry: Entry) -> Iterator[bytes]:
    """Yield the content of an entry, and stop where it grows beyond what is allowed."""
    size = 0
    bound = max(RATIO_FREE, MOST_RATIO * entry.info.compress_size)
    try:
        with archive.open(entry.info) as file:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > bound:
                    break
                yield chunk
    except _DAMAGE:
        raise BadPackage("an entry cannot be read") from None
    if size > bound:
        raise BadPackage(f"an entry is compressed more than {MOST_RATIO} times")


def _make_directories(root: Path, directory: Path) -> None:
    """Make a directory and those above it, up to `root`, with the modes that strangers need, whatever the umask is."""
    missing = [
        one for one in (directory, *directory.parents) if one.is_relative_to(root) and not one.exists()
    ]
    for one in reversed(missing):
        one.mkdir()
        one.chmod(0o755)
