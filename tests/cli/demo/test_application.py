"""The demo's application: it keeps a secret, reads it again after a refusal, and counts what it could not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from turnlock.cli.demo import application
from turnlock.cli.demo.application import Application, CachedSecret


class FakeClient:
    """A secret whose password changes when it is told to."""

    def __init__(self) -> None:
        self.reads = 0
        self.password = "first"

    def get_secret_value(self, **_request: str) -> dict[str, str]:
        self.reads += 1
        value = {"host": "h", "port": 1, "username": "app", "password": self.password, "dbname": "d"}
        return {"SecretString": json.dumps(value)}


class Session:
    """One thread's session, which does what it is told."""

    def __init__(self, operate: Callable[[], None]) -> None:
        self.operate = operate
        self.log_outs = 0

    def log_out(self) -> None:
        self.log_outs += 1


def refused_times(count: int) -> Callable[[], None]:
    left = iter(range(count))

    def operate() -> None:
        for _ in left:
            raise psycopg.OperationalError("refused")

    return operate


def attempt(subject: Application, session: Session) -> bool:
    stand_in: Any = session
    return subject._operate(stand_in)


def test_the_secret_is_read_once_and_again_after_a_refusal() -> None:
    client = FakeClient()
    cache = CachedSecret(client, "s")
    first = cache.conninfo()
    assert cache.conninfo() == first
    assert client.reads == 1
    client.password = "second"
    cache.forget(first)
    assert "second" in cache.conninfo()
    assert client.reads == 2


def test_a_refusal_of_what_is_no_longer_kept_forgets_nothing() -> None:
    client = FakeClient()
    cache = CachedSecret(client, "s")
    first = cache.conninfo()
    client.password = "second"
    cache.forget(first)
    second = cache.conninfo()
    cache.forget(first)
    assert cache.conninfo() == second
    assert client.reads == 2


def test_a_refused_operation_is_tried_again_and_counts_as_retries() -> None:
    subject = Application(FakeClient(), "s")
    session = Session(refused_times(3))
    assert attempt(subject, session)
    assert (subject.work.retries, subject.work.failed, session.log_outs) == (3, 0, 3)


def test_an_operation_that_is_refused_for_too_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "PATIENCE", 0.1)
    subject = Application(FakeClient(), "s")
    assert not attempt(subject, Session(refused_times(1000)))
    assert subject.work.failed == 1
