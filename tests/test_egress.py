"""The one way out: which addresses may be asked, and what of an answer is taken."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.issuer import Issuer, serving
from turnlock.egress import Egress, is_public
from turnlock.errors import EgressFailed, EgressRefused
from turnlock.local_servers.authority import loopback_identity

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
CONFIGURATION = "/.well-known/openid-configuration"


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    with serving(tmp_path) as served:
        yield served


def at_loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(EgressRefused):
        Egress(resolve=lambda _host, _port: [address]).get("https://idp.example.com/")


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example.com/",
        "ftp://idp.example.com/",
        "file:///etc/passwd",
        "https://",
        "https://user@idp.example.com/",
        "https://user:word@idp.example.com/",
        "https://idp.example.com:0/",
        "https://idp.example.com:99999/",
        "https://idp.example.com/a b",
        "https://idp.example.com/\r\nHost: x",
        "https://idp.example.com/\x7f",
        "https://ïdp.example.com/",
        "https://[::1",
    ],
)
def test_what_is_no_plain_https_address_is_not_asked(url: str) -> None:
    with pytest.raises(EgressRefused):
        Egress(LOOPBACK, resolve=at_loopback).get(url)


def test_a_name_is_resolved_once_and_that_address_is_asked(issuer: Issuer) -> None:
    asked: list[str] = []

    def changing(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.255.255.1"]

    out = Egress(LOOPBACK, resolve=changing)
    assert b"jwks_uri" in out.get(issuer.url + CONFIGURATION, thumbprints={issuer.thumbprint})
    assert asked == ["localhost"]


def test_an_address_that_is_not_public_is_asked_where_its_network_is_allowed(issuer: Issuer) -> None:
    pinned = {issuer.thumbprint}
    with pytest.raises(EgressRefused):
        Egress().get(issuer.url + CONFIGURATION, thumbprints=pinned)
    other = (ipaddress.ip_network("10.0.0.0/8"),)
    with pytest.raises(EgressRefused):
        Egress(other).get(issuer.url + CONFIGURATION, thumbprints=pinned)
    assert issuer.asked == []
    assert Egress(LOOPBACK, resolve=at_loopback).get(issuer.url + CONFIGURATION, thumbprints=pinned)


def test_a_certificate_must_be_trusted_or_pinned(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Egress(LOOPBACK, resolve=at_loopback)
    for thumbprints in ((), {"0" * 40}):
        with pytest.raises(EgressFailed):
            out.get(issuer.url + CONFIGURATION, thumbprints=thumbprints)
    assert issuer.asked == []
    identity = loopback_identity(datetime.now(UTC))
    (tmp_path / "ca.pem").write_bytes(identity.ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with serving(tmp_path, identity) as trusted:
        assert out.get(trusted.url + CONFIGURATION)
        with pytest.raises(EgressFailed, match="mismatch"):
            out.get(trusted.url.replace("localhost", "idp.example.com") + CONFIGURATION)


def test_no_redirect_is_followed_and_only_200_is_an_answer(issuer: Issuer) -> None:
    out = Egress(LOOPBACK, resolve=at_loopback)
    for status, body in ((302, f"{issuer.url}/keys".encode()), (404, b""), (500, b"x"), (201, b"x")):
        issuer.answers["/x"] = (status, body)
        with pytest.raises(EgressFailed, match=f"answered {status}"):
            out.get(f"{issuer.url}/x", thumbprints={issuer.thumbprint})
    assert "/keys" not in issuer.asked


def test_an_answer_has_a_largest_size(issuer: Issuer) -> None:
    out = Egress(LOOPBACK, resolve=at_loopback, largest=1000)
    issuer.answers["/fits"], issuer.answers["/long"] = (200, b"x" * 1000), (200, b"x" * 1001)
    assert len(out.get(f"{issuer.url}/fits", thumbprints={issuer.thumbprint})) == 1000
    with pytest.raises(EgressFailed, match="more than 1000 bytes"):
        out.get(f"{issuer.url}/long", thumbprints={issuer.thumbprint})


def test_a_host_that_trickles_is_cut_off() -> None:
    """One byte now and then would keep a socket's own time-out from ever ending it."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def trickle() -> None:
        connection, _ = listener.accept()
        with connection:
            while not ended.is_set():
                try:
                    connection.sendall(b"\x16")
                except OSError:
                    return
                time.sleep(0.05)

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    began = time.monotonic()
    with pytest.raises(EgressFailed):
        Egress(LOOPBACK, resolve=at_loopback, seconds=0.5).get(f"https://x:{listener.getsockname()[1]}/")
    assert time.monotonic() - began < 30
    ended.set()
    thread.join(60)
    listener.close()


def test_a_name_without_an_address_is_a_failure() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise OSError

    with pytest.raises(EgressFailed, match="has no address"):
        Egress(resolve=unknown).get("https://nowhere.example.com/")
