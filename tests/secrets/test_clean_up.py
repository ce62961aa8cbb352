"""Which versions go when there are too many, against a second, slower way to say it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from tests.calling import ACCOUNT, REGION, Client, token
from tests.support import NOON
from turnlock.errors import LimitExceededException
from turnlock.secrets import SecretReference, find_secret, put_placeholder
from turnlock.secrets.labels.clean_up import outdated
from turnlock.secrets.model import MOST_VERSIONS
from turnlock.storage import Unit
from turnlock.trail.store import trail_records

DAY = timedelta(hours=24)


@given(
    ages=st.lists(st.integers(0, 72), min_size=MOST_VERSIONS - 2, max_size=MOST_VERSIONS + 20),
    labelled=st.sets(st.integers(0, MOST_VERSIONS + 20), max_size=20),
)
def test_the_oldest_that_may_go_do_go_and_no_more(ages: list[int], labelled: set[int]) -> None:
    ages.sort(reverse=True)
    versions = [(str(number), NOON - timedelta(hours=age)) for number, age in enumerate(ages)]
    names = {str(number) for number in labelled}
    assert outdated(versions, names, now=NOON) == naive(versions, names)


def test_a_version_of_exactly_a_day_stays_and_one_a_microsecond_older_goes() -> None:
    """API reference, PutSecretValue: none that was created less than 24 hours ago is removed; at 24 hours sharp it stays too."""
    young = [(str(number), NOON) for number in range(MOST_VERSIONS)]
    instant = timedelta(microseconds=1)
    for age, gone in ((DAY, []), (DAY + instant, ["old"]), (DAY - instant, [])):
        assert outdated([("old", NOON - age), *young], frozenset(), now=NOON) == gone
    assert outdated([("old", NOON - 2 * DAY), *young[1:]], frozenset(), now=NOON) == []  # not too many


def test_a_version_with_a_label_stays_however_old_it_is() -> None:
    young = [(str(number), NOON) for number in range(MOST_VERSIONS - 1)]
    old = [("older", NOON - 3 * DAY), ("old", NOON - 2 * DAY)]
    assert outdated([*old, *young], {"older"}, now=NOON) == ["old"]
    assert outdated([*old, *young], {"older", "old"}, now=NOON) == []
    assert outdated([*old, *young], {"old"}, now=NOON) == ["older"]


def naive(versions: list[tuple[str, datetime]], labelled: set[str]) -> list[str]:
    """Take away one version at a time for as long as that is needed and possible."""
    left, gone = list(versions), []
    while len(left) > MOST_VERSIONS:
        removable = [one for one in left if one[0] not in labelled and one[1] < NOON - DAY]
        if not removable:
            break
        left.remove(removable[0])
        gone.append(removable[0][0])
    return gone


def fill(client: Client, count: int) -> None:
    client("CreateSecret", Name="db", SecretString="v0", ClientRequestToken=token(0))
    for number in range(1, count):
        client("PutSecretValue", SecretId="db", SecretString="v", ClientRequestToken=token(number))


def deletions(client: Client) -> list[str]:
    statement = select(trail_records.c.body).where(trail_records.c.event_name == "SecretVersionDeletion")
    rows = client.database.read(lambda unit: unit.connection.execute(statement).scalars().all())
    return [bytes(row).decode() for row in rows]


def test_updates_shed_the_oldest_with_an_event_each(client: Client) -> None:
    fill(client, MOST_VERSIONS)
    client.clock.advance(DAY + timedelta(microseconds=1))
    client("UpdateSecret", SecretId="db", SecretString="new", ClientRequestToken=token(500))
    listed = client("ListSecretVersionIds", SecretId="db", IncludeDeprecated=True)["Versions"]
    left = {one["VersionId"] for one in listed}
    assert left == {token(500), *(token(number) for number in range(1, MOST_VERSIONS))}
    (event,) = deletions(client)
    assert token(0) in event
    assert '"eventType":"AwsServiceEvent"' in event


def test_one_version_more_than_there_may_be_is_refused_where_none_can_go(client: Client) -> None:
    fill(client, MOST_VERSIONS)
    with pytest.raises(LimitExceededException):
        client("PutSecretValue", SecretId="db", SecretString="v", ClientRequestToken=token(500))
    assert deletions(client) == []


def test_a_rotation_begins_also_where_nothing_can_go(client: Client) -> None:
    fill(client, MOST_VERSIONS)

    def pend(unit: Unit) -> None:
        secret = find_secret(unit, SecretReference(account_id=ACCOUNT, region=REGION, name="db", suffix=None))
        assert secret is not None
        put_placeholder(unit, secret, token(900))

    client.database.write(pend)
    assert token(900) in client("DescribeSecret", SecretId="db")["VersionIdsToStages"]
    assert deletions(client) == []
