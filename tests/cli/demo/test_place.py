"""The demo's directory: wiped only when a demo made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from turnlock.cli.demo.place import new_place
from turnlock.errors import ConfigurationError


def test_a_new_directory_is_made_and_kept_afterwards(tmp_path: Path) -> None:
    with new_place(tmp_path / "a" / "demo") as place:
        place.log.write_text("words")
    assert place.log.read_text() == "words"
    assert place.root.stat().st_mode & 0o077 == 0


def test_what_an_earlier_demo_left_is_wiped(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    with new_place(tmp_path / "demo") as place:
        place.server.mkdir()
        (place.server / "root.key").write_text("old")
        place.log.symlink_to(elsewhere)
    with new_place(tmp_path / "demo") as place:
        assert not place.server.exists()
        assert not place.log.is_symlink()
    assert elsewhere.read_text() == "kept"


def test_a_directory_that_no_demo_made_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(ConfigurationError, match="not empty"), new_place(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    with new_place(tmp_path) as place:
        assert place.root == tmp_path


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    with new_place(tmp_path) as place:
        place.log.write_text("of the first")
        with pytest.raises(ConfigurationError, match="Another demo"), new_place(tmp_path):
            pass
        assert place.log.exists()


def test_a_file_in_its_place_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used: "), new_place(tmp_path / "file"):
        pass
