"""Files that only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from turnlock.root_keys import write_private


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_a_new_file_is_whole_and_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "f"
    before = os.umask(0o277)
    try:
        write_private(path, "text\n", replace=False)
    finally:
        os.umask(before)
    assert path.read_text() == "text\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["f"]


def test_an_older_file_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(FileExistsError):
        write_private(path, "new", replace=False)
    assert (path.read_text(), names(tmp_path)) == ("old", ["f"])
    write_private(path, "new", replace=True)
    assert (path.read_text(), path.stat().st_mode & 0o777, names(tmp_path)) == ("new", 0o600, ["f"])


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "f"
    target.write_text("untouched")
    path.symlink_to(target)
    write_private(path, "new", replace=True)
    assert (target.read_text(), path.read_text(), path.is_symlink()) == ("untouched", "new", False)


def test_a_failed_write_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_private(tmp_path / "f", "text", replace=True)
    assert names(tmp_path) == []
