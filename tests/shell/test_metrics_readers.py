"""Who may read the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from turnlock.config import Config
from turnlock.core.arn import Region
from turnlock.errors import ConfigurationError
from turnlock.shell.metrics_readers import MetricsReaders, make_token, read_token
from turnlock.wire import HttpRequest

TOKEN = "a-token-of-some-length"


def readers(data_dir: Path, **changes: Any) -> MetricsReaders:
    return MetricsReaders(config(data_dir, **changes))


def config(data_dir: Path, **changes: Any) -> Config:
    regions = frozenset({Region("eu-central-1")})
    return Config(data_dir=data_dir, host="127.0.0.1", port=1, regions=regions, **changes)


def request(source_ip: str = "127.0.0.1", **headers: str) -> HttpRequest:
    return HttpRequest(method="GET", path="/metrics", source_ip=source_ip, headers=tuple(headers.items()))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(f"{TOKEN}\n")
    return path


def test_the_token_is_all_that_counts_from_the_networks(tmp_path: Path, token_file: Path) -> None:
    asked = readers(tmp_path, metrics_token_file=token_file)
    assert asked.includes(request(authorization=f"Bearer {TOKEN}"))
    assert asked.includes(request(authorization=f"bearer  {TOKEN}"))
    for given in ("", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer x", f"Bearer {TOKEN}x"):
        assert not asked.includes(request(authorization=given))
    assert not asked.includes(request())
    assert not asked.includes(request("192.0.2.7", authorization=f"Bearer {TOKEN}"))


def test_where_none_is_given_a_token_is_drawn_once_for_the_servers_user_alone(tmp_path: Path) -> None:
    """Without one, functions and local databases of a server that is not root read the metrics."""
    file = tmp_path / "metrics-token"
    make_token(config(tmp_path))
    drawn = file.read_text().strip()
    assert (file.stat().st_mode & 0o777, len(drawn)) == (0o600, 43)
    make_token(config(tmp_path))
    assert file.read_text().strip() == drawn
    assert readers(tmp_path).includes(request(authorization=f"Bearer {drawn}"))
    assert not readers(tmp_path).includes(request())


def test_where_one_is_given_none_is_drawn(tmp_path: Path, token_file: Path) -> None:
    make_token(config(tmp_path, metrics_token_file=token_file))
    assert list(tmp_path.iterdir()) == [token_file]


def test_a_server_without_its_token_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        readers(tmp_path)


@pytest.mark.parametrize("text", ["", "short", "two words of some length", "a" * 5_000])
def test_a_file_without_a_token_is_refused(token_file: Path, text: str) -> None:
    token_file.write_text(text)
    with pytest.raises(ConfigurationError, match="a token of at least 16 characters"):
        read_token(token_file)


def test_a_token_that_others_may_read_is_refused(token_file: Path) -> None:
    token_file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="Others may read the file"):
        read_token(token_file)


def test_functions_and_databases_do_not_see_the_tokens_file(tmp_path: Path, token_file: Path) -> None:
    assert token_file in config(tmp_path, metrics_token_file=token_file).private_files
    assert config(tmp_path).metrics_token.parent in config(tmp_path).private_files
