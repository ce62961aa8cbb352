"""A deployment of three Regions on one store: clients in each, and the outbox delivered by hand."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from msgspec.structs import replace
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, Client
from tests.support import SettableClock, StorePlace
from turnlock import rotation, secrets
from turnlock.core.arn import Region
from turnlock.core.call import Call
from turnlock.kms.cryptography.materials import wrap_material
from turnlock.kms.key_policies.store import default_policy, save_policy
from turnlock.kms.model import Alias, KeyOwner, KeyState, KmsKey
from turnlock.kms.store import insert_key, save_alias
from turnlock.root_keys.envelope import Envelope
from turnlock.secrets import Secret, SecretReference, find_secret
from turnlock.secrets.policy.store import find_policy
from turnlock.secrets.tables import secret_versions
from turnlock.storage import Database, Unit, outbox
from turnlock.storage.outbox import Deliverer, JobHandler
from turnlock.storage.unit import joined
from turnlock.trail import TrailTable
from turnlock.trail.store import trail_records

HOME, AWAY, THIRD = Region("eu-central-1"), Region("eu-west-1"), Region("us-east-1")
REGIONS = frozenset({HOME, AWAY, THIRD})
JOBS: Mapping[str, JobHandler] = {secrets.PURGE: secrets.purge, secrets.REPLICATE: secrets.replicate}
SUCCEEDED = "Replication succeeded"
DEFAULT_KEY = "alias/aws/secretsmanager"
ONLY_THE_PRIMARY = (
    "InvalidParameterException",
    "Operation not permitted on a replica secret. Call must be made in primary secret's region.",
)


class Caller(Client):
    """A client whose requests have ids of their own, as the trail's table wants them."""

    def call(self, operation: str) -> Call:
        return replace(super().call(operation), request_id=str(uuid.uuid4()))


@dataclass(kw_only=True)
class Deployment:
    """One node of it."""

    place: StorePlace
    clock: SettableClock
    holder: str = "one"
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        chains = count(1)
        self.database = self.place.open(
            clock=self.clock,
            subscribers=joined(rotation.SUBSCRIBERS, secrets.SUBSCRIBERS),
            sink=lambda: TrailTable(f"{self.holder}/{next(chains)}"),
            regions=REGIONS,
        )

    def client(self, region: Region = HOME) -> Client:
        """Return the root user's client in a Region."""
        return Caller(database=self.database, clock=self.clock, region=region)

    def deliver(self, jobs: Mapping[str, JobHandler] = JOBS) -> None:
        """Carry out what is due in the outbox; nothing may fail."""
        with capture_logs() as logged:
            Deliverer(self.database, jobs, self.holder).tick()
        assert logged == []

    def promised(self) -> list[tuple[Region, bytes]]:
        """Return the Region and payload of every replication job in the outbox, oldest first."""
        table = outbox.outbox
        statement = (
            select(table.c.region, table.c.sealed_payload)
            .where(table.c.kind == secrets.REPLICATE)
            .order_by(table.c.created_at, table.c.job_id)
        )
        rows = self.database.read(lambda unit: unit.connection.execute(statement).all())
        return [(Region(row.region), bytes(row.sealed_payload)) for row in rows]

    def events(self, prefix: str = "Replication") -> list[str]:
        """Return the names of the service events in the trail that begin so, oldest first."""
        table = trail_records.c
        statement = select(table.event_name).order_by(table.at, table.writer, table.sequence)
        names = self.database.read(lambda unit: unit.connection.execute(statement).scalars().all())
        return [name for name in names if name.startswith(prefix)]

    def make_key(self, region: Region, alias: str, *, state: KeyState = KeyState.ENABLED) -> KmsKey:
        """Make a customer key with an alias, in the state that the test needs."""

        def work(unit: Unit) -> KmsKey:
            key = KmsKey(
                account_id=ACCOUNT,
                region=region,
                key_id=f"key-{alias}"[:64],
                state=state,
                owner=KeyOwner.CUSTOMER,
                created_at=unit.now,
            )
            insert_key(unit, key, sealed_material=wrap_material(unit, key, unit.entropy.bytes(32)))
            save_policy(unit, key, default_policy(ACCOUNT, region))
            save_alias(
                unit,
                Alias(
                    account_id=ACCOUNT,
                    region=region,
                    name=f"alias/{alias}",
                    key_id=key.key_id,
                    created_at=unit.now,
                    updated_at=unit.now,
                ),
            )
            return key

        return self.database.write(work)


def replicas(*regions: Region) -> list[dict[str, str]]:
    """Return AddReplicaRegions for Regions under their managed keys."""
    return [{"Region": region} for region in regions]


def status(client: Client, secret_id: str = "db") -> dict[str, str]:
    """Return the Status of each replica by Region, as DescribeSecret says."""
    return {
        one["Region"]: one["Status"]
        for one in client("DescribeSecret", SecretId=secret_id)["ReplicationStatus"]
    }


def picture(client: Client, secret_id: str = "db") -> dict[str, Any]:
    """Return all that a primary and its replica must have in common, as the API and the rows of versions show it."""
    described = client("DescribeSecret", SecretId=secret_id)
    for own in ("ARN", "KmsKeyId", "ReplicationStatus", "LastAccessedDate"):
        described.pop(own, None)
    described["Tags"] = sorted(described.get("Tags") or [], key=lambda tag: str(tag["Key"]))
    described["policy"] = client.database.read(
        lambda unit: find_policy(unit, secret_in(unit, client.region, described["Name"]))
    )
    statement = select(
        secret_versions.c.version_id, secret_versions.c.kind, secret_versions.c.created_at
    ).where(secret_versions.c.region == client.region, secret_versions.c.name == described["Name"])
    rows = client.database.read(lambda unit: unit.connection.execute(statement).all())
    described["versions"] = {
        row.version_id: (
            row.created_at,
            None if row.kind is None else _value(client, secret_id, row.version_id),
        )
        for row in rows
    }
    return described


def _value(client: Client, secret_id: str, version_id: str) -> object:
    answer = client("GetSecretValue", SecretId=secret_id, VersionId=version_id)
    return answer.get("SecretString", answer.get("SecretBinary"))


def secret_in(unit: Unit, region: Region, name: str = "db") -> Secret:
    found = find_secret(unit, SecretReference(account_id=ACCOUNT, region=region, name=name, suffix=None))
    assert found is not None
    return found


def run(here: Deployment, job: tuple[Region, bytes]) -> None:
    """Carry out one job's payload, whatever the outbox says of it."""
    here.database.write(lambda unit: secrets.replicate(unit, ACCOUNT, *job))


def replication(client: Client) -> list[dict[str, Any]]:
    """Return DescribeSecret's ReplicationStatus without what is not said."""
    listed = client("DescribeSecret", SecretId="db")["ReplicationStatus"]
    return [{name: value for name, value in one.items() if value is not None} for one in listed]


def key_of(here: Deployment, client: Client, version_id: str) -> str:
    """Return the id of the KMS key under which a version of `db` is sealed."""

    def work(unit: Unit) -> str:
        reference = secrets.parse_secret_id("db", ACCOUNT, client.region)
        secret = find_secret(unit, reference)
        assert secret is not None
        version = secrets.find_version(unit, secret, version_id)
        assert version is not None
        assert version.sealed is not None
        return Envelope.parse(version.sealed).key_arn.rpartition("/")[2]

    return here.database.read(work)
