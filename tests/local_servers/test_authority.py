"""The throw-away authority: its certificate verifies the server's, for loopback names only."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509 import verification

from turnlock.local_servers.authority import loopback_identity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def verifier(ca: bytes, at: datetime, name: x509.GeneralName) -> verification.ServerVerifier:
    assert isinstance(name, x509.DNSName | x509.IPAddress)
    store = verification.Store([x509.load_pem_x509_certificate(ca)])
    return verification.PolicyBuilder().store(store).time(at).build_server_verifier(name)


@pytest.mark.parametrize(
    "name",
    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))],
    ids=["name", "ip"],
)
def test_the_certificate_is_good_for_loopback(name: x509.GeneralName) -> None:
    identity = loopback_identity(NOW)
    leaf = x509.load_pem_x509_certificate(identity.certificate)
    assert len(verifier(identity.ca, NOW, name).verify(leaf, [])) == 2


@pytest.mark.parametrize(
    ("name", "at"),
    [
        (x509.DNSName("db.example.com"), NOW),
        (x509.DNSName("localhost"), NOW + timedelta(days=3651)),
        (x509.DNSName("localhost"), NOW - timedelta(days=1)),
    ],
    ids=["other name", "too late", "too early"],
)
def test_the_certificate_is_good_for_nothing_else(name: x509.GeneralName, at: datetime) -> None:
    identity = loopback_identity(NOW)
    leaf = x509.load_pem_x509_certificate(identity.certificate)
    with pytest.raises(verification.VerificationError):
        verifier(identity.ca, at, name).verify(leaf, [])


def test_two_identities_share_nothing_and_show_no_key() -> None:
    one, other = loopback_identity(NOW), loopback_identity(NOW)
    assert one.key != other.key
    assert b"PRIVATE KEY" in one.key
    assert "PRIVATE KEY" not in repr(one)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        loopback_identity(datetime(2026, 3, 1))  # noqa: DTZ001  (what is tested)
