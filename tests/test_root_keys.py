"""Rotating the root key: all of the store, at once or not at all, and nothing that was forged becomes good."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, delete, select, update
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, Client, services, token
from tests.kms.test_policies import policy
from tests.storage.test_migrations import declare_every_table
from tests.support import SettableClock, StorePlace
from turnlock import accounts, kms, root_keys
from turnlock.config import RootKeyChoice
from turnlock.core.ports import SystemEntropy
from turnlock.errors import ConfigurationError, InternalServiceError
from turnlock.kms import Progress, check_root_key, settle_macs
from turnlock.kms.tables import kms_aliases, kms_key_materials
from turnlock.root_key_rotation import MACS, hold_served, rotate
from turnlock.root_keys import FileRootKey, Keyring
from turnlock.secrets.tables import resource_policies, secrets, staging_labels
from turnlock.storage import Database, Unit, metadata


def provider(place: StorePlace) -> FileRootKey:
    return FileRootKey(place.data_dir / "root.key", clock=SettableClock(), entropy=SystemEntropy())


def client(database: Database, service: str = "secretsmanager") -> Client:
    return Client(database=database, clock=SettableClock(), service=services()[service])


def opened(place: StorePlace) -> Database:
    """Open the store with the file's root key, as a server does."""
    keyring = provider(place).load()
    assert keyring is not None
    database = place.open(keyring=keyring)
    database.read(settle_macs)
    return database


@pytest.fixture
def place(store_place: StorePlace) -> StorePlace:
    """A store with something in each of its tables that lies under the root key, closed."""
    database = store_place.open(keyring=provider(store_place).create())
    kms, secrets = client(database, "kms"), client(database)
    key = kms("CreateKey")["KeyMetadata"]["Arn"]
    kms("CreateAlias", AliasName="alias/mine", TargetKeyId=key)
    kms("RotateKeyOnDemand", KeyId=key)
    root = f"arn:aws:iam::{ACCOUNT}:root"
    kms("CreateGrant", KeyId=key, GranteePrincipal=root, Operations=["Decrypt"], Name="g")
    secrets("CreateSecret", Name="db", SecretString="v", KmsKeyId="alias/mine", ClientRequestToken=token(1))
    secrets("CreateSecret", Name="other", SecretString="w", ClientRequestToken=token(2))
    secrets("TagResource", SecretId="db", Tags=[{"Key": key, "Value": "v"} for key in ("a", "b")])
    secrets("PutResourcePolicy", SecretId="db", ResourcePolicy=policy(Action="secretsmanager:*"))
    database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    store_place.close()
    return store_place


def turn(place: StorePlace, **more: Any) -> tuple[kms.Proof, list[Progress]]:
    """Rotate the root key of the store's file."""
    seen: list[Progress] = []
    choice = RootKeyChoice(spec="file")
    return rotate(
        place.data_dir, place.url, choice, more.get("wanted"), more.get("report", seen.append)
    ), seen


def test_every_table_with_a_mac_is_known() -> None:
    declare_every_table()
    with_macs = {table.name for table in metadata.tables.values() if "mac" in table.c}
    # The heads of the trail's chains are under its own key, which a rotation wraps anew.
    assert {one.table.name for one in MACS} == with_macs - {"trail_heads"}
    assert all(isinstance(one.table.c.mac.type, LargeBinary) for one in MACS)


def test_everything_is_readable_under_the_new_key_and_nothing_under_the_old(place: StorePlace) -> None:
    old = provider(place).load()
    assert old is not None
    proof, seen = turn(place)
    counts = {one.table: one.total for one in seen}
    assert proof.materials == counts["kms_key_materials"] >= 4
    assert proof.macs == sum(counts.values()) - proof.materials
    for table in (
        "kms_keys",
        "kms_aliases",
        "kms_key_policies",
        "kms_grants",
        "secrets",
        "staging_labels",
        "resource_policies",
        "secret_tags",
    ):
        assert counts[table] > 0, table
    database = opened(place)
    assert client(database)("GetSecretValue", SecretId="db")["SecretString"] == "v"
    assert client(database)("GetSecretValue", SecretId="other")["SecretString"] == "w"
    assert client(database)("GetResourcePolicy", SecretId="db")["ResourcePolicy"]
    assert len(client(database)("DescribeSecret", SecretId="db")["Tags"]) == 2
    kms = client(database, "kms")
    assert kms("ListGrants", KeyId=kms("ListAliases")["Aliases"][-1]["TargetKeyId"])["Grants"]
    stranger = place.open(keyring=old)
    with pytest.raises(ConfigurationError):
        stranger.read(check_root_key)
    with pytest.raises(ConfigurationError):
        stranger.read(settle_macs)
    assert len((place.data_dir / "root.key").read_text().splitlines()) == 2


