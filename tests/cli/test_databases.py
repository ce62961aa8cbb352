"""`turnlock databases add`: registers what runs already, through the gate, and never takes a password as an argument."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from turnlock import app
from turnlock.cli import cli
from turnlock.cli.databases import add
from turnlock.config import Config, every_region
from turnlock.core.arn import AccountId, Region
from turnlock.errors import ConfigurationError
from turnlock.rds.model import Kind
from turnlock.rds.store import find
from turnlock.trail.store import trail_records

REGION = Region("eu-central-1")
ACCOUNT = AccountId("123456789012")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    app.initialise(Config(data_dir=tmp_path / "t", host="127.0.0.1", port=7768, regions=every_region()))
    return tmp_path / "t"


def run(data_dir: Path, *arguments: str, password: str = "first-Password-1\n") -> Result:
    command = ["databases", "add", *arguments, "--region", REGION, "--data-dir", str(data_dir)]
    return CliRunner().invoke(cli, command, input=password, catch_exceptions=True)


def found(data_dir: Path, kind: Kind, name: str) -> Any:
    with app.existing_store(data_dir, None, "tests") as database:
        return database.read(lambda unit: find(unit, ACCOUNT, REGION, kind, name))


MASTER = ("--master-username", "boss", "--master-password-file", "-")


def test_an_instance_is_registered_and_its_arn_printed(data_dir: Path) -> None:
    done = run(data_dir, "shop", "--engine", "postgres", "--host", "db.example.com", *MASTER)
    assert done.output == f"arn:aws:rds:{REGION}:{ACCOUNT}:db:shop\n"
    shop = found(data_dir, Kind.INSTANCE, "shop")
    assert (shop.host, shop.port, shop.master_username, shop.local) == ("db.example.com", 5432, "boss", False)


def test_it_leaves_the_record_of_a_call_by_root_without_the_password(data_dir: Path) -> None:
    run(data_dir, "shop", "--engine", "postgres", "--host", "db.example.com", *MASTER)
    with app.existing_store(data_dir, None, "tests") as database:
        bodies = database.read(lambda unit: unit.connection.execute(select(trail_records.c.body)).all())
    (record,) = (json.loads(row.body) for row in bodies)
    assert (record["eventName"], record["userIdentity"]["type"]) == ("CreateDBInstance", "Root")
    assert record["requestParameters"]["dBInstanceIdentifier"] == "shop"
    assert "first-Password-1" not in str(record)


def test_a_cluster_its_member_and_a_replica(data_dir: Path) -> None:
    aurora = ("--engine", "aurora-mysql")
    ring = ("--cluster", "--host", "ring.example.com", "--reader-host", "ro.example.com", *MASTER)
    assert run(data_dir, "ring", *aurora, *ring).exit_code == 0
    member = ("--member-of", "ring", "--writer", "--host", "ring-1.example.com")
    assert run(data_dir, "ring-1", *aurora, *member).exit_code == 0
    run(data_dir, "shop", "--engine", "postgres", "--host", "db.example.com", *MASTER)
    replica = ("--engine", "postgres", "--replica-of", "shop", "--host", "ro.example.com", "--port", "5555")
    assert run(data_dir, "shop-ro", *replica).exit_code == 0
    assert found(data_dir, Kind.CLUSTER, "ring").reader_host == "ro.example.com"
    assert (
        found(data_dir, Kind.INSTANCE, "ring-1").writer,
        found(data_dir, Kind.INSTANCE, "shop-ro").port,
    ) == (
        True,
        5555,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--host", "db.example.com"), "MasterUserPassword must be provided"),
        (("--host", "db, evil", *MASTER), "not one host name"),
        (("--host", "h", "--replica-of", "absent"), "DBInstance absent not found"),
        (("--host", "h", "--member-of", "absent"), "DBCluster absent not found"),
    ],
)
def test_what_is_refused_is_said_in_a_sentence(
    data_dir: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = run(data_dir, "shop", "--engine", "postgres", *arguments)
    assert isinstance(done.exception, ConfigurationError)
    assert sentence in done.exception.message
    assert found(data_dir, Kind.INSTANCE, "shop") is None


@pytest.mark.parametrize(
    "arguments",
    [("--cluster", "--member-of", "x"), ("--cluster", "--replica-of", "x"), ("--reader-host", "h")],
)
def test_options_that_do_not_go_together(data_dir: Path, arguments: tuple[str, ...]) -> None:
    done = run(data_dir, "shop", "--engine", "postgres", "--host", "h", *MASTER, *arguments)
    assert (done.exit_code, "goes with" in done.output) == (2, True)


def test_there_must_be_a_store(tmp_path: Path) -> None:
    done = run(tmp_path, "shop", "--engine", "postgres", "--host", "h", *MASTER)
    assert isinstance(done.exception, ConfigurationError)


def test_no_option_takes_a_password_itself() -> None:
    takes_text = partial(filter, lambda option: "password" in option.name and not option.is_flag)
    assert [option.name for option in takes_text(add.params)] == ["master_password_file"]
