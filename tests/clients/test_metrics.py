"""`/metrics` of a running server: whichever worker is asked, what all of them did, and nothing of what they hold."""

from __future__ import annotations

from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

from tests.clients.conftest import Served
from tests.processes import ServerProcess, wait_until
from tests.shell.test_metrics import Found

pytestmark = pytest.mark.slow


def scrape(server: ServerProcess) -> tuple[str, Found]:
    with server.metrics() as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=")
        text: bytes = answer.read()
    return text.decode(), Found(text)


def counted(found: Found, operation: str, code: str) -> float:
    return found.of("requests_total", "secretsmanager", operation, code)


def test_the_requests_of_all_workers_are_counted_and_told_by_any(served: Served) -> None:
    before = scrape(served.process)[1]
    for number in range(6):
        client = served.client()  # a connection of its own, so that each worker gets some
        client.create_secret(Name=f"counted-{number}", SecretString="planted-value-7261")
        client.get_secret_value(SecretId=f"counted-{number}")
        with pytest.raises(ClientError, match="ResourceNotFound"):
            client.get_secret_value(SecretId=f"planted-name-{number}")
    with pytest.raises(ClientError, match="UnrecognizedClient"):
        served.client(AWS_ACCESS_KEY_ID="AKIAPLANTEDKEYID0000", AWS_SECRET_ACCESS_KEY="x").list_secrets()

    def told() -> bool:
        text, found = scrape(served.process)
        for planted in ("planted-value", "planted-name", "AKIAPLANTED", "counted-", "123456789012"):
            assert planted not in text
        return (
            all(
                counted(found, operation, code) - counted(before, operation, code) == 6
                for operation, code in (
                    ("CreateSecret", "OK"),
                    ("GetSecretValue", "OK"),
                    ("GetSecretValue", "ResourceNotFoundException"),
                )
            )
            and found.of("refused_requests_total", "UnrecognizedClientException") >= 1
            and found.of("request_seconds_count", "secretsmanager", "CreateSecret") >= 6
            and found.of("journal_records_total") >= 12
            and 1 <= found.of("journal_groups_total") <= found.of("journal_records_total")
            and found.of("outbox_jobs", "due") == 0
        )

    for _ in range(4):  # whichever worker is asked
        wait_until(told, 60, "every worker's counts", tick=0.2)


def test_a_server_that_starts_again_counts_from_nothing(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "turnlock") as server:
        server.client().list_secrets()
        wait_until(lambda: list((tmp_path / "turnlock" / "metrics").iterdir()), 60, "kept counts")
        server.kill()
        server.start()
        assert counted(scrape(server)[1], "ListSecrets", "OK") == 0


def test_who_is_not_in_the_networks_gets_what_any_unsigned_request_gets(tmp_path: Path) -> None:
    options = ("--metrics-from", "192.0.2.0/24,::1")
    with ServerProcess(tmp_path / "turnlock", options=options) as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        answers = []
        for path in ("/metrics", "/nothing"):
            connection.request("GET", path)
            response = connection.getresponse()
            answers.append((response.status, response.read()))
        connection.close()
    assert answers[0] == answers[1]
    assert answers[0][0] == 400


def test_without_the_token_nobody_reads_them(tmp_path: Path) -> None:
    """Functions and local databases are on loopback too, and have the server's user where it is not root."""
    with ServerProcess(tmp_path / "turnlock") as server:
        for headers in ({}, {"Authorization": "Bearer a-token-of-some-length"}):
            with pytest.raises(HTTPError, match="400"):
                urlopen(Request(f"http://127.0.0.1:{server.port}/metrics", headers=headers), timeout=30)
        assert scrape(server)[0]


def test_with_a_token_file_every_reader_has_to_show_the_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("a-token-of-some-length\n")
    with ServerProcess(tmp_path / "turnlock", options=("--metrics-token-file", str(token))) as server:
        address = f"http://127.0.0.1:{server.port}/metrics"
        with pytest.raises(HTTPError, match="400"):
            urlopen(address, timeout=30)
        asked = Request(address, headers={"Authorization": "Bearer a-token-of-some-length"})
        with urlopen(asked, timeout=30) as answer:
            assert answer.status == 200
