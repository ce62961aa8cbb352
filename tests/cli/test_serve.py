"""`turnlock serve` as an operator meets it: what it makes, what it refuses in a sentence, how it ends."""

from __future__ import annotations

import configparser
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError

from tests.processes import ServerProcess, free_port, wait_until

pytestmark = pytest.mark.slow

PATIENCE = 30.0


def refusal(*arguments: str) -> str:
    """Run the command, which must refuse; return its one sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "turnlock", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("turnlock: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("turnlock: ").rstrip()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data_dir: Path) -> Iterator[ServerProcess]:
    with ServerProcess(data_dir) as process:
        yield process


def access_key(data_dir: Path) -> str:
    profile = configparser.ConfigParser()
    profile.read(data_dir / "credentials")
    return profile["default"]["aws_access_key_id"]


def test_the_first_start_makes_private_files_and_a_second_one_keeps_the_account(
    server: ServerProcess, data_dir: Path
) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data_dir.iterdir()}
    assert modes["credentials"] == 0o600
    assert not any(mode & 0o077 for mode in modes.values()), modes
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    before = (data_dir / "credentials").read_bytes()
    server.client().create_secret(Name="kept", SecretString="v")
    server.stop()
    server.start()
    assert (data_dir / "credentials").read_bytes() == before
    assert server.client().get_secret_value(SecretId="kept")["SecretString"] == "v"


def test_health_is_answered_without_a_signature_and_nothing_else_is(server: ServerProcess) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    answers = []
    for method, path in (("GET", "/health"), ("GET", "/"), ("POST", "/health")):
        connection.request(method, path)
        response = connection.getresponse()
        answers.append((response.status, response.read()))
    connection.close()
    assert answers[0] == (200, b"ok\n")
    assert [status for status, _ in answers[1:]] == [400, 400]


def test_another_address_than_loopback_needs_tls_or_the_word_insecure(data_dir: Path) -> None:
    sentence = refusal("serve", "--data-dir", str(data_dir), "--listen", f"0.0.0.0:{free_port()}")
    assert "loopback" in sentence
    assert "--insecure-plaintext" in sentence
    assert not data_dir.exists()


@pytest.mark.parametrize(
    "listen", ["7768", "localhost:", ":7768", "localhost:http", "localhost:70000", "localhost:0"]
)
def test_an_address_that_is_none_is_refused(data_dir: Path, listen: str) -> None:
    sentence = refusal("serve", "--data-dir", str(data_dir), "--listen", listen)
    assert sentence == f"--listen must be HOST:PORT, not {listen!r}."


def test_a_port_in_use_is_said_in_a_sentence(data_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refusal("serve", "--data-dir", str(data_dir), "--listen", address)


def test_a_store_of_a_newer_version_is_refused(server: ServerProcess, data_dir: Path) -> None:
    server.stop()
    with sqlite3.connect(data_dir / "turnlock.db") as store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    sentence = refusal("serve", "--data-dir", str(data_dir), "--listen", f"127.0.0.1:{free_port()}")
    assert sentence.endswith("run the version that migrated it, or a newer one.")


def test_a_store_without_its_root_key_is_refused_and_no_new_key_is_made(
    server: ServerProcess, data_dir: Path
) -> None:
    server.stop()
    (data_dir / "root.key").unlink()
    sentence = refusal("serve", "--data-dir", str(data_dir), "--listen", f"127.0.0.1:{free_port()}")
    assert "the root key that opens them is missing" in sentence
    assert not (data_dir / "root.key").exists()


def test_a_directory_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "data"
    sentence = refusal("serve", "--data-dir", str(place), "--listen", f"127.0.0.1:{free_port()}")
    assert sentence == f"{place} cannot be made: Not a directory."


def test_a_further_account_has_credentials_that_work_and_sees_nothing_of_the_first(
    server: ServerProcess, data_dir: Path
) -> None:
    server.client().create_secret(Name="of-the-first", SecretString="v")
    options = ("--account-id", "210987654321", "--data-dir", str(data_dir))
    made = subprocess.run(
        [sys.executable, "-m", "turnlock", "accounts", "create", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    profile = configparser.ConfigParser()
    profile.read_string(made.stdout)
    (data_dir / "credentials").write_text(made.stdout.replace("[210987654321]", "[default]"))
    second = server.client()
    assert profile.sections() == ["210987654321"]
    assert second.list_secrets()["SecretList"] == []
    arn = second.create_secret(Name="of-the-second", SecretString="v")["ARN"]
    assert arn.split(":")[4] == "210987654321"
    again = refusal("accounts", "create", *options)
    assert "210987654321" in again


def test_accounts_need_a_store(data_dir: Path) -> None:
    sentence = refusal("accounts", "create", "--account-id", "210987654321", "--data-dir", str(data_dir))
    assert "start the server once first" in sentence


def test_sigterm_ends_it_in_time_and_keeps_what_was_acknowledged(server: ServerProcess) -> None:
    acknowledged: list[str] = []
    ended = threading.Event()

    def create() -> None:
        client = server.client()
        while not ended.is_set():
            name = uuid.uuid4().hex
            try:
                client.create_secret(Name=name, SecretString=name)
            except BotoCoreError:  # the connection was closed; an error of the service would fail the test
                return
            acknowledged.append(name)

    threads = [threading.Thread(target=create, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    while len(acknowledged) < 20:
        time.sleep(0.01)
    started = time.monotonic()
    server.stop()
    took = time.monotonic() - started
    ended.set()
    idle.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert took < 10, "an idle connection and busy ones do not keep it"
    server.start()
    client = server.client()
    assert [client.get_secret_value(SecretId=name)["SecretString"] for name in acknowledged] == acknowledged


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4])
def test_sigterm_while_the_workers_start_ends_it_as_soon(server: ServerProcess, delay: float) -> None:
    server.stop()
    server.launch()
    wait_until(lambda: len(server.servers()) > 1, PATIENCE, "a worker's process", tick=0.001)
    time.sleep(delay)
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 10, "a signal was lost: the worker was killed after its 15 s"


def test_a_worker_that_dies_is_started_again_and_the_others_serve_meanwhile(data_dir: Path) -> None:
    with ServerProcess(data_dir, options=("--workers", "2")) as server:
        wait_until(lambda: len(list(server.events("worker_ready"))) == 2, PATIENCE, "two workers")
        worker = next(one for one in server.servers() if one.parent == server.pid)
        worker.signal(signal.SIGKILL)
        answered = 0
        while len(list(server.events("worker_ready"))) < 3:
            answered += server.answers()
        assert answered
        assert [one["status"] for one in server.events("worker_ended")] == [-signal.SIGKILL]
        assert len([one for one in server.servers() if one.parent == server.pid]) == 2
        server.stop()


def test_a_server_that_was_stopped_longer_than_it_waits_for_signals_goes_on(
    server: ServerProcess,
) -> None:
    """SIGSTOP and SIGCONT, as a debugger, a shell or a frozen machine sends them."""
    family = server.servers()
    for one in family:
        one.signal(signal.SIGSTOP)
    time.sleep(6)  # the main process waits 5 s
    for one in family:
        one.signal(signal.SIGCONT)
    time.sleep(1)
    assert server.answers()
    assert list(server.events("worker_ended")) == []
    assert {one.pid for one in server.servers()} == {one.pid for one in family}
