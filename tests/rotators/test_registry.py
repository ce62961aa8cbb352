"""A managed secret's database is found by its tags, and only what the secret lacks is added to its value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from turnlock.rotators.rds_master import rotate
from turnlock.rotators.registry import LocatedSecrets, Location, lacks_location, locate
from turnlock.rotators.testing import InMemorySecretsManager

INSTANCE = "arn:aws:rds:eu-central-1:123456789012:db:shop"
CLUSTER = "arn:aws:rds:eu-central-1:123456789012:cluster:ring"
LOCATION = Location(engine="postgres", host="db.example.com", port=5433)


class Registry:
    """RDS's two Describe calls, with one instance and one cluster."""

    def __init__(self, **instance: Any) -> None:
        self.instance = {
            "Engine": "postgres",
            "Endpoint": {"Address": "db.example.com", "Port": 5433},
            **instance,
        }

    def describe_db_instances(self, **request: Any) -> dict[str, Any]:
        assert request == {"DBInstanceIdentifier": INSTANCE}
        return {"DBInstances": [self.instance]}

    def describe_db_clusters(self, **request: Any) -> dict[str, Any]:
        assert request == {"DBClusterIdentifier": CLUSTER}
        cluster = {"Engine": "aurora-postgresql", "Endpoint": "ring.example.com", "Port": 5432}
        return {"DBClusters": [cluster]}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"aws:rds:primaryDBInstanceArn": INSTANCE}, LOCATION),
        ({"AWS:RDS:primarydbinstancearn": INSTANCE, "other": "x"}, LOCATION),
        (
            {"aws:rds:primaryDBClusterArn": CLUSTER},
            Location(engine="aurora-postgresql", host="ring.example.com", port=5432),
        ),
    ],
)
def test_the_tags_lead_to_the_database(tags: dict[str, str], expected: Location) -> None:
    assert locate(tags, Registry()) == expected


@pytest.mark.parametrize(
    "tags", [{}, {"primaryDBInstanceArn": INSTANCE}, {"aws:rds:primaryDBInstanceArn": "a" * 257}]
)
def test_without_such_a_tag_there_is_no_database(tags: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="name no DB instance"):
        locate(tags, Registry())


def test_a_database_that_is_being_made_has_no_endpoint() -> None:
    with pytest.raises(ValueError, match="no endpoint yet"):
        locate({"aws:rds:primaryDBInstanceArn": INSTANCE}, Registry(Endpoint=None))


def test_only_a_user_and_a_password_lack_their_place() -> None:
    assert lacks_location({"username": "u", "password": "p"})
    assert not lacks_location({"username": "u", "password": "p", "host": "h"})
    assert not lacks_location({"username": "u"})


def test_values_come_with_the_place_and_are_stored_without_it() -> None:
    kept = InMemorySecretsManager({"username": "boss", "password": "first"})
    located = LocatedSecrets(kept, LOCATION)
    answer = located.get_secret_value(SecretId=kept.arn, VersionStage="AWSCURRENT")
    value = json.loads(answer["SecretString"])
    assert value == {"username": "boss", "password": "first", **LOCATION.members}
    located.put_secret_value(
        SecretId=kept.arn,
        ClientRequestToken="second",
        SecretString=json.dumps({**value, "password": "next"}),
        VersionStages=["AWSPENDING"],
    )
    assert kept.value("AWSPENDING") == {"username": "boss", "password": "next"}


def test_a_value_that_is_no_object_is_left_alone() -> None:
    kept = InMemorySecretsManager()
    for text in ("[1]", "no json"):
        kept.store("v", text, "AWSCURRENT")
        answer = LocatedSecrets(kept, LOCATION).get_secret_value(SecretId=kept.arn, VersionStage="AWSCURRENT")
        assert answer["SecretString"] == text


def test_an_engine_without_a_rotation_is_told() -> None:
    class Tagged(InMemorySecretsManager):
        def describe_secret(self, **request: Any) -> dict[str, Any]:
            tags = [{"Key": "aws:rds:primaryDBInstanceArn", "Value": INSTANCE}]
            return {**super().describe_secret(**request), "Tags": tags}

    kept = Tagged({"username": "boss", "password": "first"})
    event = {"Step": "createSecret", "SecretId": kept.arn, "ClientRequestToken": "t"}
    with pytest.raises(ValueError, match="no rotation for the engine oracle-ee"):
        rotate(event, kept, Registry(Engine="oracle-ee"))
