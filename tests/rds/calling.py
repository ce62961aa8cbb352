"""Calling RDS as the server does: flat parameters through the wire's parser, the gate and a real unit of work."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from botocore.serialize import create_serializer
from msgspec import structs

from tests.calling import Client
from turnlock import rds, rotation, secrets
from turnlock.core.action import Answer
from turnlock.core.call import Call
from turnlock.errors import ApiError
from turnlock.rds import ACTIONS
from turnlock.shell.admission import Service
from turnlock.shell.gate import Passage
from turnlock.wire import HttpRequest

MASTER = {"MasterUsername": "master", "MasterUserPassword": "first-Password-1"}
"""What most requests say of the master user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """RDS and Secrets Manager, able to call each other for their callers."""

    rds: Service
    secretsmanager: Service


def join_services() -> Services:
    """Return both services under one registry, as `app` joins them."""
    registry: dict[str, Passage] = {}
    actions = (*secrets.ACTIONS, *rotation.ACTIONS)
    return Services(
        rds=Service.of("rds", ACTIONS, registry),
        secretsmanager=Service.of("secretsmanager", actions, registry),
    )


SERVICES = join_services()


@dataclass(kw_only=True)
class RdsClient(Client):
    """Calls RDS as one principal in one Region; errors are raised, None members are left out."""

    service: Service = field(default_factory=lambda: SERVICES.rds, repr=False)

    def elsewhere(self, **changes: Any) -> RdsClient:
        return replace(self, **changes)

    def __call__(self, operation: str, **parameters: Any) -> dict[str, Any]:
        model = self.service.passages[operation].operation.model
        form = create_serializer("query").serialize_to_request(parameters, model)["body"]
        return self.body(operation, urlencode(form).encode())

    def outcome(self, operation: str, body: bytes) -> Answer | ApiError:
        request = HttpRequest(method="POST", path="/", body=body)
        passage = self.service.passages[operation]
        assert self.service.protocol.operation(request) is passage.operation
        return self.through(passage, self.service.protocol.parse(passage.operation, request))

    def call(self, operation: str) -> Call:
        return structs.replace(super().call(operation), service="rds")

    def register(self, **request: Any) -> dict[str, Any]:
        """Register an instance as `turnlock databases add` does."""
        return self._registered("CreateDBInstance", rds.REGISTER_INSTANCE, "DBInstance", request)

    def register_cluster(self, **request: Any) -> dict[str, Any]:
        """Register a cluster likewise."""
        return self._registered("CreateDBCluster", rds.REGISTER_CLUSTER, "DBCluster", request)

    def secrets(self) -> Client:
        """Return a client of Secrets Manager for the same principal."""
        return Client(
            database=self.database,
            clock=self.clock,
            service=SERVICES.secretsmanager,
            principal=self.principal,
            session=self.session,
            records=self.records,
        )

    def _registered(
        self, operation: str, action: Any, member: str, request: dict[str, Any]
    ) -> dict[str, Any]:
        passage = replace(self.service.passages[operation], action=action)
        outcome = self.through(passage, request)
        if isinstance(outcome, ApiError):
            raise outcome
        answer: dict[str, Any] = outcome[member]
        return answer


def instance(name: str = "shop", **changes: Any) -> dict[str, Any]:
    """Return the request that registers a PostgreSQL instance."""
    return {
        "DBInstanceIdentifier": name,
        "DBInstanceClass": "db.t4g.micro",
        "Engine": "postgres",
        "Endpoint": {"Address": f"{name.lower()}.example.com", "Port": 5433},
        **MASTER,
        **changes,
    }


def cluster(name: str = "ring", **changes: Any) -> dict[str, Any]:
    """Return the request that registers an Aurora cluster."""
    return {
        "DBClusterIdentifier": name,
        "Engine": "aurora-postgresql",
        "Endpoint": {"Address": f"{name.lower()}.example.com"},
        "ReaderEndpoint": f"{name.lower()}-ro.example.com",
        **MASTER,
        **changes,
    }


def identifiers(answer: dict[str, Any]) -> list[str]:
    """Return the identifiers of a Describe answer, in its order."""
    (listed,) = (value for name, value in answer.items() if name != "Marker")
    return [one.get("DBInstanceIdentifier") or one["DBClusterIdentifier"] for one in listed]
