"""The root key's file and the first start."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import NOON, SettableClock, fresh_keyring
from turnlock.core.ports import SystemEntropy
from turnlock.errors import ConfigurationError
from turnlock.root_keys import FileRootKey, Keyring, draw_root_key, open_root_key
from turnlock.root_keys.provider import format_root_keys, parse_root_keys

ENTROPY = SystemEntropy()
NOWHERE = Path("root.key")


def provider(path: Path) -> FileRootKey:
    return FileRootKey(path, clock=SettableClock(), entropy=ENTROPY)


def agree(one: Keyring | None, other: Keyring | None) -> bool:
    assert one is not None
    assert other is not None
    return other.unwrap(one.wrap(b"key", context=b"c"), context=b"c") == b"key"


def test_the_file_is_made_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    made = provider(path).create()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["root.key"]
    assert agree(made, provider(path).load())


def test_there_is_no_keyring_before_the_file_is_made(tmp_path: Path) -> None:
    assert provider(tmp_path / "root.key").load() is None


def test_servers_that_start_at_once_end_up_with_one_root_key(tmp_path: Path) -> None:
    path, barrier = tmp_path / "root.key", Barrier(4)

    def start(_: int) -> Keyring:
        barrier.wait(timeout=60)
        return provider(path).create()

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(start, range(4))
    assert all(agree(first, other) for other in others)
    assert agree(first, provider(path).load())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "root.key"
    provider(path).create()
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"^Others may read the root key file .* \(chmod 600\)"):
        provider(path).load()


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(ConfigurationError, match="not a regular file"):
        provider(fifo).load()
    with pytest.raises(ConfigurationError, match="not a regular file"):
        provider(tmp_path).load()


def test_a_file_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: No such file or directory"):
        provider(tmp_path / "absent" / "root.key").create()


def lines(count: int = 1) -> str:
    return format_root_keys([draw_root_key(ENTROPY, NOON) for _ in range(count)])


def changed_key() -> str:
    first, line, end = lines().split("\n")
    key_id, at, _ = line.split(" ")
    return "\n".join((first, f"{key_id} {at} {base64.b64encode(bytes(32)).decode()}", end))


def doubled_key() -> str:
    first, line, _ = lines().split("\n")
    return "\n".join((first, line, line, ""))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "turnlock-root-keys 1",
        "turnlock-root-keys 1\n",
        lines().replace("keys 1", "keys 2"),
        lines().rstrip("\n"),
        lines() + "\n",
        lines() + "x\n",
        lines() + lines().split("\n")[1],
        lines().replace(" ", "  "),
        lines().replace("\n", "\r\n"),
        lines().replace("=", ""),
        changed_key(),
        lines().replace("2026-11-23T12", "2026-11-23 12"),
        lines().split("\n", 1)[0] + "\n" + lines().split("\n")[1] * 2 + "\n",
        doubled_key(),
    ],
)
def test_a_malformed_file_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "root.key"
    path.write_text(text, newline="")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="root key file") as caught:
        provider(path).load()
    assert caught.value.__cause__ is None
    for line in text.split("\n")[1:]:
        assert line.split(" ")[-1] == "" or line.split(" ")[-1] not in caught.value.message


@pytest.mark.parametrize("content", [b"\xff\xfe", b"turnlock-root-keys 1\n" + b"x" * 70_000])
def test_bytes_that_are_no_text_or_too_many_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="not a root key file"):
        provider(path).load()


def test_a_file_may_hold_several_root_keys_and_the_last_wraps(tmp_path: Path) -> None:
    old, new = (draw_root_key(ENTROPY, NOON) for _ in range(2))
    path = tmp_path / "root.key"
    path.write_text(format_root_keys([old, new]))
    path.chmod(0o600)
    keyring = provider(path).load()
    assert agree(Keyring([old], ENTROPY), keyring)
    assert agree(keyring, Keyring([new], ENTROPY))


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5, unique=True))
def test_what_is_formatted_is_parsed_again(secrets: list[bytes]) -> None:
    class Given:
        def __init__(self, value: bytes) -> None:
            self._value = value

        def bytes(self, count: int) -> bytes:
            assert count == 32
            return self._value

    roots = [draw_root_key(Given(secret), NOON) for secret in secrets]
    assert parse_root_keys(format_root_keys(roots), NOWHERE) == roots


@given(st.text(max_size=100) | st.text(max_size=100).map(lambda rest: f"turnlock-root-keys 1\n{rest}\n"))
def test_hostile_text_is_refused_with_a_configuration_error_only(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_root_keys(text, NOWHERE)


def test_the_first_start_makes_a_root_key_and_the_next_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    made = open_root_key(provider(path), lambda: False)
    read = open_root_key(
        provider(path), lambda: pytest.fail("the store is not asked when a root key is there")
    )
    assert read.unwrap(made.wrap(b"k", context=b""), context=b"") == b"k"


def test_a_store_that_holds_keys_is_not_started_with_a_new_root_key(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    with pytest.raises(ConfigurationError, match="the root key that opens them is missing"):
        open_root_key(provider(path), lambda: True)
    assert not path.exists()


def test_a_file_that_vanishes_while_two_servers_start_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root.key"
    path.write_text(lines())
    path.chmod(0o600)
    starting = provider(path)
    monkeypatch.setattr(starting, "load", lambda: None)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        starting.create()


def test_two_keyrings_have_nothing_in_common() -> None:
    assert fresh_keyring().mac("p", b"m") != fresh_keyring().mac("p", b"m")
