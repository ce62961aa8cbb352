"""A server that is not what it says: it gets no file, no clear-text password, and its nonsense is `unreachable`."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from turnlock.rotators import Credential, DatabaseFailed, Unreachable
from turnlock.rotators.engines.mysql.engine import MySQL
from turnlock.rotators.engines.mysql.mariadb import MariaDB

ENGINES = (MySQL(), MariaDB())
OK = b"\x00\x00\x00\x02\x00\x00\x00"
READ_FILE = b"\xfb/etc/passwd"
SWITCH = b"\xfe%s\0" + b"s" * 20 + b"\0"
PASSWORD = "the password of the secret"
Script = list[bytes]
"""What the server answers to each packet."""


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


GREETING = (
    b"\x0a9.7.4\0" + struct.pack("<I", 7) + b"12345678\0" + struct.pack("<H", 0xF7FF) + b"\x2d\x02\x00"
    + struct.pack("<H", 0x81FF) + b"\x15" + b"\0" * 10 + b"123456789012\0" + b"mysql_native_password\0"
)  # fmt: skip


@contextmanager
def rogue(answers: Script, greeting: bytes = GREETING) -> Iterator[tuple[int, list[bytes]]]:
    """Serve one client; yield the port and all that came in."""
    heard: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        client, _ = listening.accept()
        with client, suppress(OSError):
            client.settimeout(5)
            client.sendall(packet(0, greeting))
            for answer in answers:
                received = client.recv(65536)
                heard.append(received)
                client.sendall(packet(received[3] + 1 if len(received) > 3 else 1, answer))
            while more := client.recv(65536):
                heard.append(more)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield listening.getsockname()[1], heard
        thread.join(60)


def credential(port: int, *, tls: bool = False) -> Credential:
    return Credential(host="127.0.0.1", port=port, username="app", password=PASSWORD, dbname="", tls=tls)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(
    "answers", [[READ_FILE], [OK, READ_FILE], [OK, OK, READ_FILE], [OK, OK, OK, READ_FILE]], ids=len
)
def test_a_server_that_asks_for_a_file_gets_none(engine: MySQL | MariaDB, answers: Script) -> None:
    with rogue(answers) as (port, heard), pytest.raises(Unreachable):
        engine.connect(credential(port), 2)
    assert b"root:" not in b"".join(heard)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog", b"mysql_old_password", b"unknown"])
def test_a_server_that_asks_for_the_password_in_clear_does_not_get_it(
    engine: MySQL | MariaDB, plugin: bytes
) -> None:
    with rogue([SWITCH % plugin, OK]) as (port, heard), pytest.raises(Unreachable):
        engine.connect(credential(port), 2)
    assert PASSWORD.encode() not in b"".join(heard)


def test_a_server_that_takes_tls_away_hears_nothing(  # whoever stands between could do that
) -> None:
    plain = GREETING.replace(struct.pack("<H", 0xF7FF), struct.pack("<H", 0xF7FF & ~0x0800), 1)
    with rogue([OK], plain) as (port, heard), pytest.raises(Unreachable, match='"ssl": false'):
        MySQL().connect(credential(port, tls=True), 2)
    assert b"".join(heard) == b""


@pytest.mark.parametrize("engine", ENGINES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(
    "answers",
    [
        [b""],
        [b"\xff"],
        [b"\xfe"],
        [b"\x01"],
        [OK, b"\x01"],
        [OK, b"\xfc\xff"],
        [OK, OK, b"\x7f" * 9],
        [OK, OK, OK, b"\x02"],
        [b"\xfecaching_sha2_password\0", b"\x01\x09"],
    ],
)
def test_nonsense_is_unreachable(engine: MySQL | MariaDB, answers: Script) -> None:
    with rogue(answers) as (port, _), pytest.raises((Unreachable, DatabaseFailed)):
        engine.connect(credential(port), 1)


@pytest.mark.parametrize("cut", [0, 1, 5, 9, 20, 40, len(GREETING) - 1])
@pytest.mark.parametrize(
    "spoil", [lambda part: part, lambda part: part + b"\xff" * 30], ids=["short", "long"]
)
def test_a_greeting_of_nonsense_is_unreachable(cut: int, spoil: Callable[[bytes], bytes]) -> None:
    with rogue([OK], spoil(GREETING[:cut])) as (port, _), pytest.raises(Unreachable):
        MySQL().connect(credential(port), 1)
