"""Packages from strangers: what is taken comes out as it went in, what is hostile is refused before it is kept."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.functions.api.calling import package
from turnlock.functions.code import packages
from turnlock.functions.code.packages import BadPackage, check_package, unpack


def archive(*entries: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for info, content in entries:
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, content)
    return made.getvalue()


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target.encode()


def test_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    content = package({"main.py": "x = 1", "lib/deep/er.py": b"\0\1", "empty": ""})
    assert sorted(str(entry.path) for entry in check_package(content)) == [
        "empty",
        "lib/deep/er.py",
        "main.py",
    ]
    unpack(content, tmp_path / "code")
    assert (tmp_path / "code" / "main.py").read_text() == "x = 1"
    assert (tmp_path / "code" / "lib" / "deep" / "er.py").read_bytes() == b"\0\1"
    for path in (tmp_path / "code").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_what_can_be_executed_stays_so(tmp_path: Path) -> None:
    unpack(package({"bootstrap": "#!/bin/sh\n"}, executable=True), tmp_path / "code")
    assert (tmp_path / "code" / "bootstrap").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up", "a/../../up", "C:\\x", "a\\..\\b", "a\nb", "x" * 600, "..", "a:b"],
)
def test_paths_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(BadPackage, match="path of an entry"):
        check_package(archive((zipfile.ZipInfo(name), b"x")))


@pytest.mark.parametrize("target", ["/etc/shadow", "../root.key", "main.py"])
def test_links_are_refused(target: str) -> None:
    with pytest.raises(BadPackage, match="a link"):
        check_package(archive((zipfile.ZipInfo("main.py"), b"x"), link("link", target)))


def test_devices_are_refused() -> None:
    info = zipfile.ZipInfo("null")
    info.external_attr = (stat.S_IFCHR | 0o666) << 16
    with pytest.raises(BadPackage, match="device"):
        check_package(archive((info, b"")))


def test_a_bomb_is_refused_whatever_it_says_of_itself() -> None:
    bomb = bytearray(package({"zeros": bytes(8 << 20)}))
    with pytest.raises(BadPackage, match="compressed more than 200 times"):
        check_package(bytes(bomb))
    # The same with a size in its directory that would be harmless.
    at = bomb.rindex(b"PK\x01\x02")
    struct.pack_into("<I", bomb, at + 24, 10)
    with pytest.raises(BadPackage):
        check_package(bytes(bomb))


def test_the_sum_of_all_files_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MOST_UNZIPPED", 1000)
    check_package(package({"a": "x" * 400, "b": "y" * 400}))
    with pytest.raises(BadPackage, match="unzipped package is larger"):
        check_package(package({"a": "x" * 400, "b": "y" * 601}))


def test_the_number_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MOST_ENTRIES", 3)
    with pytest.raises(BadPackage, match="more than 3 entries"):
        check_package(package({str(number): "" for number in range(4)}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_for_one_path_are_refused() -> None:
    twice = archive((zipfile.ZipInfo("a"), b"1"), (zipfile.ZipInfo("./a"), b"2"))
    with pytest.raises(BadPackage, match="the same path"):
        check_package(twice)
    with pytest.raises(BadPackage, match="a file and a directory"):
        check_package(package({"a": "1", "a/b": "2"}))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip_or_empty_is_refused(content: bytes) -> None:
    with pytest.raises(BadPackage):
        check_package(content)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_damaged_packages_only_ever_raise_bad_package(noise: bytes, at: int, byte: int) -> None:
    whole = bytearray(package({"main.py": noise, "lib/x": noise[::-1]}))
    whole[at % len(whole)] = byte
    try:
        entries = check_package(bytes(whole))
    except BadPackage:
        return
    assert all(not entry.path.is_absolute() and ".." not in entry.path.parts for entry in entries)
