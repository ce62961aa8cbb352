"""Replication under random changes and deliveries: whatever happens, the replica ends as its primary is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.calling import token
from tests.sampling import examples
from tests.secrets.replicated import AWAY, HOME, Deployment, picture, replicas, run, secret_in, status
from turnlock import secrets
from turnlock.core.arn import Region
from turnlock.errors import ApiError
from turnlock.secrets.policy.store import save_policy
from turnlock.storage import Unit

_names = count()


def policy_with_id(number: float) -> str:
    """Return a policy that concerns nobody here, another for each number."""
    statement = {"Effect": "Deny", "Principal": {"AWS": "999999999999"}, "Action": "*", "Resource": "*"}
    return json.dumps({"Id": str(number), "Statement": statement})


class Story:
    """One secret under random changes, with jobs that are delivered in any order, twice, late, and in the end all."""

    def __init__(self, here: Deployment, seed: int) -> None:
        self.here = here
        self.name = f"story-{next(_names)}"
        self.random = random.Random(seed)
        self.home, self.away = here.client(HOME), here.client(AWAY)
        self.tokens = [token(0)]
        self.dropped: list[str] = []
        self.values = count(1)
        self.jobs: list[tuple[Region, bytes]] = []
        self.home("CreateSecret", Name=self.name, SecretString="v0", ClientRequestToken=token(0))

    def linked(self) -> bool:
        return "ReplicationStatus" in self.home("DescribeSecret", SecretId=self.name)

    def put(self) -> None:
        number = next(self.values)
        # The id of a version that is gone may come back with another value.
        version_id = self.dropped.pop() if self.dropped and number % 2 else token(number)
        self.tokens.append(version_id)
        stages = self.random.choice([None, ["AWSPENDING"], ["blue"], ["AWSCURRENT", "green"]])
        extra = {} if stages is None else {"VersionStages": stages}
        self.home(
            "PutSecretValue",
            SecretId=self.name,
            SecretString=f"v{number}",
            ClientRequestToken=version_id,
            **extra,
        )

    def label(self) -> None:
        holders = self.holders()
        stage = self.random.choice(["blue", "green", "AWSCURRENT", "AWSPENDING"])
        moves: dict[str, str] = {"MoveToVersionId": self.random.choice(self.tokens)}
        if stage in holders:
            moves["RemoveFromVersionId"] = holders[stage]
        self.tolerate("UpdateSecretVersionStage", VersionStage=stage, **moves)

    def unlabel(self) -> None:
        stage = self.random.choice(["blue", "green", "AWSPENDING", "AWSPREVIOUS"])
        holder = self.holders().get(stage)
        if holder is not None:
            self.home(
                "UpdateSecretVersionStage", SecretId=self.name, VersionStage=stage, RemoveFromVersionId=holder
            )

    def describe(self) -> None:
        def work(unit: Unit) -> None:
            secret = secret_in(unit, HOME, self.name)
            secrets.update_secret(unit, secret.evolve(description=f"d{self.random.random()}"))

        self.here.database.write(work)

    def policy(self) -> None:
        def work(unit: Unit) -> None:
            secret = secret_in(unit, HOME, self.name)
            save_policy(unit, secret, self.random.choice([None, policy_with_id(self.random.random())]))
            secrets.update_secret(unit, secret)

        self.here.database.write(work)

    def tag(self) -> None:
        self.home(
            "TagResource",
            SecretId=self.name,
            Tags=[{"Key": self.random.choice("abc"), "Value": str(self.random.random())}],
        )

    def untag(self) -> None:
        self.home("UntagResource", SecretId=self.name, TagKeys=[self.random.choice("abc")])

    def drop(self) -> None:
        pending = self.holders().get("AWSPENDING")
        current = self.holders().get("AWSCURRENT")
        if pending is not None and pending != current:
            self.here.database.write(
                lambda unit: secrets.drop_version(unit, secret_in(unit, HOME, self.name), pending)
            )
            self.tokens.remove(pending)
            self.dropped.append(pending)

    def replicate(self) -> None:
        self.home(
            "ReplicateSecretToRegions",
            SecretId=self.name,
            AddReplicaRegions=replicas(AWAY),
            ForceOverwriteReplicaSecret=True,
        )

    def remove(self) -> None:
        self.home("RemoveRegionsFromReplication", SecretId=self.name, RemoveReplicaRegions=[AWAY])

    def promote(self) -> None:
        try:
            self.away("StopReplicationToReplica", SecretId=self.name)
        except ApiError:
            return

    def deliver(self) -> None:
        """Carry out any job that was ever promised, be it done already or not; the outbox keeps its promise too."""
        self.jobs += [job for job in self.here.promised() if job not in self.jobs]
        if self.jobs:
            run(self.here, self.random.choice(self.jobs))
        if self.random.random() < 0.3:
            self.here.deliver()

    def tolerate(self, operation: str, **parameters: Any) -> None:
        """Ask for what may be refused."""
        try:
            self.home(operation, SecretId=self.name, **parameters)
        except ApiError:
            return

    def holders(self) -> dict[str, str]:
        stages = self.home("DescribeSecret", SecretId=self.name).get("VersionIdsToStages") or {}
        return {stage: version_id for version_id, held in stages.items() for stage in held}

    def end(self) -> None:
        """Deliver all that is promised, in any order, some of it twice."""
        self.jobs += [job for job in self.here.promised() if job not in self.jobs]
        last = self.jobs + self.jobs[::2]
        self.random.shuffle(last)
        for job in last:
            run(self.here, job)
        self.here.deliver()


STEPS: tuple[Callable[[Story], None], ...] = (
    Story.put,
    Story.label,
    Story.unlabel,
    Story.describe,
    Story.policy,
    Story.tag,
    Story.untag,
    Story.drop,
    Story.replicate,
    Story.replicate,
    Story.remove,
    Story.promote,
    Story.deliver,
    Story.deliver,
)


@settings(
    max_examples=examples(12),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=20), seed=st.integers(0, 2**32))
def test_whatever_happens_in_whatever_order_the_replica_ends_as_its_primary(
    here: Deployment, steps: list[Callable[[Story], None]], seed: int
) -> None:
    story = Story(here, seed)
    story.replicate()
    for step in steps:
        here.clock.advance(timedelta(seconds=1))
        step(story)
    story.end()
    if not story.linked():
        story.replicate()
        here.deliver()
    assert status(story.home, story.name) == {AWAY: "InSync"}
    assert picture(story.away, story.name) == picture(story.home, story.name)
