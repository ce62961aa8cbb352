"""`--root-key` and `turnlock keys rotate-root` as an operator meets them; the rotation is killed again and again."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.test_serve import refusal
from tests.processes import ServerProcess
from tests.proofs import FULL
from tests.root_keys.test_pkcs11 import MODULES

pytestmark = pytest.mark.slow

KILLS = 40 if FULL else 3
KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def turnlock(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "turnlock", *arguments],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rotated(data_dir: Path, *more: str) -> str:
    """Rotate the root key, to its end; return what was printed."""
    process = turnlock("keys", "rotate-root", "--data-dir", str(data_dir), *more)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def entry(*names: str) -> tuple[str, ...]:
    """Return what Python runs so that the server, which starts in an empty environment, has these variables of ours."""
    given = {name: os.environ[name] for name in names if name in os.environ}
    code = f"import os; os.environ.update({given!r}); from turnlock.cli import main; main()"
    return ("-c", code, "serve")


def write_secret(server: ServerProcess, name: str = "kept") -> None:
    server.client().create_secret(Name=name, SecretString=name)


def reads(server: ServerProcess, name: str = "kept") -> bool:
    return bool(server.client().get_secret_value(SecretId=name)["SecretString"] == name)


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if not MODULES or shutil.which("softhsm2-util") is None:
        pytest.skip("needs Debian's softhsm2 (tools/debian.sh installs it as root)")
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    made = ("--init-token", "--free", "--label", "t", "--so-pin", "12345678", "--pin", "87654321")
    subprocess.run(["softhsm2-util", *made], check=True, capture_output=True)
    (tmp_path / "pin").write_text("87654321\n")
    return f"pkcs11:token=t;object=root?module-path={MODULES[0]}&pin-source=file:{tmp_path / 'pin'}"


@pytest.mark.parametrize("kind", ["file", "env", "command", "pkcs11"])
def test_a_server_starts_again_with_the_root_key_that_it_was_made_with(
    data_dir: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNLOCK_TEST_KEY", KEY)
    choices = {
        "file": f"file:{tmp_path / 'elsewhere.key'}",
        "env": "env:TURNLOCK_TEST_KEY",
        "command": f"command:echo {KEY}",
    }
    choice = request.getfixturevalue("hsm") if kind == "pkcs11" else choices[kind]
    needed = entry("TURNLOCK_TEST_KEY", "SOFTHSM2_CONF")
    options = ("--root-key", choice, "--workers", "2")
    with ServerProcess(data_dir, options=options, entry=needed) as server:
        write_secret(server)
        server.stop()
        server.start()
        assert reads(server)
        assert not (data_dir / "root.key").exists()


def test_without_its_root_key_the_server_says_so_in_one_sentence(data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.key"
    with ServerProcess(data_dir, options=("--root-key", f"file:{path}")) as server:
        write_secret(server)
    serve = ("serve", "--data-dir", str(data_dir), "--root-key")
    path.rename(tmp_path / "lost.key")
    assert refusal(*serve, f"file:{path}") == (
        "The store holds keys, but the root key that opens them is missing; put it back before starting."
    )
    assert "does not open this store" in refusal(*serve, f"command:echo {KEY}")
    assert "is not set" in refusal(*serve, "env:TURNLOCK_NO_SUCH_KEY")
    assert "--root-key must be" in refusal(*serve, "tpm:here")


def test_a_rotation_prints_its_progress_and_a_proof_and_the_server_reads_on(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        write_secret(server)
        busy = turnlock("keys", "rotate-root", "--data-dir", str(data_dir))
        assert "stop it first" in busy.communicate(timeout=60)[1]
        assert busy.returncode == 2
        server.stop()
        before = (data_dir / "root.key").read_bytes()
        printed = rotated(data_dir)
        assert "kms_key_materials: " in printed
        assert "staging_labels: 1 of 1" in printed
        assert "none is under the old one" in printed
        assert (data_dir / "root.key").read_bytes() != before
        server.start()
        assert reads(server)


def test_a_rotation_that_is_killed_at_any_moment_loses_nothing(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        for number in range(10):
            write_secret(server, f"s{number}")
        server.stop()
        began = time.monotonic()
        rotated(data_dir)
        whole = time.monotonic() - began
        for kill in range(KILLS):
            process = turnlock("keys", "rotate-root", "--data-dir", str(data_dir))
            time.sleep(whole * (0.4 + 0.6 * (kill + 0.5) / KILLS))
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
            with closing(sqlite3.connect(data_dir / "turnlock.db")) as store:
                assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        server.start()
        assert reads(server, "s0")
        write_secret(server, "between")
        server.stop()
        assert "none is under the old one" in rotated(data_dir)
        server.start()
        assert all(reads(server, name) for name in ("s0", "s9", "between"))
        assert len((data_dir / "root.key").read_text().splitlines()) == 2


def test_the_store_moves_into_a_token_and_out_again(
    data_dir: Path, hsm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNLOCK_TEST_KEY", KEY)
    with ServerProcess(data_dir) as server:
        write_secret(server)
    assert "Proof" in rotated(data_dir, "--to", hsm)
    assert "does not open this store" in refusal("serve", "--data-dir", str(data_dir))
    needed = entry("TURNLOCK_TEST_KEY", "SOFTHSM2_CONF")
    with ServerProcess(data_dir, options=("--root-key", hsm), entry=needed) as server:
        assert reads(server)
    assert "Proof" in rotated(data_dir, "--root-key", hsm)
    assert "Proof" in rotated(data_dir, "--root-key", hsm, "--to", "env:TURNLOCK_TEST_KEY")
    with ServerProcess(data_dir, options=("--root-key", "env:TURNLOCK_TEST_KEY"), entry=needed) as server:
        assert reads(server)


def test_a_passphrase_is_read_from_standard_input_and_a_wrong_one_opens_nothing(data_dir: Path) -> None:
    def keys(*arguments: str, typed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "turnlock",
                "keys",
                "rotate-root",
                "--data-dir",
                str(data_dir),
                *arguments,
            ],
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    with ServerProcess(data_dir) as server:
        write_secret(server)
    moved = keys("--to", "passphrase", typed="correct horse battery\n")
    assert moved.returncode == 0, moved.stderr
    wrong = keys("--root-key", "passphrase", typed="wrong horse battery\n")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "turnlock: The passphrase is not the one that the root key was made with.\n",
    )
    back = keys(
        "--root-key", "passphrase", "--to", f"file:{data_dir / 'new.key'}", typed="correct horse battery\n"
    )
    assert back.returncode == 0, back.stderr
    with ServerProcess(data_dir, options=("--root-key", f"file:{data_dir / 'new.key'}")) as server:
        assert reads(server)
