"""Who may read the metrics."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from turnlock.config import Config
from turnlock.core.arn import Region
from turnlock.errors import ConfigurationError
from turnlock.shell.metrics_readers import READ_BY_CHILDREN, MetricsReaders, owners_of, read_token
from turnlock.wire import HttpRequest

TOKEN = "a-token-of-some-length"


def readers(port: int = 1, **changes: Any) -> MetricsReaders:
    regions = frozenset({Region("eu-central-1")})
    return MetricsReaders(
        Config(data_dir=Path("data"), host="127.0.0.1", port=port, regions=regions, **changes)
    )


def request(source_ip: str = "127.0.0.1", port: int = 1, **headers: str) -> HttpRequest:
    return HttpRequest(
        method="GET",
        path="/metrics",
        source_ip=source_ip,
        peer=f"{source_ip}:{port}",
        headers=tuple(headers.items()),
    )


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(f"{TOKEN}\n")
    return path


def test_the_kernel_says_whose_the_other_end_of_a_connection_is() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        ports = client.getsockname()[1], server.getsockname()[1]
        assert list(owners_of(*ports)) == [os.getuid()]
        assert readers(ports[1]).includes(request(port=ports[0]))
    assert list(owners_of(1, 2)) == []


def test_a_connection_that_is_in_no_table_is_nobodys_where_users_can_be_told_apart() -> None:
    assert readers().includes(request(port=1)) == (os.geteuid() != 0)


def test_an_address_that_is_not_in_the_networks_reads_nothing() -> None:
    assert not readers().includes(request("192.0.2.7"))


def test_where_a_token_is_asked_for_it_is_all_that_counts(token_file: Path) -> None:
    asked = readers(metrics_token_file=token_file)
    assert asked.includes(request(authorization=f"Bearer {TOKEN}"))
    assert asked.includes(request(authorization=f"bearer  {TOKEN}"))
    for given in ("", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer x", f"Bearer {TOKEN}x"):
        assert not asked.includes(request(authorization=given))
    assert not asked.includes(request())
    assert not asked.includes(request("192.0.2.7", authorization=f"Bearer {TOKEN}"))


@pytest.mark.parametrize("text", ["", "short", "two words of some length", "a" * 5_000])
def test_a_file_without_a_token_is_refused(token_file: Path, text: str) -> None:
    token_file.write_text(text)
    with pytest.raises(ConfigurationError, match="a token of at least 16 characters"):
        read_token(token_file)


def test_a_token_that_others_may_read_is_refused(token_file: Path) -> None:
    token_file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="Others may read the file"):
        read_token(token_file)


def test_functions_and_databases_do_not_see_the_tokens_file(token_file: Path) -> None:
    regions = frozenset({Region("eu-central-1")})
    config = Config(
        data_dir=Path("data"), host="127.0.0.1", port=1, regions=regions, metrics_token_file=token_file
    )
    assert token_file in config.private_files


@pytest.mark.parametrize(
    ("user", "changes", "expected"),
    [
        (0, {}, []),
        (1000, {}, [READ_BY_CHILDREN]),
        (1000, {"metrics_from": (ipaddress.ip_network("::/0"),)}, [READ_BY_CHILDREN]),
        (1000, {"metrics_from": (ipaddress.ip_network("192.0.2.0/24"),)}, []),
    ],
)
def test_an_operator_is_told_when_functions_read_the_metrics(
    monkeypatch: pytest.MonkeyPatch, token_file: Path, user: int, changes: dict[str, Any], expected: list[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert readers(**changes).left_open() == expected
    token_file.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: token_file.stat().st_uid)
    assert readers(metrics_token_file=token_file, **changes).left_open() == []
