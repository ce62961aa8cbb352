"""Who hears of what: the tables of several areas as one, and what the store itself announces."""

from __future__ import annotations

from datetime import timedelta

from tests.support import NOON, StorePlace
from turnlock.core.arn import AccountId, Region
from turnlock.storage import Unit, outbox
from turnlock.storage.outbox import JobQueued
from turnlock.storage.unit import joined


class One:
    """An event."""


class Other:
    """Another event."""


def first(_unit: Unit, _event: object) -> None:
    """Do nothing, first."""


def second(_unit: Unit, _event: object) -> None:
    """Do nothing, second."""


def test_each_event_is_heard_by_all_who_asked_the_earlier_table_first() -> None:
    assert joined({One: (first,)}, {}, {Other: (first,), One: (second, first)}) == {
        One: (first, second, first),
        Other: (first,),
    }
    assert joined() == {}


def test_a_promise_is_announced_inside_its_transaction(store_place: StorePlace) -> None:
    heard: list[tuple[bool, object]] = []
    database = store_place.open(
        subscribers={JobQueued: (lambda unit, event: heard.append((unit.writes, event)),)}
    )
    due = NOON + timedelta(days=1)

    def work(unit: Unit) -> None:
        outbox.queue(
            unit, AccountId("123456789012"), Region("eu-west-1"), kind="k", sealed_payload=b"", due_at=due
        )

    database.write(work)
    assert heard == [(True, JobQueued(due_at=due))]


def test_a_unit_knows_the_regions_that_are_served(store_place: StorePlace) -> None:
    regions = frozenset({Region("eu-west-1")})
    database = store_place.open(regions=regions)
    assert database.read(lambda unit: unit.regions) == regions
    assert database.write(lambda unit: unit.regions) == regions
