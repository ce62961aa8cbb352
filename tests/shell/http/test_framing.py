"""Where messages end: what llhttp and we accept is what h11 accepts, and everything that could be read in two ways is refused."""

from __future__ import annotations

import random
from dataclasses import dataclass

import h11
import pytest

from tests import proofs
from turnlock.shell.bodies import MAX_BODY
from turnlock.shell.http.framing import END_OF_HEAD, Chunks, Unclear, check_beginning, read_head, write_answer
from turnlock.wire import HttpResponse

MESSAGES = 200_000 if proofs.FULL else 4_000


@dataclass(frozen=True)
class Framed:
    """One request as somebody read it, and how many bytes it took where that is told."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


def framed_by_us(data: bytes) -> Framed | None:
    """Return the first request of a stream as the server reads it; None where it refuses it or waits."""
    received = data.lstrip(b"\r\n")
    end = received.find(END_OF_HEAD)
    if end < 0:
        return None
    try:
        check_beginning(bytearray(received[:1]))
        head = read_head(received[: end + 4])
        rest = received[end + 4 :]
        if head.chunks is not None:
            head.chunks.feed(rest)
            if not head.chunks.complete:
                return None
            body = head.chunks.body()
        else:
            if len(rest) < head.length:
                return None
            body = rest[: head.length]
    except Unclear:
        return None
    target = received.split(b"\r\n", 1)[0].split(b" ")[1]
    headers = [
        (
            name.encode("latin-1"),
            value.lower().encode("latin-1") if name == "transfer-encoding" else value.encode("latin-1"),
        )
        for name, value in head.headers
    ]
    return Framed(head.method.encode(), target, headers, body)


def framed_by_h11(data: bytes) -> Framed | None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)
    connection.receive_data(data.lstrip(b"\r\n"))
    body = b""
    request: h11.Request | None = None
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                return Framed(request.method, request.target, list(request.headers), body)
            else:
                return None
    except h11.RemoteProtocolError:
        return None


class Draws:
    """Draws streams: requests put together from parts that are right, odd and wrong, and then spoilt a little."""

    METHODS = (
        b"GET",
        b"POST",
        b"POST",
        b"PUT",
        b"DELETE",
        b"HEAD",
        b"OPTIONS",
        b"CONNECT",
        b"PRI",
        b"get",
        b"M-SEARCH",
        b"",
    )
    TARGETS = (
        b"/",
        b"/",
        b"/a?b=c",
        b"/%41",
        b"*",
        b"http://x/",
        b"x:1",
        b"/a b",
        b"/\xe9",
        b"/#f",
        b"//x",
        b"",
        b"/\t",
    )
    VERSIONS = (b"HTTP/1.1",) * 6 + (
        b"HTTP/1.0",
        b"HTTP/1.2",
        b"HTTP/2.0",
        b"http/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.10",
        b"HTTP/0.9",
    )
    ENDS = (b"\r\n",) * 30 + (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b"\r\n\t")
    LENGTHS = (
        b"0",
        b"5",
        b"5",
        b"05",
        b"+5",
        b"-5",
        b"5,5",
        b"5 ",
        b" 5",
        b"0x5",
        b"5_0",
        b"",
        b"99999999999999999999999",
        b"\xb2",
    )
    CODINGS = (
        b"chunked",
        b"chunked",
        b"Chunked",
        b" chunked ",
        b"gzip, chunked",
        b"chunked, chunked",
        b"identity",
        b"xchunked",
        b"chunked;q=1",
        b"\x0bchunked",
        b"",
    )
    NAMES = (
        b"X-A",
        b"x-b",
        b"Content-Type",
        b"Expect",
        b"Upgrade",
        b"Connection",
        b"Host",
        b"Content-Length ",
        b"Transfer-Encoding\t",
        b"Content_Length",
        b" X",
        b"X\x00",
        b"X:Y",
        b"",
        b"Trailer",
    )
    VALUES = (
        b"1",
        b"close",
        b"keep-alive",
        b"upgrade",
        b"websocket",
        b"100-continue",
        b"a\x00b",
        b"\xff",
        b"",
        b"a\rb",
        b"a\nb",
        b"a\r\n b",
        b"\x7f",
        b"a\tb",
        b"keep-alive, close",
    )
    SIZES = (
        b"5",
        b"5",
        b"05",
        b"5;a=b",
        b'5;a="b"',
        b"5 ",
        b" 5",
        b"0x5",
        b"5\t",
        b"g",
        b"-5",
        b"",
        b"fffffffffffffffff",
        b"5;\n",
        b"5;a\rb",
    )

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def draw(self) -> bytes:
        """Return one stream."""
        choice, chance = self.dice.choice, self.dice.random
        lines = (
            [b" ".join((choice(self.METHODS), choice(self.TARGETS), choice(self.VERSIONS)))]
            if chance() < 0.15
            else [b"POST / HTTP/1.1"]
        )
        headers = [b"Host: a"] if chance() < 0.95 else []
        body = b""
        if (kind := chance()) < 0.4:
            headers.append(b"Content-Length: " + (choice(self.LENGTHS) if chance() < 0.4 else b"5"))
            body = b"12345"
        elif kind < 0.8:
            headers.append(b"Transfer-Encoding: " + (choice(self.CODINGS) if chance() < 0.3 else b"chunked"))
            body = self._chunks()
        if chance() < 0.1:
            headers.append(choice((b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: b")))
        headers += [
            choice(self.NAMES) + choice((b":", b": ", b" :", b":\t", b"")) + choice(self.VALUES)
            for _ in range(self.dice.choice((0, 0, 0, 1, 2)))
        ]
        self.dice.shuffle(headers)
        odd = chance() < 0.1
        text = b"".join(line + (choice(self.ENDS) if odd else b"\r\n") for line in [*lines, *headers, b""])
        message = text + body + choice((b"", b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n", b"x"))
        return self._spoilt(message) if chance() < 0.2 else message

    def _chunks(self) -> bytes:
        choice, chance = self.dice.choice, self.dice.random
        text = b""
        for _ in range(choice((0, 1, 2))):
            text += (choice(self.SIZES) if chance() < 0.2 else b"5") + (
                b"\r\n" if chance() < 0.95 else choice(self.ENDS)
            )
            text += b"abcde" + (b"\r\n" if chance() < 0.95 else choice((b"", b"\n", b"x\r\n", b"\r")))
        return text + choice(
            (b"0\r\n\r\n",) * 8
            + (b"0\r\nX: y\r\n\r\n", b"0\r\n", b"00\r\n\r\n", b"0\n\n", b"0;a\r\n\r\n", b"")
        )

    def _spoilt(self, message: bytes) -> bytes:
        changed = bytearray(message)
        for _ in range(self.dice.choice((1, 1, 2, 4))):
            at = self.dice.randrange(len(changed))
            match self.dice.randrange(4):
                case 0:
                    changed[at] = self.dice.choice(b"\r\n \t:;,\x00\x0b\x7f\xa00159aF")
                case 1:
                    changed[at:at] = self.dice.choice(
                        (b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x00", b":", b"0")
                    )
                case 2:
                    del changed[at]
                case _:
                    changed[at] ^= 1 << self.dice.randrange(8)
            if not changed:
                break
        return bytes(changed)


def test_no_message_is_framed_otherwise_than_h11_frames_it_and_carried_out() -> None:
    draws, accepted, refused_alone = Draws(15), 0, 0
    for _ in range(MESSAGES):
        message = draws.draw()
        ours, theirs = framed_by_us(message), framed_by_h11(message)
        if ours is None:
            refused_alone += theirs is not None
            continue
        accepted += 1
        assert ours == theirs, message
    assert accepted > MESSAGES / 5, "the messages are too wrong to say anything"
    proofs.record(
        "framing beside h11", "-", messages=MESSAGES, accepted=accepted, refused_here_alone=refused_alone
    )


def test_a_message_in_pieces_is_read_as_in_one() -> None:
    draws, dice = Draws(16), random.Random(16)
    for _ in range(MESSAGES // 10):
        message = draws.draw()
        whole = framed_by_us(message)
        received = message.lstrip(b"\r\n")
        end = received.find(END_OF_HEAD)
        if whole is None or end < 0:
            continue
        head = read_head(received[: end + 4])
        if head.chunks is None:
            continue
        rest = received[end + 4 :]
        while rest and not head.chunks.complete:
            size = dice.randrange(1, 8)
            head.chunks.feed(rest[:size])
            rest = rest[size:]
        assert head.chunks.body() == whole.body


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET http://other/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: something\r\n\r\n", 417),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 4096 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", None),
    ],
)
def test_what_is_not_accepted(head: bytes, status: int | None) -> None:
    with pytest.raises(Unclear) as refusal:
        read_head(head)
    assert refusal.value.status == status


@pytest.mark.parametrize(
    ("head", "last"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", False),
    ],
)
def test_when_a_connection_ends_after_the_answer(head: bytes, last: bool) -> None:
    assert read_head(head).last == last


def test_a_chunked_body_keeps_to_its_bounds() -> None:
    start = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for frame in (b"1;" + b"e" * 60 + b"\r\nx\r\n", b"0\r\nTrailer: " + b"y" * 2 * MAX_BODY):
        chunks = read_head(start).chunks
        assert chunks is not None
        with pytest.raises(Unclear):
            _feed_often(chunks, frame * (1024 if len(frame) < 100 else 1))


def _feed_often(chunks: Chunks, data: bytes) -> None:
    for _ in range(20):
        chunks.feed(data)


def test_an_answer_is_one_message() -> None:
    answer = HttpResponse(status=200, headers=(("x-a", "b"),), body=b"{}")
    sent = write_answer(answer, last=False)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(sent)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert {b"x-a", b"date", b"content-length"} == {name for name, _ in response.headers}
    assert isinstance(client.next_event(), h11.Data)
    assert isinstance(client.next_event(), h11.EndOfMessage)
    assert write_answer(answer, last=True, to_head=True).endswith(b"connection: close\r\n\r\n")
    nothing = write_answer(HttpResponse(status=204, headers=(), body=b""), last=False)
    assert b"content-length" not in nothing
    for value in ("a\r\nb: c", "a\nb", "a\rb"):
        with pytest.raises(ValueError, match="line"):
            write_answer(HttpResponse(status=200, headers=(("x", value),), body=b""), last=False)
