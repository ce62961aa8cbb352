"""`/metrics` of a running server: whichever worker is asked, what all of them did, and nothing of what they hold."""

from __future__ import annotations

import os
import subprocess
import sys
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


def scrape(port: int) -> tuple[str, Found]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=")
        text: bytes = answer.read()
    return text.decode(), Found(text)


def counted(found: Found, operation: str, code: str) -> float:
    return found.of("requests_total", "secretsmanager", operation, code)


def test_the_requests_of_all_workers_are_counted_and_told_by_any(served: Served) -> None:
    before = scrape(served.process.port)[1]
    for number in range(6):
        client = served.client()  # a connection of its own, so that each worker gets some
        client.create_secret(Name=f"counted-{number}", SecretString="planted-value-7261")
        client.get_secret_value(SecretId=f"counted-{number}")
        with pytest.raises(ClientError, match="ResourceNotFound"):
            client.get_secret_value(SecretId=f"planted-name-{number}")
    with pytest.raises(ClientError, match="UnrecognizedClient"):
        served.client(AWS_ACCESS_KEY_ID="AKIAPLANTEDKEYID0000", AWS_SECRET_ACCESS_KEY="x").list_secrets()

    def told() -> bool:
        text, found = scrape(served.process.port)
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
        assert counted(scrape(server.port)[1], "ListSecrets", "OK") == 0


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


READ_AS = """
import os, sys, urllib.error, urllib.request
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
try:
    print(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/metrics", timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def status_for(uid: int, port: int) -> int:
    words = [sys.executable, "-I", "-c", READ_AS, str(uid), str(port)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    return int(done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives functions users of their own")
def test_what_runs_here_for_others_reads_no_metrics_where_the_server_is_root(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "turnlock") as server:
        assert [status_for(uid, server.port) for uid in (0, 65_534, 0x6FFF_FFFF)] == [200, 200, 200]
        assert [status_for(uid, server.port) for uid in (0x7000_0000, 0x7000_1234, 0x7100_0000)] == [
            400,
            400,
            400,
        ]


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
