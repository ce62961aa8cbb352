"""Two attempts at one role: a stopped one that wakes up must not overwrite what a later one has set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from turnlock.local_servers import EmbeddedPostgres
from turnlock.rotators import Credential, Refused, Superseded
from turnlock.rotators.engines.postgresql.engine import PostgreSQL

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("environment")]

ENGINE = PostgreSQL()


@pytest.fixture
def credential(server: EmbeddedPostgres, role: str) -> Credential:
    return Credential(
        host="127.0.0.1",
        port=server.port,
        username=role,
        password="old password",
        dbname="postgres",
        tls=False,
    )


def change(credential: Credential, password: str, confirm: Callable[[], None] = lambda: None) -> None:
    with closing(ENGINE.connect(credential, 5)) as connection:
        ENGINE.set_password(connection, credential.username, password, confirm)


def only_accepts(credential: Credential, password: str) -> bool:
    for candidate in ("old password", "late", "newer"):
        try:
            ENGINE.connect(replace(credential, password=candidate), 5).close()
        except Refused:
            if candidate == password:
                return False
        else:
            if candidate != password:
                return False
    return True


LATE = """
import os, signal, sys
from contextlib import closing
from turnlock.rotators import Credential, DatabaseFailed
from turnlock.rotators.engines.postgresql import engine as postgresql, transaction
transaction._LIMITS["idle_in_transaction_session_timeout"] = "500ms"
port, username = int(sys.argv[1]), sys.argv[2]
engine = postgresql.PostgreSQL()
credential = Credential(
    host="127.0.0.1", port=port, username=username, password="old password", dbname="postgres", tls=False
)
with closing(engine.connect(credential, 5)) as connection:
    try:
        engine.set_password(connection, username, "late", lambda: os.kill(os.getpid(), signal.SIGSTOP))
    except DatabaseFailed as error:
        print(error)
        sys.exit(7)
"""


def test_a_function_stopped_after_its_confirmation_loses_its_transaction(credential: Credential) -> None:
    arguments = [sys.executable, "-c", LATE, str(credential.port), credential.username]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as late:
        try:
            _, status = os.waitpid(late.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            change(credential, "newer")  # waits for the lock until the stopped one is thrown out
            assert only_accepts(credential, "newer")
            late.send_signal(signal.SIGCONT)
            output, _ = late.communicate(timeout=20)
        finally:
            late.kill()
    assert late.returncode == 7
    assert "The password change failed" in output
    assert only_accepts(credential, "newer")


def test_a_function_stopped_before_its_confirmation_is_refused_when_it_wakes(credential: Credential) -> None:
    def superseded() -> None:
        raise Superseded

    with closing(ENGINE.connect(credential, 5)) as connection:
        change(credential, "newer")
        with pytest.raises(Superseded):
            ENGINE.set_password(connection, credential.username, "late", superseded)
    assert only_accepts(credential, "newer")


def test_nobody_confirms_while_another_holds_the_role(credential: Credential) -> None:
    first_confirmed, release, second_confirmed = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        first_confirmed.set()
        assert release.wait(60)

    first = threading.Thread(target=change, args=(credential, "late", hold))
    second = threading.Thread(target=change, args=(credential, "newer", second_confirmed.set))
    first.start()
    assert first_confirmed.wait(60)
    second.start()
    try:
        assert not second_confirmed.wait(0.3)
    finally:
        release.set()
        first.join(60)
        second.join(60)
    assert second_confirmed.is_set()
    assert only_accepts(credential, "newer")


def test_roles_do_not_wait_for_each_other(server: EmbeddedPostgres, credential: Credential) -> None:
    def change_another() -> None:
        started = time.monotonic()
        admin = replace(credential, username="postgres", password=server.password)
        change(admin, server.password)
        assert time.monotonic() - started < 5

    change(credential, "newer", change_another)
    assert only_accepts(credential, "newer")


def test_the_time_limits_and_durability_hold_inside_the_change(
    credential: Credential, admin: psycopg.Connection
) -> None:
    admin.execute(
        psycopg.sql.SQL("ALTER ROLE {} SET synchronous_commit = off").format(
            psycopg.sql.Identifier(credential.username)
        )
    )
    with closing(ENGINE.connect(credential, 5)) as connection:
        seen: dict[str, object] = {}

        def look() -> None:
            for name in ("idle_in_transaction_session_timeout", "lock_timeout", "synchronous_commit"):
                row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
                seen[name] = row and row[0]

        ENGINE.set_password(connection, credential.username, "newer", look)
    assert seen == {
        "idle_in_transaction_session_timeout": "10s",
        "lock_timeout": "15s",
        "synchronous_commit": "on",
    }
