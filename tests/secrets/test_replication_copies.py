"""How copies are made: repeated, late, out of order, interrupted, by two nodes; the replica ends as its primary is."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from tests.calling import Client, token
from tests.secrets.replicated import (
    AWAY,
    HOME,
    JOBS,
    REGIONS,
    Deployment,
    picture,
    replicas,
    run,
    secret_in,
    status,
)
from tests.support import SettableClock, StorePlace
from turnlock import secrets
from turnlock.core.arn import AccountId, Region
from turnlock.errors import ApiError, InvalidParameterException
from turnlock.secrets import REPLICATE, replicate
from turnlock.secrets.model import AWSCURRENT
from turnlock.secrets.policy.store import find_policy, save_policy
from turnlock.secrets.replication.delivery import reconcile
from turnlock.secrets.replication.store import (
    Replica,
    ReplicaLink,
    ReplicaStatus,
    Snapshot,
    find_replica,
    insert_replica,
    update_replica,
)
from turnlock.secrets.tables import secret_versions
from turnlock.storage import Unit, metadata
from turnlock.storage.outbox import Deliverer

MARKER = "plaintext-marker-7f3a"


@pytest.fixture
def arn(here: Deployment, home: Client) -> str:
    """A secret `db` in sync with its replica in AWAY."""
    made = home(
        "CreateSecret",
        Name="db",
        SecretString=MARKER,
        AddReplicaRegions=replicas(AWAY),
        ClientRequestToken=token(),
    )
    here.deliver()
    here.clock.advance(timedelta(minutes=1))
    return str(made["ARN"])


def put(client: Client, number: int, name: str = "db") -> None:
    """Put the value `v<number>` under the token of that number."""
    client("PutSecretValue", SecretId=name, SecretString=f"v{number}", ClientRequestToken=token(number))


def test_quick_changes_become_one_copy(here: Deployment, arn: str, home: Client, away: Client) -> None:
    for number in range(1, 6):
        put(home, number)
    assert len(here.promised()) == 1
    here.deliver()
    assert here.promised() == []
    assert here.events()[2:] == ["ReplicationStarted", "ReplicationSucceeded"]
    assert picture(away) == picture(home)


def test_a_job_that_is_carried_out_again_changes_nothing(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    put(home, 1)
    (job,) = here.promised()
    run(here, job)
    rows, events = everything(here), here.events()
    run(here, job)
    here.deliver()
    assert (everything(here)["secrets"], here.events()) == (rows["secrets"], events)
    assert everything(here)["secret_versions"] == rows["secret_versions"]
    assert picture(away) == picture(home)


def test_an_older_job_never_brings_back_older_state(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    put(home, 1)
    (older,) = here.promised()
    here.deliver()
    put(home, 2)
    here.deliver()
    run(here, older)
    assert away("GetSecretValue", SecretId="db")["SecretString"] == "v2"
    assert picture(away) == picture(home)


def test_newer_state_of_a_replica_is_not_overwritten(here: Deployment, arn: str) -> None:
    def work(unit: Unit) -> Replica | None:
        primary = secret_in(unit, HOME)
        old = find_replica(unit, primary, AWAY)
        assert old is not None
        update_replica(unit, primary, old.behind(), was=old)
        update_replica(unit, primary, old.refused("too late"), was=old)
        return find_replica(unit, primary, AWAY)

    now = here.database.write(work)
    assert now is not None
    assert (now.status, now.message) == (ReplicaStatus.IN_PROGRESS, None)


def test_a_crash_between_the_copy_and_its_status_leaves_neither(
    here: Deployment, home: Client, away: Client
) -> None:
    home(
        "CreateSecret",
        Name="db",
        SecretString="v",
        AddReplicaRegions=replicas(AWAY),
        ClientRequestToken=token(),
    )

    def dying(unit: Unit, account_id: AccountId, region: Region, payload: bytes) -> None:
        replicate(unit, account_id, region, payload)
        raise RuntimeError("the power went")

    with capture_logs() as logged:
        Deliverer(here.database, {**JOBS, REPLICATE: dying}, "one").tick()
    assert [entry["action"] for entry in logged] == ["outbox_failed"]
    assert status(home) == {AWAY: "InProgress"}
    with pytest.raises(ApiError):
        away("DescribeSecret", SecretId="db")
    here.clock.advance(timedelta(seconds=2))
    here.deliver()
    assert status(home) == {AWAY: "InSync"}
    assert picture(away) == picture(home)


class Elsewhere:
    """A target that keeps what it is given at once, whatever becomes of the transaction: another deployment."""

    def __init__(self) -> None:
        self.generation = 0
        self.values: dict[str, bytes | None] = {}
        self.labels: Mapping[str, str] = {}
        self.writes = 0

    def write(self, snapshot: Snapshot) -> None:
        self.writes += 1
        if snapshot.replica.generation < self.generation:
            return
        self.generation = snapshot.replica.generation
        self.values = {head.version_id: snapshot.open(head.version_id) for head in snapshot.versions}
        self.labels = snapshot.primary.labels

    def remove(self, link: ReplicaLink) -> None:
        self.values = {}


def link_of(unit: Unit) -> ReplicaLink:
    return ReplicaLink.of(secret_in(unit, HOME), AWAY)


def test_a_target_outside_the_transaction_gets_the_copy_again_after_a_crash(
    here: Deployment, arn: str, home: Client
) -> None:
    target = Elsewhere()

    def crash(unit: Unit) -> None:
        reconcile(unit, link_of(unit), target)
        raise RuntimeError("the power went")

    put(home, 1)
    with pytest.raises(RuntimeError):
        here.database.write(crash)
    first = target.generation
    assert status(home) == {AWAY: "InProgress"}
    put(home, 2)
    for _ in range(2):
        here.database.write(lambda unit: reconcile(unit, link_of(unit), target))
    assert status(home) == {AWAY: "InSync"}
    assert target.generation > first
    assert target.writes == 2
    assert target.values == {token(): MARKER.encode(), token(1): b"v1", token(2): b"v2"}
    assert target.labels[AWSCURRENT] == token(2)


def test_a_replica_that_is_asked_for_again_goes_on_above_its_old_generations(
    here: Deployment, arn: str, home: Client
) -> None:
    def generation(unit: Unit) -> int:
        found = find_replica(unit, secret_in(unit, HOME), AWAY)
        assert found is not None
        return found.generation

    put(home, 1)
    before = here.database.read(generation)
    home("RemoveRegionsFromReplication", SecretId=arn, RemoveReplicaRegions=[AWAY])
    home("ReplicateSecretToRegions", SecretId=arn, AddReplicaRegions=replicas(AWAY))
    assert here.database.read(generation) > before


class Refusing:
    """A target that says no after it began to write."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def write(self, snapshot: Snapshot) -> None:
        half = Replica.asked_for(Region("us-east-1"), None, overwrite=False, now=self._unit.now)
        insert_replica(self._unit, snapshot.primary, half)
        raise InvalidParameterException("no room here")

    def remove(self, link: ReplicaLink) -> None:
        raise AssertionError("not asked for")


