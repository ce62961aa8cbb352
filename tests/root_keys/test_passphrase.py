"""A root key from a passphrase."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from argon2.low_level import Type, hash_secret_raw

from tests.support import SettableClock
from turnlock.core.ports import SystemEntropy
from turnlock.errors import ConfigurationError
from turnlock.root_keys import passphrase
from turnlock.root_keys.passphrase import PassphraseRootKey

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys in a millisecond; a test of how they are derived undoes it."""
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 1_024)


def provider(tmp_path: Path, passphrase: str = PASSPHRASE) -> PassphraseRootKey:
    return PassphraseRootKey(
        tmp_path / "root.passphrase", passphrase, clock=SettableClock(), entropy=SystemEntropy()
    )


def test_the_same_passphrase_opens_and_the_file_says_how_it_is_derived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert provider(tmp_path).load() is None
    sealed = provider(tmp_path).create().wrap(b"key", context=b"c")
    again = provider(tmp_path).load()
    assert again is not None
    assert again.unwrap(sealed, context=b"c") == b"key"
    path = tmp_path / "root.passphrase"
    first, line, end = path.read_text().split("\n")
    assert (first, end) == ("turnlock-root-passphrase 1", "")
    key_id, _, kind, passes, memory, lanes, salt = line.split(" ")
    assert (kind, passes, memory, lanes) == ("argon2id", "3", "65536", "4")
    assert path.stat().st_mode & 0o777 == 0o600
    derived = hash_secret_raw(PASSPHRASE.encode(), base64.b64decode(salt), 3, 65_536, 4, 32, Type.ID)
    assert derived.hex() not in path.read_text()
    assert len(key_id) == 16


def test_another_passphrase_is_noticed_before_anything_is_opened(tmp_path: Path) -> None:
    provider(tmp_path).create()
    with pytest.raises(ConfigurationError, match="not the one that the root key was made with"):
        provider(tmp_path, PASSPHRASE + "!").load()


def test_a_short_passphrase_makes_no_root_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least 12"):
        provider(tmp_path, "eleven char").create()
    assert provider(tmp_path).load() is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text.replace("argon2id", "argon2i"),
        lambda text: text.replace(" 1024 ", " 99999999999 "),
        lambda text: text.replace(" 3 ", " 0 "),
        lambda text: text + "more\n",
        lambda text: "x" + text,
        lambda text: "turnlock-root-passphrase 1\n",
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: object) -> None:
    provider(tmp_path).create()
    path = tmp_path / "root.passphrase"
    assert callable(change)
    path.write_text(change(path.read_text()))
    with pytest.raises(ConfigurationError):
        provider(tmp_path).load()


def test_a_successor_has_a_salt_of_its_own_and_is_made_once(tmp_path: Path) -> None:
    old = provider(tmp_path).create()
    sealed = old.wrap(b"key", context=b"c")
    new, again = provider(tmp_path).successor(), provider(tmp_path).successor()
    fresh = new.wrap(b"new", context=b"c")
    assert again.unwrap(fresh, context=b"c") == b"new"
    both = provider(tmp_path).load()
    assert both is not None
    assert (both.unwrap(sealed, context=b"c"), both.unwrap(fresh, context=b"c")) == (b"key", b"new")
    provider(tmp_path).retire()
    left = provider(tmp_path).load()
    assert left is not None
    assert left.size == 1
    assert left.unwrap(fresh, context=b"c") == b"new"
