"""The PROXY protocol: whose address a request has, and who may say so."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time

import pytest

from tests.shell.http.test_connection import Answering, in_thread, run, to_the_end
from turnlock.shell.http import Limits, Listener

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
REQUEST = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
V4 = SIGNATURE + b"\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 127, 0, 0, 1]) + b"\x10\x00\x20\x00"
V6 = SIGNATURE + b"\x21\x21\0\x24" + bytes(range(32)) + b"\x10\x00\x20\x00"


def asked(sent: list[bytes], proxies: str = "127.0.0.0/8") -> tuple[list[str], bytes]:
    """Send pieces to a listener that knows proxies; return whose the requests were, and what was answered."""

    async def scenario() -> tuple[list[str], bytes]:
        answering = Answering()
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        listener = Listener(
            listening,
            answering,
            asyncio.get_running_loop(),
            limits=Limits(head_seconds=2),
            proxies=(ipaddress.ip_network(proxies),),
        )
        listener.start()

        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", port), 20) as line:
                for piece in sent:
                    line.sendall(piece)
                    time.sleep(0.05)
                return to_the_end(line)

        answer = await in_thread(talk)
        listener.close()
        assert not listener._shared.connections
        return [request.source_ip for request in answering.requests], answer

    return run(scenario)


@pytest.mark.parametrize(
    ("announcement", "address"),
    [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 4096 80\r\n", "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::1 ::1 4096 80\r\n", "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (V4, "192.0.2.7"),
        (V4[:14] + b"\0\x10" + V4[16:] + b"\x04\0\x01x", "192.0.2.7"),
        (V6, "1:203:405:607:809:a0b:c0d:e0f"),
        (SIGNATURE + b"\x20\0\0\0", "127.0.0.1"),
    ],
)
def test_a_named_proxy_says_whose_a_connection_is(announcement: bytes, address: str) -> None:
    middle = len(announcement) // 2
    for sent in ([announcement + REQUEST], [announcement[:middle], announcement[middle:], REQUEST]):
        addresses, answer = asked(sent)
        assert addresses == [address]
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        REQUEST,
        b"PROXY TCP4 2001:db8::1 127.0.0.1 1 80\r\n" + REQUEST,
        b"PROXY TCP4 192.0.2.7 127.0.0.1 99999 80\r\n" + REQUEST,
        b"PROXY TCP4 192.0.2.7\r\n" + REQUEST,
        b"PROXY \r\n" + REQUEST,
        b"PROXY TCP4 " + b"1" * 200,
        SIGNATURE + b"\x31\x11\0\x0c" + b"x" * 12 + REQUEST,
        SIGNATURE + b"\x21\x12\0\x0c" + b"x" * 12 + REQUEST,
        SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 12 + REQUEST,
        SIGNATURE + b"\x21\x11\0\x04abcd" + REQUEST,
    ],
)
def test_a_named_proxy_that_announces_nothing_or_nonsense_is_not_heard(sent: bytes) -> None:
    assert asked([sent]) == ([], b"")


def test_nobody_else_announces_an_address() -> None:
    addresses, answer = asked([b"PROXY TCP4 192.0.2.7 127.0.0.1 1 80\r\n" + REQUEST], "192.0.2.0/24")
    assert addresses == []
    assert b" 200 " not in answer
