"""Keeping leases: renewed while all is well, lost in time when it is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from sqlalchemy import select
from structlog.typing import EventDict

from tests.calling import ACCOUNT, REGION
from tests.rotation.hosted import wait_until
from turnlock.core.call import Fence
from turnlock.errors import StoreError
from turnlock.rotation.runner.keeper import Hold, LeaseKeeper
from turnlock.storage import Database, Unit, leases

T = TypeVar("T")
SECONDS = 0.6
LONG = 4.0
"""The length of a lease that must not run out while a busy machine lets a renewal wait."""


class Fickle:
    """A store that can be told to refuse its writes, or to keep them waiting."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.refusing = False
        self.open = threading.Event()
        self.open.set()
        self.asked = 0

    def write(self, work: Callable[[Unit], T]) -> T:
        self.asked += 1
        if self.refusing:
            raise StoreError
        self.open.wait(60)
        return self._database.write(work)


@pytest.fixture
def fickle(database: Database) -> Iterator[Fickle]:
    fickle = Fickle(database)
    yield fickle
    fickle.open.set()


def keeping(fickle: Fickle, seconds: float) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(fickle, seconds=seconds)  # type: ignore[arg-type]  # only `write` is asked for
    yield keeper
    fickle.open.set()
    keeper.close()


@pytest.fixture
def keeper(fickle: Fickle) -> Iterator[LeaseKeeper]:
    """A keeper of leases that are SECONDS long."""
    yield from keeping(fickle, SECONDS)


@pytest.fixture
def patient(fickle: Fickle) -> Iterator[LeaseKeeper]:
    """A keeper of leases that are LONG."""
    yield from keeping(fickle, LONG)


class Monotonic:
    """A clock that stands still between `advance`s, and counts who looks at it."""

    def __init__(self) -> None:
        self._now = 1_000.0
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self._now

    def advance(self, seconds: float) -> None:
        """Go on, and wait until the keeper has looked some times."""
        self._now += seconds
        before = self.looks
        wait_until(lambda: self.looks >= before + 4)


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    clock = Monotonic()
    monkeypatch.setattr("turnlock.rotation.runner.keeper.time", clock)
    return clock


def claim(
    database: Database, name: str = "one", holder: str = "me", seconds: float = SECONDS
) -> Fence | None:
    return database.write(
        lambda unit: leases.claim(unit, ACCOUNT, REGION, name, holder=holder, seconds=seconds)
    )


def kept(keeper: LeaseKeeper, database: Database, name: str = "one", seconds: float = SECONDS) -> Hold:
    asked_at = time.monotonic()
    fence = claim(database, name, seconds=seconds)
    assert fence is not None
    return keeper.keep(fence, asked_at=asked_at)


def expires_at(database: Database) -> int:
    return int(
        database.read(lambda unit: unit.connection.execute(select(leases.leases.c.expires_at)).scalar_one())
    )


@pytest.mark.slow
def test_a_kept_lease_outlives_its_length(patient: LeaseKeeper, database: Database) -> None:
    hold = kept(patient, database, seconds=LONG)
    time.sleep(1.5 * LONG)
    assert not hold.lost.is_set()
    assert claim(database, holder="another") is None


def test_a_lease_that_was_let_go_of_is_free_at_once(keeper: LeaseKeeper, database: Database) -> None:
    hold = kept(keeper, database)
    keeper.let_go(hold)
    assert claim(database, holder="another") is not None


def test_a_lease_that_was_left_runs_out(keeper: LeaseKeeper, database: Database) -> None:
    keeper.leave(kept(keeper, database))
    wait_until(lambda: claim(database, holder="another"))


def test_a_lease_that_another_took_is_lost(keeper: LeaseKeeper, database: Database) -> None:
    hold = kept(keeper, database)
    database.write(lambda unit: leases.release(unit, hold.fence))
    assert claim(database, holder="another") is not None
    wait_until(hold.lost.is_set)


@pytest.mark.parametrize("hangs", [False, True], ids=["a store that refuses", "a store that hangs"])
def test_what_cannot_be_renewed_is_lost_before_another_can_have_it(
    keeper: LeaseKeeper, database: Database, fickle: Fickle, monotonic: Monotonic, hangs: bool
) -> None:
    fickle.refusing = not hangs
    (fickle.open.clear if hangs else fickle.open.set)()
    fence = claim(database)
    assert fence is not None
    hold = keeper.keep(fence, asked_at=monotonic.monotonic())
    monotonic.advance(0.84 * SECONDS)
    assert not hold.lost.is_set()
    monotonic.advance(0.02 * SECONDS)
    wait_until(hold.lost.is_set)


def test_a_lease_that_was_never_renewed_counts_from_before_it_was_asked_for(
    keeper: LeaseKeeper, database: Database, fickle: Fickle, monotonic: Monotonic
) -> None:
    fence = claim(database)
    assert fence is not None
    fickle.refusing = True
    hold = keeper.keep(fence, asked_at=monotonic.monotonic() - 0.84 * SECONDS)
    monotonic.advance(0)
    assert not hold.lost.is_set()
    monotonic.advance(0.02 * SECONDS)
    wait_until(hold.lost.is_set)


def test_renewing_goes_on_once_the_store_answers_again(
    patient: LeaseKeeper, database: Database, fickle: Fickle, logs: list[EventDict]
) -> None:
    kept(patient, database, seconds=LONG)
    fickle.refusing = True
    wait_until(lambda: any(line.get("action") == "leases_not_renewed" for line in logs))
    fickle.refusing = False
    before = expires_at(database)
    wait_until(lambda: expires_at(database) > before)


def test_a_release_that_fails_is_no_error(
    keeper: LeaseKeeper, database: Database, fickle: Fickle, logs: list[EventDict]
) -> None:
    hold = kept(keeper, database)
    fickle.refusing = True
    keeper.let_go(hold)
    assert [line["action"] for line in logs] == ["lease_kept"]


def test_closing_loses_what_is_held_and_what_is_claimed_meanwhile(
    keeper: LeaseKeeper, database: Database
) -> None:
    hold = kept(keeper, database)
    keeper.lose_all()
    assert hold.lost.is_set()
    assert kept(keeper, database, "two").lost.is_set()


def test_closing_does_not_wait_for_a_store_that_hangs(
    keeper: LeaseKeeper, database: Database, fickle: Fickle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnlock.rotation.runner.keeper._CLOSE_SECONDS", 0.2)
    kept(keeper, database)
    fickle.open.clear()
    before = fickle.asked
    wait_until(lambda: fickle.asked > before)
    began = time.monotonic()
    keeper.close()
    assert time.monotonic() - began < 20
