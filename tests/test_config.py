"""What an operator may decide, and the sentences for what cannot be."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.config import (
    DEFAULT_LISTEN,
    LOOPBACK,
    Config,
    every_region,
    is_loopback,
    is_within,
    parse_listen,
    parse_networks,
    parse_regions,
)
from turnlock.core.arn import Region
from turnlock.errors import ConfigurationError


def config(**changes: Any) -> Config:
    given: dict[str, Any] = {
        "data_dir": Path("data"),
        "host": "127.0.0.1",
        "port": 7768,
        "regions": frozenset({Region("eu-central-1")}),
    }
    return Config(**{**given, **changes})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DEFAULT_LISTEN, ("127.0.0.1", 7768)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:65535", ("::1", 65_535)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
    ],
)
def test_an_address_and_a_port_are_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text) == expected


@pytest.mark.parametrize(
    "text", ["", "7768", ":7768", "host:", "host:0", "host:65536", "host:-1", "host:x", "host:1.5", "[]:80"]
)
def test_anything_else_to_listen_on_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--listen must be HOST:PORT, not "):
        parse_listen(text)


@given(text=st.text(max_size=30))
def test_no_text_to_listen_on_breaks_anything(text: str) -> None:
    try:
        host, port = parse_listen(text)
    except ConfigurationError:
        return
    assert host
    assert 0 < port < 65_536


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("", False),
        ("a..b", False),
        ("x" * 70, False),
        ("\0", False),
        ("host.invalid", False),
    ],
)
def test_loopback_is_told_from_everything_else(
    host: str, loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def without_network(name: str, port: None) -> object:
        if name == "host.invalid":
            raise socket.gaierror("no such name")
        return real(name, port)

    monkeypatch.setattr(socket, "getaddrinfo", without_network)
    assert is_loopback(host) is loopback


def test_a_name_with_one_foreign_address_is_not_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, 0, 0, "", (address, 0)) for address in ("127.0.0.1", "192.0.2.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, _port: found)
    assert not is_loopback("both.example")


def test_without_tls_only_loopback_is_listened_on_unless_it_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0 is not loopback: .*--insecure-plaintext"):
        config(host="0.0.0.0")
    assert not config(host="0.0.0.0", insecure_plaintext=True).secure
    files = {"tls_certificate": Path("cert.pem"), "tls_key": Path("key.pem")}
    assert config(host="0.0.0.0", **files).secure


@pytest.mark.parametrize("half", ["tls_certificate", "tls_key"])
def test_certificate_and_key_go_together(half: str) -> None:
    with pytest.raises(ConfigurationError, match="--tls-cert and --tls-key go together"):
        config(**{half: Path("file.pem")})


def test_there_is_at_least_one_worker() -> None:
    with pytest.raises(ConfigurationError, match="--workers"):
        config(workers=0)


@pytest.mark.parametrize(
    ("host", "tls", "endpoint"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:7768"),
        ("::1", False, "http://[::1]:7768"),
        ("localhost", True, "https://localhost:7768"),
        ("0.0.0.0", True, "https://127.0.0.1:7768"),
        ("::", True, "https://127.0.0.1:7768"),
    ],
)
def test_the_endpoint_is_one_that_this_machine_reaches(host: str, tls: bool, endpoint: str) -> None:
    files: dict[str, Any] = {"tls_certificate": Path("c"), "tls_key": Path("k")} if tls else {}
    assert config(host=host, **files).endpoint == endpoint


def test_a_configuration_does_not_show_its_databases_password() -> None:
    assert "hunter2" not in repr(config(database="postgresql://user:hunter2@db/turnlock"))


def test_without_a_list_every_region_of_the_aws_partition_is_served() -> None:
    regions = parse_regions(None)
    assert regions == every_region()
    assert {"us-east-1", "eu-central-1", "ap-southeast-2"} <= regions
    assert not any(name.startswith(("cn-", "us-gov-")) for name in regions)


def test_a_list_of_regions_is_read_with_its_spaces() -> None:
    assert parse_regions(" eu-central-1, us-east-1,") == {"eu-central-1", "us-east-1"}


@pytest.mark.parametrize("text", ["", " , ", ","])
def test_a_list_that_names_no_region_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--regions names no Region"):
        parse_regions(text)


@pytest.mark.parametrize("text", ["eu-central-1,mars-north-1", "EU-CENTRAL-1", "cn-north-1"])
def test_a_region_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match=text.rpartition(",")[2]):
        parse_regions(text)


@pytest.mark.parametrize(
    ("networks", "peer", "shown"),
    [
        (None, "127.0.0.1", True),
        (None, "127.9.9.9", True),
        (None, "::1", True),
        (None, "[::1]", True),
        (None, "::ffff:127.0.0.1", True),
        (None, "10.0.0.1", False),
        (None, "::ffff:10.0.0.1", False),
        (None, "", False),
        (None, "localhost", False),
        ("10.0.0.0/8, fd00::/8", "10.0.0.1", True),
        ("10.0.0.0/8, fd00::/8", "fd00::7", True),
        ("10.0.0.0/8, fd00::/8", "127.0.0.1", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
    ],
)
def test_metrics_are_shown_to_loopback_or_to_the_networks_named_instead(
    networks: str | None, peer: str, shown: bool
) -> None:
    assert (
        is_within(
            peer, config(metrics_from=parse_networks("--metrics-from", networks, LOOPBACK)).metrics_from
        )
        is shown
    )


@pytest.mark.parametrize("text", ["", "everyone", "10.0.0.1/8", "10.0.0.0/8,"])
def test_networks_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--metrics-from: "):
        parse_networks("--metrics-from", text, LOOPBACK)
