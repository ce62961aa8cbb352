"""Leases: one holder at a time, and numbers that only grow."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import select

from tests.sampling import examples
from tests.storage.notes import make_notes, names, put
from tests.support import StorePlace
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Fence
from turnlock.errors import StaleFence
from turnlock.storage import Database, Unit, leases
from turnlock.storage.schema import database_now

ACCOUNT = AccountId("123456789012")
REGION = Region("eu-central-1")
LONG, OVER = 1000.0, 0.0
"""Seconds of a lease that lasts the whole test, and of one that is over as soon as it is claimed."""

_names = count()


def claim(unit: Unit, name: str, holder: str = "one", seconds: float = LONG) -> Fence | None:
    return leases.claim(unit, ACCOUNT, REGION, name, holder=holder, seconds=seconds)


def claimed(database: Database, name: str, holder: str = "one", seconds: float = LONG) -> Fence:
    fence = database.write(partial(claim, name=name, holder=holder, seconds=seconds))
    assert fence is not None
    return fence


def is_current(unit: Unit, fence: Fence) -> bool:
    try:
        leases.require_current(unit, fence)
    except StaleFence:
        return False
    return True


@dataclass
class Model:
    """The naive second implementation: one lease, whose time is either all before it or already over."""

    newest: int = 0
    running: bool = False
    released: bool = False
    held: list[Fence] = field(default_factory=list)

    def claim(self, *, lasts: bool) -> int | None:
        if self.newest and self.running:
            return None
        self.newest, self.running, self.released = self.newest + 1, lasts, False
        return self.newest

    def renew(self, number: int, *, lasts: bool) -> bool:
        if number != self.newest or self.released:
            return False
        self.running = lasts
        return True

    def release(self, number: int) -> None:
        if number == self.newest:
            self.running, self.released = False, True


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "renew", "release", "check"]),
        st.booleans(),
        st.integers(0, 20),
        st.sampled_from(["one", "other"]),
    ),
    max_size=15,
)


@settings(
    max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(operations=OPERATIONS)
def test_leases_do_as_the_naive_model_does(
    database: Database, operations: list[tuple[str, bool, int, str]]
) -> None:
    name, model = f"lease-{next(_names)}", Model()
    for verb, lasts, which, holder in operations:
        seconds = LONG if lasts else OVER
        if verb == "claim":
            fence = database.write(partial(claim, name=name, holder=holder, seconds=seconds))
            assert (None if fence is None else fence.number) == model.claim(lasts=lasts)
            if fence is not None:
                model.held.append(fence)
            continue
        if not model.held:
            continue
        fence = model.held[which % len(model.held)]
        if verb == "renew":
            assert database.write(partial(leases.renew, fence=fence, seconds=seconds)) == model.renew(
                fence.number, lasts=lasts
            )
        elif verb == "release":
            database.write(partial(leases.release, fence=fence))
            model.release(fence.number)
        assert database.read(partial(is_current, fence=fence)) == (fence.number == model.newest)


def test_a_claim_says_what_was_claimed(database: Database) -> None:
    assert claimed(database, "x") == Fence(account_id=ACCOUNT, region=REGION, lease="x", number=1)


def test_numbers_grow_over_release_expiry_and_holders(database: Database) -> None:
    numbers = []
    for holder, seconds, release in (("one", LONG, True), ("one", OVER, False), ("other", LONG, True)) * 3:
        fence = claimed(database, "x", holder, seconds)
        numbers.append(fence.number)
        if release:
            database.write(partial(leases.release, fence=fence))
    assert numbers == list(range(1, 10))


def test_leases_of_other_names_regions_and_accounts_are_others(database: Database) -> None:
    fence = claimed(database, "x")
    for account, region, name in (
        (ACCOUNT, REGION, "y"),
        (ACCOUNT, Region("us-east-1"), "x"),
        (AccountId("210987654321"), REGION, "x"),
    ):
        other = database.write(
            partial(leases.claim, account_id=account, region=region, name=name, holder="b", seconds=LONG)
        )
        assert other is not None
        assert other.number == 1
        database.write(partial(leases.release, fence=other))
    assert database.read(partial(is_current, fence=fence))


def test_a_lease_runs_out_on_the_databases_clock(store_place: StorePlace) -> None:
    database = store_place.open()
    before = time.monotonic()
    first = claimed(database, "x", "one", 1.0)
    early = database.write(partial(claim, name="x", holder="other"))
    assert early is None or time.monotonic() - before >= 0.99, "a busy machine may ask late"
    while (second := early or database.write(partial(claim, name="x", holder="other"))) is None:
        assert time.monotonic() - before < 60
        time.sleep(0.02)
    assert time.monotonic() - before >= 0.99
    assert second.number == first.number + 1


def test_renewing_keeps_others_away_for_longer(database: Database) -> None:
    fence = claimed(database, "x", "one", OVER)
    assert database.write(partial(leases.renew, fence=fence, seconds=LONG))
    assert database.write(partial(claim, name="x", holder="other")) is None


def test_a_heartbeat_after_the_release_does_not_take_the_lease_back(database: Database) -> None:
    fence = claimed(database, "x")
    database.write(partial(leases.release, fence=fence))
    assert not database.write(partial(leases.renew, fence=fence, seconds=LONG))
    assert claimed(database, "x", "other").number == 2


def test_the_change_of_a_stale_holder_is_undone(store_place: StorePlace) -> None:
    database = make_notes(store_place.open())
    stale = claimed(database, "x", "one", OVER)
    current = claimed(database, "x", "other")

    def change(unit: Unit, fence: Fence) -> None:
        put(f"by-{fence.number}-{fence.lease}")(unit)
        leases.require_current(unit, fence)

    with pytest.raises(StaleFence):
        database.write(partial(change, fence=stale))
    database.write(partial(change, fence=current))
    assert names(database) == ["by-2-x"]
    for unheard in (replace(current, number=3), replace(current, lease="y"), replace(current, number=0)):
        with pytest.raises(StaleFence):
            database.write(partial(change, fence=unheard))


def test_a_holder_whose_time_is_over_but_whom_nobody_followed_is_current(database: Database) -> None:
    fence = claimed(database, "x", "one", OVER)
    assert database.read(partial(is_current, fence=fence))


def test_a_check_that_raced_with_a_claim_is_undone(store_place: StorePlace) -> None:
    """The stale holder checks first, the new one claims while the change is still open: only one order can stand."""
    nodes = [make_notes(store_place.open()), store_place.open()]
    stale = claimed(nodes[0], "x", "one", OVER)
    inside, go = threading.Event(), threading.Event()

    def change(unit: Unit) -> None:
        leases.require_current(unit, stale)
        inside.set()
        go.wait(1)
        put("stale")(unit)

    changing = nodes[0].submit(change)
    assert inside.wait(60)
    claiming = nodes[1].submit(partial(claim, name="x", holder="other"))
    time.sleep(0.05)
    go.set()
    changed = not isinstance(changing.exception(20), StaleFence)
    fence = claiming.result(20)
    assert fence is not None
    assert fence.number == 2
    assert names(nodes[1]) == (["stale"] if changed else [])
    with pytest.raises(StaleFence):
        nodes[0].write(partial(leases.require_current, fence=stale))


def test_of_nodes_that_race_for_a_lease_exactly_one_wins(store_place: StorePlace) -> None:
    nodes = [store_place.open() for _ in range(2)]
    together = threading.Barrier(4)
    won: list[tuple[int, Fence | None]] = []

    def race(holder: int) -> None:
        for number in range(5):
            together.wait(60)
            fence = nodes[holder % 2].write(partial(claim, name=f"x-{number}", holder=f"{holder}"))
            won.append((number, fence))

    threads = [threading.Thread(target=race, args=(holder,)) for holder in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 20
    assert sorted((number, fence.number) for number, fence in won if fence) == [(n, 1) for n in range(5)]


def test_a_forgotten_lease_is_nobodys(database: Database) -> None:
    fence = claimed(database, "x")
    database.write(partial(leases.forget, account_id=ACCOUNT, region=REGION, name="x"))
    assert not database.read(partial(is_current, fence=fence))


def test_the_databases_clock_is_the_time(database: Database) -> None:
    def now(unit: Unit) -> int:
        return int(unit.connection.execute(select(database_now())).scalar_one())

    before = time.time()
    seen = [database.read(now), database.write(now)]
    after = time.time()
    assert before - 0.01 <= seen[0] / 1e6 <= seen[1] / 1e6 <= after + 0.01
