"""What an operator decides when starting a server, checked once and never changed after."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from botocore.session import Session

from turnlock.core.address import Network, read_address
from turnlock.core.arn import AccountId, Region
from turnlock.errors import ConfigurationError

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
DEFAULT_LISTEN = "127.0.0.1:7768"
DEFAULT_ACCOUNT = AccountId("123456789012")


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKeyChoice:
    """Where the root key comes from."""

    spec: str = "file"
    """`file` (DIR/root.key), `file:PATH`, `env:NAME`, `passphrase`, `command:COMMAND` or `pkcs11:URI`."""
    passphrase: str | None = field(default=None, repr=False)
    """What the operator typed; None for all but `passphrase`."""


FILE_ROOT_KEY = RootKeyChoice()
"""A file in the data directory, which the first start makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One server's configuration."""

    data_dir: Path
    host: str
    port: int
    account_id: AccountId = DEFAULT_ACCOUNT
    """The account that the first start makes."""
    database: str | None = field(default=None, repr=False)
    """A postgresql:// URL (it may hold a password), or None for SQLite inside the data directory."""
    root_key: RootKeyChoice = FILE_ROOT_KEY
    workers: int = 1
    regions: frozenset[Region]
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    insecure_plaintext: bool = False
    database_ca_file: Path | None = None
    """The certificates (PEM) with which hosted functions verify databases; None for the system's own."""
    allow_unconfined_functions: bool = False
    """Functions of one's own run also where the kernel cannot confine them: the operator said so."""
    allow_unconfined_databases: bool = False
    """Local databases of RDS run also where the kernel cannot confine them: the operator said so."""
    lease_seconds: float = 15.0
    """How long a node may be silent before another takes up its rotations; the database's clock counts."""
    rotations_at_once: int = 4
    """Rotations that one worker process works on at the same time; twice as many more may wait for slow functions."""
    metrics_from: tuple[Network, ...] = LOOPBACK
    """The addresses to which `/metrics` is shown, to who has the token."""
    metrics_token_file: Path | None = None
    """A file with the bearer token that every reader of `/metrics` has to show; None for one in the data directory."""
    egress_allow: tuple[Network, ...] = ()
    """Networks that are not public and may be reached all the same at addresses that others named."""
    rotations_per_host: int = 2
    """Rotations that run against one database host at the same time, over all nodes."""

    connections_per_address: int = 512
    """Connections that each worker keeps for one address (of IPv6, one /64) at once."""
    proxy_from: tuple[Network, ...] = ()
    """The proxies: connections from these networks begin with a line of the PROXY protocol, and others must not."""

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigurationError("--tls-cert and --tls-key go together.")
        if not (self.secure or self.insecure_plaintext or is_loopback(self.host)):
            raise ConfigurationError(
                f"Without TLS the server listens on loopback only, and {self.host} is not loopback: give --tls-cert and"
                " --tls-key, or say --insecure-plaintext."
            )
        if self.workers < 1:
            raise ConfigurationError("--workers must be at least 1.")
        if self.connections_per_address < 1:
            raise ConfigurationError("--connections-per-address must be at least 1.")
        if not 1 <= self.lease_seconds <= 3600:
            raise ConfigurationError("--lease-seconds must be from 1 to 3600.")

    @property
    def secure(self) -> bool:
        """Whether the port speaks TLS."""
        return self.tls_certificate is not None

    @property
    def metrics_token(self) -> Path:
        """The file with the bearer token of `/metrics`."""
        return self.metrics_token_file or self.data_dir / "metrics-token"

    @property
    def private_files(self) -> tuple[Path, ...]:
        """The files and directories that no function and no local database may see."""
        kind, _, path = self.root_key.spec.partition(":")
        named = (Path(path) if kind == "file" and path else None, self.tls_key, self.metrics_token_file)
        return (self.data_dir, *(one for one in named if one is not None))

    @property
    def endpoint(self) -> str:
        """The URL at which a process on this machine reaches the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.host in {"0.0.0.0", "::"}:  # noqa: S104 (compared, not bound)
            host = "127.0.0.1"
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


def parse_listen(text: str) -> tuple[str, int]:
    """Read HOST:PORT; ConfigurationError when it is neither a name nor an address with a port."""
    address, _, port = text.rpartition(":")
    host = address.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigurationError(f"--listen must be HOST:PORT, not {text!r}.")
    return host, int(port)


def parse_networks(option: str, text: str | None, default: tuple[Network, ...]) -> tuple[Network, ...]:
    """Read an option's comma-separated list of networks or addresses; `default` when there is none."""
    if text is None:
        return default
    try:
        return tuple(ipaddress.ip_network(one.strip()) for one in text.split(","))
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}.") from None


def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether an address is in one of the networks; a text that is no address is in none."""
    peer = read_address(address)
    return peer is not None and any(peer in network for network in networks)


def is_loopback(host: str) -> bool:
    """Tell whether every address of a host is a loopback address."""
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, ValueError):  # no such name, or none that a host can have
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)


@cache
def every_region() -> frozenset[Region]:
    """Return every Region of the aws partition that botocore knows for Secrets Manager."""
    return frozenset(Region(name) for name in Session().get_available_regions("secretsmanager"))


def parse_regions(text: str | None) -> frozenset[Region]:
    """Read a comma-separated list of Regions; all of them when there is none."""
    if text is None:
        return every_region()
    regions = frozenset(Region(name.strip()) for name in text.split(",") if name.strip())
    if unknown := regions - every_region():
        raise ConfigurationError(
            f"--regions: not a Region of the aws partition: {', '.join(sorted(unknown))}."
        )
    if not regions:
        raise ConfigurationError("--regions names no Region.")
    return regions
