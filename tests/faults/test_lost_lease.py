"""A server that cannot renew its lease kills its function, even while its store gives no answer at all."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psycopg
import pytest

from tests.faults.conductor import Moment
from tests.faults.scene import Scene, postgresql_scene
from tests.processes import family, wait_until
from tests.rotated import (
    begin_rotation,
    create_secret,
    labelled_values,
    new_role,
    new_token,
    require_way_in,
    rotate,
)
from turnlock.rotators.engines.postgresql.engine import _lock_key

pytestmark = [pytest.mark.slow, pytest.mark.engine]

_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with postgresql_scene(tmp_path_factory.mktemp("lost-lease")) as scene:
        yield scene


def test_a_function_is_killed_when_the_store_is_silent_past_the_lease(scene: Scene) -> None:
    assert scene.store is not None
    role = new_role(scene.rotated)
    client = scene.client()
    arn = create_secret(client, role)
    rotate(client, arn)
    (function,) = scene.server.functions()
    token = new_token()
    store = family(scene.store.pid)
    with psycopg.connect(scene.rotated.admin_url(driver=None), autocommit=True) as blocker:
        # setSecret waits for this lock, and so goes on for longer than the lease lasts.
        blocker.execute("SELECT pg_advisory_lock(%s::bigint)", (_lock_key(role.name),))
        with scene.conductor.hold(Moment(moment="decided", step="setSecret", token=token)) as hold:
            begun = begin_rotation(client, arn, token)
            hold.await_arrival()
        # What the server still asks its store before it invokes the function is over when the function waits.
        wait_until(lambda: blocker.execute(_WAITING).fetchone() == (1,), 60, "setSecret at the lock")
        try:
            for process in store:
                process.signal(signal.SIGSTOP)
            wait_until(lambda: not function.alive, 60, "the end of the function")
        finally:
            for process in store:
                process.signal(signal.SIGCONT)
    begun.await_end(client)
    require_way_in(role, lambda: labelled_values(client, arn))
    assert role.accepts(labelled_values(client, arn)["AWSCURRENT"])
