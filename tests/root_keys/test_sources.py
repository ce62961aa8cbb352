"""Root keys that an operator keeps elsewhere: an environment variable, a command."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from tests.support import NOON, SettableClock
from turnlock.config import RootKeyChoice
from turnlock.core.ports import SystemEntropy
from turnlock.errors import ConfigurationError
from turnlock.root_keys import root_key_provider
from turnlock.root_keys.keyring import Keyring, RootKey
from turnlock.root_keys.provider import format_root_keys
from turnlock.root_keys.sources import CommandRootKey, EnvironmentRootKey

ENTROPY = SystemEntropy()
SECRET = bytes(range(32))
PLAIN = base64.b64encode(SECRET).decode()
OURS = Keyring([RootKey(secret=SECRET, created_at=NOON)], ENTROPY)
SEALED = OURS.wrap(b"key", context=b"c")
NAME = "TURNLOCK_TEST_ROOT_KEY"


def script(tmp_path: Path, body: str) -> str:
    """Return a command line that runs Python on this text."""
    path = tmp_path / "give root key.py"
    path.write_text(body)
    return f"{sys.executable} '{path}'"


@pytest.mark.parametrize(
    "text", [PLAIN, f"\n {PLAIN}\n", format_root_keys([RootKey(secret=SECRET, created_at=NOON)])]
)
def test_a_variable_gives_a_plain_key_or_the_text_of_a_file(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(NAME, text)
    assert EnvironmentRootKey(NAME, ENTROPY).load().unwrap(SEALED, context=b"c") == b"key"


def test_of_several_keys_the_last_one_wraps_and_all_open(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = base64.b64encode(bytes(32)).decode()
    monkeypatch.setenv(NAME, f"{PLAIN} {newer}")
    keyring = EnvironmentRootKey(NAME, ENTROPY).load()
    assert keyring.unwrap(SEALED, context=b"c") == b"key"
    assert keyring.newest().unwrap(keyring.wrap(b"x", context=b"c"), context=b"c") == b"x"


@pytest.mark.parametrize(
    "text", ["", "short", PLAIN[:-2], f"{PLAIN} {PLAIN}", "turnlock-root-keys 1\nnonsense"]
)
def test_a_variable_without_a_whole_key_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(NAME, text)
    with pytest.raises(ConfigurationError) as caught:
        EnvironmentRootKey(NAME, ENTROPY).load()
    assert NAME in caught.value.message
    assert PLAIN[:8] not in caught.value.message


def test_an_absent_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    with pytest.raises(ConfigurationError, match=f"{NAME}, which is to hold the root key, is not set"):
        EnvironmentRootKey(NAME, ENTROPY).load()


def test_a_commands_output_is_the_root_key(tmp_path: Path) -> None:
    command = script(tmp_path, f"print('{PLAIN}')")
    assert CommandRootKey(command, ENTROPY).load().unwrap(SEALED, context=b"c") == b"key"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (f"print('{PLAIN}'); raise SystemExit(3)", "ended with status 3"),
        ("import time; time.sleep(60)", "took longer than 0.5 s"),
        ("print('not a key')", "does not hold a root key"),
        ("print('x' * 100_000)", "gave no root key"),
        ("print('ключ')", "gave no root key"),
        ("", "does not hold a root key"),
    ],
)
def test_a_command_that_gives_no_key_is_refused_in_a_sentence(
    tmp_path: Path, body: str, sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        CommandRootKey(script(tmp_path, body), ENTROPY, seconds=0.5 if "sleep" in body else 20).load()
    assert PLAIN not in caught.value.message


def test_a_command_runs_without_a_shell(tmp_path: Path) -> None:
    marker = tmp_path / "made by a shell"
    with pytest.raises(ConfigurationError):
        CommandRootKey(f"echo {PLAIN}; touch '{marker}'", ENTROPY).load()
    assert not marker.exists()


@pytest.mark.parametrize("command", ["", "'unclosed", "/no/such/program"])
def test_a_command_that_cannot_be_run_is_refused(command: str) -> None:
    with pytest.raises(ConfigurationError):
        CommandRootKey(command, ENTROPY).load()


@pytest.mark.parametrize("choice", ["env:X", "command:true"])
def test_what_an_operator_keeps_is_neither_made_nor_forgotten_here(tmp_path: Path, choice: str) -> None:
    provider = root_key_provider(RootKeyChoice(spec=choice), tmp_path, clock=SettableClock(), entropy=ENTROPY)
    with pytest.raises(ConfigurationError, match="make one"):
        provider.create()
    with pytest.raises(ConfigurationError, match="--to"):
        provider.successor()


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "env",
        "env:",
        "file:",
        "tpm:x",
        "command:",
        "pkcs11:",
        "pkcs11:token=t",
        "passphrase",
        "passphrase:",
    ],
)
def test_a_choice_that_there_is_not_is_refused_in_a_sentence(tmp_path: Path, spec: str) -> None:
    with pytest.raises(ConfigurationError):
        root_key_provider(RootKeyChoice(spec=spec), tmp_path, clock=SettableClock(), entropy=ENTROPY)
