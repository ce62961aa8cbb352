"""Addresses of a socket's peer, in one form."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.core.address import peer_address, read_address, read_network


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("192.0.2.7:40000", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("[::1]:40000", "::1"),
        ("[2001:DB8:0:0::7]:1", "2001:db8::7"),
        ("[::ffff:192.0.2.7]:40000", "192.0.2.7"),
        ("[::FFFF:c000:207]:40000", "192.0.2.7"),
        ("[fe80::1%2]:40000", "fe80::1"),
        ("[fe80::1%eth0]:40000", "fe80::1"),
        ("::1", "::1"),
        ("unix:/run/x", "unix:/run/x"),
        ("", ""),
    ],
)
def test_the_address_of_a_peer_has_no_brackets_port_or_zone_and_is_ipv4_where_it_is_mapped(
    peer: str, expected: str
) -> None:
    assert peer_address(peer) == expected


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_is_the_same_whichever_family_the_socket_has(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    if isinstance(address, ipaddress.IPv4Address):
        assert peer_address(f"{address}:{port}") == peer_address(f"[::ffff:{address}]:{port}") == str(address)
    else:
        assert peer_address(f"[{address}]:{port}") == str(read_address(str(address)))


@given(st.text(max_size=40))
def test_no_text_breaks_the_readers(text: str) -> None:
    peer_address(text), read_address(text), read_network(text)


def test_a_network_of_mapped_addresses_is_the_ipv4_network() -> None:
    assert read_network("::ffff:10.0.0.0/104") == ipaddress.ip_network("10.0.0.0/8")
    assert read_network("::ffff:0:0/95") == ipaddress.ip_network("::fffe:0:0/95")
    assert read_network("10.1.2.3/8") == ipaddress.ip_network("10.0.0.0/8")
    assert read_network("10.0.0.0/33") is None
