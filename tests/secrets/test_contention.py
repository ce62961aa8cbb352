"""Many writers of one secret at the same time: each change is carried out, and none is refused for the others' sake."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.calling import Client, token
from tests.sampling import examples

WRITERS, CHANGES = 8, examples(20)


def change(client: Client, writer: int, names: list[str]) -> None:
    """Make one writer's changes, of three kinds in a mix of its own."""
    drawn, own = random.Random(writer), client.elsewhere(records=[], answers=[])
    for number in range(CHANGES):
        name, request = drawn.choice(names), token(1_000 * (writer + 1) + number)
        kind = drawn.choice(("UpdateSecret", "PutSecretValue", "TagResource", "TagResource"))
        if kind == "TagResource":
            own(kind, SecretId=name, Tags=[{"Key": f"writer-{writer}", "Value": str(number)}])
        else:
            own(kind, SecretId=name, SecretString=f"{writer}-{number}", ClientRequestToken=request)


@pytest.mark.parametrize("secrets", [1, 4])
def test_every_one_of_many_writers_gets_its_change_made(client: Client, secrets: int) -> None:
    names = [f"shared/{number}" for number in range(secrets)]
    for number, name in enumerate(names):
        client("CreateSecret", Name=name, SecretString="first", ClientRequestToken=token(number))
    with ThreadPoolExecutor(WRITERS) as writers:
        for done in [writers.submit(change, client, writer, names) for writer in range(WRITERS)]:
            done.result(240)
    for name in names:
        labels = client("DescribeSecret", SecretId=name)["VersionIdsToStages"].values()
        assert sorted(stage for stages in labels for stage in stages) == ["AWSCURRENT", "AWSPREVIOUS"]
