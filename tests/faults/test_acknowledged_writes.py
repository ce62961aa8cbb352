"""SIGKILL under load: what was acknowledged is there, once, and on the record; what was not is wholly there or not at all."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests import proofs
from tests.faults import evidence
from tests.processes import Client, ServerProcess
from tests.rotated import new_token

pytestmark = pytest.mark.slow

KILLS = 50 if proofs.FULL else 3
THREADS = 4
LOAD_SECONDS = (0.3, 1.5)
"""A server is killed at a random moment of this time."""


@dataclass(kw_only=True)
class Acknowledged:
    """What clients were told had been done."""

    values: dict[tuple[str, str], str] = field(default_factory=dict)
    """The value of each version, by the secret's name and the version's id."""
    requests: set[str] = field(default_factory=set)
    """The ids of all requests that were answered."""
    asked: set[tuple[str, str]] = field(default_factory=set)
    """The versions that anybody has asked for, acknowledged or not."""


class Writers:
    """Threads that make secrets, put values into them and read them, until the server is gone."""

    def __init__(self, client: Client, done: Acknowledged, names: Iterator[int]) -> None:
        self._client = client
        self._done = done
        self._names = names
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, name=f"writer-{n}") for n in range(THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until every thread has found that the server is gone."""
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _write(self) -> None:
        try:
            while True:
                self._one_secret(f"load/{next(self._names)}")
        except (BotoCoreError, ClientError):
            return

    def _one_secret(self, name: str) -> None:
        token = self._ask(name)
        answer = self._client.create_secret(Name=name, ClientRequestToken=token, SecretString=token[::-1])
        self._acknowledge(name, token, answer)
        for _ in range(3):
            token = self._ask(name)
            answer = self._client.put_secret_value(
                SecretId=name, ClientRequestToken=token, SecretString=token[::-1]
            )
            self._acknowledge(name, token, answer)
            self._acknowledge(name, token, self._client.get_secret_value(SecretId=name))

    def _ask(self, name: str) -> str:
        token = new_token()
        with self._lock:
            self._done.asked.add((name, token))
        return token

    def _acknowledge(self, name: str, token: str, answer: dict[str, Any]) -> None:
        with self._lock:
            self._done.values[name, token] = token[::-1]
            self._done.requests.add(answer["ResponseMetadata"]["RequestId"])


def require_kept(server: ServerProcess, done: Acknowledged) -> None:
    """Fail unless the store holds what was acknowledged, nothing twice, and a record of each change and each answer."""
    stored = evidence.versions(server)
    kept = [(name, token) for name, tokens in stored.items() for token in tokens]
    assert len(kept) == len(set(kept))
    assert done.values.keys() <= set(kept) <= done.asked
    records = evidence.records(server)
    counted = Counter(record["requestID"] for record in records)
    assert {counted[request] for request in done.requests} == {1}, "an answer without its record, or with two"
    changes = Counter(
        (record["requestParameters"].get("name") or record["responseElements"]["name"], token)
        for record in records
        if record["eventName"] in {"CreateSecret", "PutSecretValue"} and "errorCode" not in record
        for token in [record["requestParameters"]["clientRequestToken"]]
    )
    assert changes == Counter(kept), "a change without its record, or a record without its change"


def require_readable(client: Client, done: Acknowledged) -> None:
    for name, token in random.Random(proofs.SEED).sample(sorted(done.values), 25):
        answer = client.get_secret_value(SecretId=name, VersionId=token)
        assert answer["SecretString"] == done.values[name, token]


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_what_was_acknowledged_before_a_kill_is_kept_once_and_recorded(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = None if store == "sqlite" else request.getfixturevalue("empty_postgresql_url")
    dice = random.Random(f"{proofs.SEED} {store}")
    done, names = Acknowledged(), itertools.count(1)
    with ServerProcess(tmp_path / "turnlock", database=url) as server:
        for _ in range(KILLS):
            writers = Writers(server.client(), done, names)
            writers.start()
            time.sleep(dice.uniform(*LOAD_SECONDS))
            server.kill()
            writers.join()
            require_kept(server, done)
            server.start()
        require_readable(server.client(), done)
    proofs.record(
        "acknowledged writes",
        store,
        kills=KILLS,
        versions=len(done.values),
        answers=len(done.requests),
        unanswered=len(done.asked) - len(done.values),
    )
