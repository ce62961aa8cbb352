"""Where the database of a managed master secret is: RDS's registry, found by the secret's tags.

A secret that RDS manages holds a user name and a password and nothing else. Its tag names the DB instance or cluster, whose
engine, host and port DescribeDBInstances or DescribeDBClusters tell, as AWS's own functions find them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast

from turnlock.rotators.endpoint import SecretsManager, service_client

_LONGEST_ARN = 256
_INSTANCE_TAG = "aws:rds:primarydbinstancearn"
_CLUSTER_TAG = "aws:rds:primarydbclusterarn"


class Rds(Protocol):
    """The part of boto3's RDS client that is used here."""

    def describe_db_instances(self, **request: Any) -> Any: ...
    def describe_db_clusters(self, **request: Any) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A database server, as the members of a secret's value name it."""

    engine: str
    host: str
    port: int

    @property
    def members(self) -> dict[str, Any]:
        """The members that a managed secret's value lacks."""
        return {"engine": self.engine, "host": self.host, "port": self.port}


def lacks_location(value: Mapping[str, Any]) -> bool:
    """Tell whether a secret's value is that of a secret which RDS manages: a user name and a password alone."""
    return value.keys() == {"username", "password"}


def locate(tags: Mapping[str, str], rds: Rds) -> Location:
    """Return where the database is that a managed secret's tags name.

    ValueError when they name none, or one whose server cannot be reached yet; botocore's ClientError as the registry says.
    """
    lowered = {key.lower(): value for key, value in tags.items() if len(value) <= _LONGEST_ARN}
    for tag, describe in _DESCRIBED.items():
        if tag in lowered:
            found = describe(rds, lowered[tag])
            if found.get("Endpoint") is None:
                raise ValueError("The database has no endpoint yet.")
            return _LOCATED[tag](found)
    raise ValueError("The secret's tags name no DB instance and no DB cluster.")


def _instance(rds: Rds, arn: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = rds.describe_db_instances(DBInstanceIdentifier=arn)["DBInstances"][0]
    return found


def _cluster(rds: Rds, arn: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = rds.describe_db_clusters(DBClusterIdentifier=arn)["DBClusters"][0]
    return found


_DESCRIBED: Mapping[str, Callable[[Rds, str], Mapping[str, Any]]] = {
    _INSTANCE_TAG: _instance,
    _CLUSTER_TAG: _cluster,
}
_LOCATED: Mapping[str, Callable[[Mapping[str, Any]], Location]] = {
    _INSTANCE_TAG: lambda found: Location(
        engine=found["Engine"], host=found["Endpoint"]["Address"], port=found["Endpoint"]["Port"]
    ),
    _CLUSTER_TAG: lambda found: Location(engine=found["Engine"], host=found["Endpoint"], port=found["Port"]),
}


class LocatedSecrets:
    """Secrets Manager's client for one managed secret: values come with their location, and are stored without it."""

    def __init__(self, client: SecretsManager, location: Location) -> None:
        self._client = client
        self._location = location.members
        self.exceptions = client.exceptions

    def describe_secret(self, **request: Any) -> Any:
        """DescribeSecret."""
        return self._client.describe_secret(**request)

    def get_secret_value(self, **request: Any) -> Any:
        """GetSecretValue; a value that is no JSON object is left as it is."""
        answer = dict(self._client.get_secret_value(**request))
        try:
            value = json.loads(answer.get("SecretString", ""))
        except ValueError:
            return answer
        if isinstance(value, dict):
            answer["SecretString"] = json.dumps({**value, **self._location})
        return answer

    def get_random_password(self, **request: Any) -> Any:
        """GetRandomPassword."""
        return self._client.get_random_password(**request)

    def put_secret_value(self, **request: Any) -> Any:
        """PutSecretValue, of the value without its location."""
        value = json.loads(request["SecretString"])
        kept = {name: member for name, member in value.items() if name not in self._location}
        return self._client.put_secret_value(**{**request, "SecretString": json.dumps(kept)})

    def update_secret_version_stage(self, **request: Any) -> Any:
        """UpdateSecretVersionStage."""
        return self._client.update_secret_version_stage(**request)


@cache
def rds_client() -> Rds:
    """Return this process's RDS client of the endpoint that serves Secrets Manager too."""
    return cast("Rds", service_client("rds"))