def test_a_copy_that_is_refused_leaves_nothing_but_its_reason(
    here: Deployment, arn: str, home: Client
) -> None:
    put(home, 1)
    here.database.write(lambda unit: reconcile(unit, link_of(unit), Refusing(unit)))
    (one,) = home("DescribeSecret", SecretId=arn)["ReplicationStatus"]
    assert (one["Region"], one["Status"], one["StatusMessage"]) == (AWAY, "Failed", "no room here")
    assert here.events()[-1] == "ReplicationFailed"


def test_a_primary_whose_bytes_were_altered_is_not_copied(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    put(home, 1)
    altered = (
        update(secret_versions)
        .where(secret_versions.c.region == HOME, secret_versions.c.version_id == token(1))
        .values(sealed=b"\x01" * 80)
    )
    here.database.write(lambda unit: unit.connection.execute(altered))
    with capture_logs() as logged:
        Deliverer(here.database, JOBS, "one").tick()
    assert [entry["action"] for entry in logged] == ["seal_broken"]
    assert status(home) == {AWAY: "Failed"}
    assert away("GetSecretValue", SecretId="db")["SecretString"] == MARKER


def test_a_placeholder_is_copied_and_so_is_its_value_when_it_comes(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    here.database.write(lambda unit: secrets.put_placeholder(unit, secret_in(unit, HOME), token(1)))
    here.deliver()
    assert away("DescribeSecret", SecretId="db")["VersionIdsToStages"][token(1)] == ["AWSPENDING"]
    assert picture(away) == picture(home)
    here.clock.advance(timedelta(seconds=1))
    home(
        "PutSecretValue",
        SecretId=arn,
        SecretString="v1",
        VersionStages=["AWSPENDING"],
        ClientRequestToken=token(1),
    )
    here.deliver()
    assert away("GetSecretValue", SecretId="db", VersionStage="AWSPENDING")["SecretString"] == "v1"
    here.database.write(lambda unit: secrets.drop_version(unit, secret_in(unit, HOME), token(1)))
    here.deliver()
    assert picture(away) == picture(home)
    assert token(1) not in picture(away)["versions"]


def test_a_resource_policy_is_copied_under_the_replicas_own_mac(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    def change(policy: str | None) -> None:
        def work(unit: Unit) -> None:
            primary = secret_in(unit, HOME)
            save_policy(unit, primary, policy)
            secrets.update_secret(unit, primary)

        here.database.write(work)
        here.deliver()

    def copied() -> str | None:
        return here.database.read(lambda unit: find_policy(unit, secret_in(unit, AWAY)))

    change('{"Version":"2012-10-17","Statement":[]}')
    assert copied() == '{"Version":"2012-10-17","Statement":[]}'
    change(None)
    assert copied() is None


def test_reading_a_replica_is_told_to_its_primary_alone(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    at = here.clock.now()

    def read_on(unit: Unit) -> None:
        secrets.update_secret(unit, secret_in(unit, AWAY).evolve(last_accessed_at=at))

    here.database.write(read_on)
    put(home, 1)
    here.deliver()
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    assert home("DescribeSecret", SecretId=arn)["ReplicationStatus"][0]["LastAccessedDate"] == day
    assert away("DescribeSecret", SecretId="db")["LastAccessedDate"] == day
    assert "LastAccessedDate" not in home("DescribeSecret", SecretId=arn)


def everything(here: Deployment) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""

    def work(unit: Unit) -> dict[str, list[tuple[Any, ...]]]:
        return {
            table.name: sorted((tuple(row) for row in unit.connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }

    return here.database.read(work)


def test_no_plaintext_is_kept_on_the_way(here: Deployment, arn: str, home: Client, away: Client) -> None:
    home("PutSecretValue", SecretId=arn, SecretString=MARKER + "2", ClientRequestToken=token(1))
    assert MARKER not in repr(everything(here))
    here.deliver()
    assert MARKER not in repr(everything(here))
    assert away("GetSecretValue", SecretId="db")["SecretString"] == MARKER + "2"


def test_a_snapshot_shows_no_value() -> None:
    assert "open" not in {name for name, field in Snapshot.__dataclass_fields__.items() if field.repr}


def test_two_nodes_deliver_while_a_third_changes_and_nothing_is_lost(
    store_place: StorePlace, clock: SettableClock
) -> None:
    nodes = [Deployment(place=store_place, clock=clock, holder=name) for name in ("one", "two", "three")]
    home = nodes[2].client(HOME)
    home(
        "CreateSecret",
        Name="db",
        SecretString="v",
        AddReplicaRegions=replicas(*REGIONS - {HOME}),
        ClientRequestToken=token(),
    )
    done = threading.Event()
    failures: list[BaseException] = []

    def deliver(node: Deployment) -> None:
        try:
            while not done.is_set():
                Deliverer(node.database, JOBS, node.holder).tick()
        except BaseException as error:  # noqa: BLE001 (the test raises it)
            failures.append(error)

    threads = [threading.Thread(target=deliver, args=(node,)) for node in nodes[:2]]
    for thread in threads:
        thread.start()
    for number in range(1, 16):
        put(home, number)
    done.set()
    for thread in threads:
        thread.join(30)
    assert not failures
    clock.advance(timedelta(minutes=2))
    nodes[0].deliver()
    assert set(status(home).values()) == {"InSync"}
    for region in REGIONS - {HOME}:
        assert picture(nodes[1].client(region)) == picture(home)