def test_what_a_secret_has_is_bound_to_it_under_the_new_key_too(place: StorePlace) -> None:
    turn(place)
    database = opened(place)
    database.write(lambda unit: unit.connection.execute(delete(resource_policies)).rowcount)
    with capture_logs(), pytest.raises(InternalServiceError):
        client(database)("GetSecretValue", SecretId="db")
    assert client(database)("GetSecretValue", SecretId="other")["SecretString"] == "w"


def test_secrets_without_a_mac_are_not_given_one_by_a_rotation(place: StorePlace) -> None:
    database = opened(place)
    database.write(lambda unit: unit.connection.execute(update(secrets).values(mac=None)).rowcount)
    place.close()
    with pytest.raises(ConfigurationError, match="A row of secrets fits neither root key"):
        turn(place)


def test_a_rotation_that_ends_in_the_middle_changes_nothing_and_is_gone_on_with(place: StorePlace) -> None:
    class Killed(BaseException):
        pass

    def report(progress: Progress) -> None:
        if progress.table == "resource_policies":
            raise Killed

    with pytest.raises(Killed):
        turn(place, report=report)
    assert len((place.data_dir / "root.key").read_text().splitlines()) == 3  # both root keys
    database = opened(place)  # under the old one still, with the new one beside
    assert client(database)("GetSecretValue", SecretId="db")["SecretString"] == "v"
    client(database)("CreateSecret", Name="between", SecretString="x", ClientRequestToken=token(3))
    place.close()
    turn(place)
    assert client(opened(place))("GetSecretValue", SecretId="between")["SecretString"] == "x"


def test_a_rotation_that_ends_before_the_old_key_is_forgotten_is_gone_on_with(
    place: StorePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(FileRootKey, "retire", lambda self: None)
        turn(place)
    assert len((place.data_dir / "root.key").read_text().splitlines()) == 3
    database = opened(place)  # the store is under the newer of the two
    assert client(database)("GetSecretValue", SecretId="db")["SecretString"] == "v"
    client(database)("CreateSecret", Name="between", SecretString="x", ClientRequestToken=token(3))
    place.close()
    _, seen = turn(place)
    assert seen[-1].done == seen[-1].total
    assert client(opened(place))("GetSecretValue", SecretId="between")["SecretString"] == "x"


@pytest.mark.parametrize(
    ("table", "change"),
    [
        (staging_labels, {"version_id": token(1)}),
        (kms_aliases, {"updated_at": None}),
        (kms_key_materials, {"sealed": b"TLKR\x01" + bytes(64)}),
    ],
    ids=["label", "alias", "material"],
)
def test_what_was_forged_stops_the_rotation_and_nothing_was_changed(
    place: StorePlace, table: Any, change: dict[str, Any]
) -> None:
    forged = {name: SettableClock().now() if value is None else value for name, value in change.items()}
    if table is staging_labels:
        forged = {"label": "AWSPREVIOUS"}
    database = opened(place)
    before = database.read(lambda unit: unit.connection.execute(select(kms_key_materials)).all())

    def forge(unit: Unit) -> int:
        first = unit.connection.execute(select(table).limit(1)).mappings().one()
        where = [table.c[column.name] == first[column.name] for column in table.primary_key.columns]
        return unit.connection.execute(update(table).where(*where).values(forged)).rowcount

    assert database.write(forge) == 1
    place.close()
    with pytest.raises(ConfigurationError, match=f"A row of {table.name} fits neither root key"):
        turn(place)
    after = opened(place).read(lambda unit: unit.connection.execute(select(kms_key_materials)).all())
    if table is not kms_key_materials:
        assert after == before


def test_the_store_moves_to_another_provider(place: StorePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNLOCK_TEST_ROOT", base64.b64encode(bytes(range(32))).decode())
    wanted = RootKeyChoice(spec="env:TURNLOCK_TEST_ROOT")
    before = (place.data_dir / "root.key").read_text()
    turn(place, wanted=wanted)
    assert (place.data_dir / "root.key").read_text() == before
    keyring = root_keys.root_key_provider(
        wanted, place.data_dir, clock=SettableClock(), entropy=SystemEntropy()
    ).load()
    assert isinstance(keyring, Keyring)
    database = place.open(keyring=keyring)
    assert client(database)("GetSecretValue", SecretId="db")["SecretString"] == "v"


def test_no_rotation_while_a_server_runs_and_no_server_while_one_rotates(tmp_path: Path) -> None:
    served = hold_served(tmp_path)
    with pytest.raises(ConfigurationError, match="stop it first"):
        rotate(tmp_path, None, RootKeyChoice(), None, lambda _: None)
    os.close(served)
    with pytest.raises(ConfigurationError, match="There is no root key yet"):
        rotate(tmp_path, None, RootKeyChoice(), None, lambda _: None)
