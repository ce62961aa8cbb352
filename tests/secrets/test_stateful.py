"""Any sequence of calls, compared after each with a naive model: versions, labels, idempotency, deletion, replicas."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests import proofs
from tests.calling import Client, refusal, token
from tests.secrets.naive import NaiveRegion, NaiveSecret, Refusal, copied, promoted
from tests.secrets.replicated import AWAY, HOME, Deployment
from tests.support import SettableClock, StorePlace
from turnlock.core.arn import Region

pytestmark = pytest.mark.slow

EXAMPLES, STEPS = (250, 40) if proofs.FULL else (10, 25)

names = st.sampled_from(["a", "a", "b"])
regions = st.sampled_from([HOME, HOME, HOME, AWAY])
tokens = st.sampled_from([token(number) for number in range(5)])
values = st.sampled_from(["x", "y"])
labels = st.sampled_from(["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS", "blue"])
_machines = itertools.count()


def outcome_of(expected: Callable[[], Any]) -> Any:
    try:
        return expected()
    except Refusal as refused:
        return refused


class Machine(RuleBasedStateMachine):
    """Calls the real actions and the model, and demands the same answer or the same refusal."""

    here: Deployment
    clock: SettableClock
    seen: Counter[str]
    """How many machines there were, calls that were answered, and calls that were refused."""

    def __init__(self) -> None:
        super().__init__()
        self.seen["sequences"] += 1
        self.prefix = f"m{next(_machines)}/"
        self.clients: dict[Region, Client] = {region: self.here.client(region) for region in (HOME, AWAY)}
        self.model = {HOME: NaiveRegion(), AWAY: NaiveRegion()}

    def same(
        self, region: Region, operation: str, expected: Callable[[], Any], name: str, **given: Any
    ) -> Any:
        """Call both; return the real answer, None for a refusal."""
        parameters = {key: value for key, value in given.items() if value is not None}
        named = "Name" if operation == "CreateSecret" else "SecretId"
        call = partial(self.clients[region], operation, **{named: self.prefix + name}, **parameters)
        wanted = outcome_of(expected)
        if isinstance(wanted, Refusal):
            assert refusal(call)[0] == str(wanted), (operation, given)
            self.seen["refused"] += 1
            return None
        answer = call()
        self.seen["answered"] += 1
        if operation == "GetSecretValue":
            assert answer["SecretString"] == wanted
        self.here.deliver()
        self._follow()
        return answer

    def _follow(self) -> None:
        """Do to the model's replicas what was done to their primaries."""
        for name, secret in self.model[HOME].secrets.items():
            if secret.has_replica:
                self.model[AWAY].secrets[name] = copied(secret)

    @initialize(version_id=st.none() | tokens)
    def begin(self, version_id: str | None) -> None:
        """Mostly begin with a secret: of what is asked of none, nearly all is refused."""
        if version_id is not None:
            self.create(HOME, "a", version_id, "x")

    @rule(region=regions, name=names, version_id=tokens, value=values)
    def create(self, region: Region, name: str, version_id: str, value: str) -> None:
        model = self.model[region]
        given = {"ClientRequestToken": version_id, "SecretString": value}
        self.same(region, "CreateSecret", lambda: model.create(name, version_id, value), name, **given)

    @rule(
        region=regions,
        name=names,
        version_id=tokens,
        value=values,
        stages=st.none() | st.lists(labels, min_size=1, max_size=3, unique=True),
    )
    def put(self, region: Region, name: str, version_id: str, value: str, stages: list[str] | None) -> None:
        given = {"ClientRequestToken": version_id, "SecretString": value, "VersionStages": stages}
        model = self.model[region]
        self.same(region, "PutSecretValue", lambda: model.put(name, version_id, value, stages), name, **given)

    @rule(region=regions, name=names, label=labels, to=st.none() | tokens, off=st.none() | tokens)
    def move(self, region: Region, name: str, label: str, to: str | None, off: str | None) -> None:
        given = {"VersionStage": label, "MoveToVersionId": to, "RemoveFromVersionId": off}
        model = self.model[region]
        self.same(region, "UpdateSecretVersionStage", lambda: model.move(name, label, to, off), name, **given)

    @rule(name=names, label=labels, to=tokens)
    def move_from_where_it_is(self, name: str, label: str, to: str) -> None:
        secret = self.model[HOME].secrets.get(name)
        self.move(HOME, name, label, to, None if secret is None else secret.holder(label))

    @rule(region=regions, name=names, version_id=st.none() | tokens, label=st.none() | labels)
    def read(self, region: Region, name: str, version_id: str | None, label: str | None) -> None:
        model = self.model[region]
        given = {"VersionId": version_id, "VersionStage": label}
        self.same(region, "GetSecretValue", lambda: model.read(name, version_id, label), name, **given)

    @rule(region=regions, name=names, days=st.none() | st.sampled_from([7, 30]))
    def delete(self, region: Region, name: str, days: int | None) -> None:
        model, now = self.model[region], self.clock.now()
        given = {"ForceDeleteWithoutRecovery": True} if days is None else {"RecoveryWindowInDays": days}
        self.same(region, "DeleteSecret", lambda: model.delete(name, now, days), name, **given)

    @rule(region=regions, name=names)
    def restore(self, region: Region, name: str) -> None:
        self.same(region, "RestoreSecret", lambda: self.model[region].restore(name), name)

    @rule(days=st.sampled_from([1, 7, 8, 31]))
    def time_passes(self, days: int) -> None:
        self.clock.advance(timedelta(days=days))
        self.here.deliver()
        for region in self.model.values():
            region.purge(self.clock.now())

    @rule(name=names)
    def replicate(self, name: str) -> None:
        secret = self.model[HOME].secrets.get(name)
        if secret is None or secret.purged_at or secret.has_replica or name in self.model[AWAY].secrets:
            return
        secret.has_replica = True
        self.same(HOME, "ReplicateSecretToRegions", lambda: None, name, AddReplicaRegions=[{"Region": AWAY}])

    @precondition(lambda self: any(one.has_replica for one in self.model[HOME].secrets.values()))
    @rule(name=names, stops=st.booleans())
    def end_replication(self, name: str, stops: bool) -> None:
        secret = self.model[HOME].secrets.get(name)
        if secret is None or not secret.has_replica:
            return
        secret.has_replica = False
        replica = self.model[AWAY].secrets.pop(name)
        if stops:
            self.model[AWAY].secrets[name] = promoted(replica)
            self.same(AWAY, "StopReplicationToReplica", lambda: None, name)
        else:
            given = {"RemoveReplicaRegions": [AWAY]}
            self.same(HOME, "RemoveRegionsFromReplication", lambda: None, name, **given)

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        for region, model in self.model.items():
            client = self.clients[region]
            asked = {"Filters": [{"Key": "name", "Values": [self.prefix]}], "IncludePlannedDeletion": True}
            listed = {
                one["Name"].removeprefix(self.prefix): one
                for one in client("ListSecrets", **asked)["SecretList"]
            }
            assert listed.keys() == model.secrets.keys()
            for name, secret in model.secrets.items():
                assert self._shown(client, name) == self._wanted(secret), (region, name)

    def _shown(self, client: Client, name: str) -> tuple[object, ...]:
        said = client("DescribeSecret", SecretId=self.prefix + name)
        return said["VersionIdsToStages"], said.get("DeletedDate") is not None, "ReplicationStatus" in said

    @staticmethod
    def _wanted(secret: NaiveSecret) -> tuple[object, ...]:
        return secret.stages(), secret.purged_at is not None, secret.has_replica


def test_any_sequence_of_calls_leaves_what_a_naive_model_says(
    here: Deployment, clock: SettableClock, store_place: StorePlace
) -> None:
    class Here(Machine):
        pass

    Here.here, Here.clock, Here.seen = here, clock, Counter()
    began = time.monotonic()
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink takes longer than a test may
            suppress_health_check=list(HealthCheck),
        ),
    )
    proofs.record("stateful", store_place.dialect, **Here.seen, seconds=round(time.monotonic() - began))
