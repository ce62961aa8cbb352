"""Root keys in a token: on Debian's SoftHSM, through python-pkcs11."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import SettableClock
from turnlock.core.ports import SystemEntropy
from turnlock.errors import ConfigurationError, SealBroken
from turnlock.root_keys.pkcs11 import Pkcs11Place, Pkcs11RootKey

MODULES = [
    *Path("/usr/lib").glob("softhsm/libsofthsm2.so"),
    *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so"),
]

pytestmark = pytest.mark.skipif(
    not MODULES or shutil.which("softhsm2-util") is None,
    reason="needs a token to talk to: Debian's softhsm2 is not installed (tools/debian.sh installs it as root)",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pkcs11Place]:
    """A new token. A process loads the module once, with the configuration that it finds then."""
    directory = tmp_path_factory.mktemp("softhsm")
    (directory / "tokens").mkdir()
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        subprocess.run(
            [
                "softhsm2-util",
                "--init-token",
                "--free",
                "--label",
                "turnlock",
                "--so-pin",
                "12345678",
                "--pin",
                "87654321",
            ],
            check=True,
            capture_output=True,
        )
        pin = directory / "pin"
        pin.write_text("87654321\n")
        yield Pkcs11Place.parse(
            f"token=turnlock;object=unused?module-path={MODULES[0]}&pin-source=file:{pin}"
        )


def provider(place: Pkcs11Place, label: str) -> Pkcs11RootKey:
    clock = SettableClock()
    labelled = Pkcs11Place(token=place.token, label=label, module=place.module, pin_file=place.pin_file)
    return Pkcs11RootKey(labelled, clock=clock, entropy=SystemEntropy())


def test_what_the_token_wraps_it_opens_in_its_place_alone(place: Pkcs11Place) -> None:
    assert provider(place, "wrap").load() is None
    keyring = provider(place, "wrap").create()
    sealed = keyring.wrap(b"k" * 32, context=b"here")
    again = provider(place, "wrap").load()
    assert again is not None
    assert again.unwrap(sealed, context=b"here") == b"k" * 32
    with pytest.raises(SealBroken):
        again.unwrap(sealed, context=b"there")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            again.unwrap(bytes(changed), context=b"here")


def test_the_key_cannot_be_taken_out(place: Pkcs11Place) -> None:
    import pkcs11

    keyring = provider(place, "inside").create()
    for key in (keyring._newest.wrapping, keyring._newest.authenticating):
        assert key[pkcs11.Attribute.EXTRACTABLE] is False
        with pytest.raises(pkcs11.PKCS11Error):
            key[pkcs11.Attribute.VALUE]


def test_macs_are_the_tokens_and_differ_by_purpose(place: Pkcs11Place) -> None:
    keyring = provider(place, "mac").create()
    again = provider(place, "mac").load()
    assert again is not None
    made = keyring.mac("labels", b"message")
    assert len(made) == 32
    assert made == again.mac("labels", b"message")
    assert len({made, keyring.mac("policies", b"message"), keyring.mac("labels", b"other")}) == 3
    assert made != provider(place, "other mac").create().mac("labels", b"message")


def test_a_successor_is_made_once_and_the_old_key_is_destroyed(place: Pkcs11Place) -> None:
    clock = SettableClock()
    labelled = Pkcs11Place(token=place.token, label="turn", module=place.module, pin_file=place.pin_file)

    def at_once() -> Pkcs11RootKey:
        return Pkcs11RootKey(labelled, clock=clock, entropy=SystemEntropy())

    old = at_once().create().wrap(b"old", context=b"c")
    clock.advance(timedelta(seconds=1))
    fresh = at_once().successor().wrap(b"new", context=b"c")
    assert at_once().successor().unwrap(fresh, context=b"c") == b"new"
    both = at_once().load()
    assert both is not None
    assert both.unwrap(old, context=b"c") == b"old"
    at_once().retire()
    left = at_once().load()
    assert left is not None
    assert left.unwrap(fresh, context=b"c") == b"new"
    with pytest.raises(SealBroken):
        left.unwrap(old, context=b"c")


def test_a_process_that_was_forked_uses_the_token_anew(place: Pkcs11Place) -> None:
    """Workers are forked from a process that has opened the store once already."""
    code = f"""
import os
from tests.root_keys.test_pkcs11 import provider
from turnlock.root_keys.pkcs11 import Pkcs11Place
from pathlib import Path
place = Pkcs11Place(token={place.token!r}, label="fork", module=Path({str(place.module)!r}), pin_file=Path({str(place.pin_file)!r}))
sealed = provider(place, "fork").create().wrap(b"key", context=b"c")
child = os.fork()
if child == 0:
    keyring = provider(place, "fork").load()
    os._exit(0 if keyring.unwrap(sealed, context=b"c") == b"key" else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wrong", ["pin file", "token", "module"])
def test_what_cannot_be_used_is_said_in_a_sentence(place: Pkcs11Place, tmp_path: Path, wrong: str) -> None:
    pin = tmp_path / "pin"
    if wrong != "pin file":
        pin.write_text("87654321")
    changed = Pkcs11Place(
        token="absent" if wrong == "token" else place.token,
        label="x",
        module=tmp_path / "absent.so" if wrong == "module" else place.module,
        pin_file=pin,
    )
    with pytest.raises(ConfigurationError):
        Pkcs11RootKey(changed, clock=SettableClock(), entropy=SystemEntropy()).load()
