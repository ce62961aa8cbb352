"""UpdateSecretVersionStage, and what moves with a label."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from tests.calling import Client, refusal, token
from tests.support import NOON, StorePlace
from turnlock.errors import InternalServiceError, ResourceNotFoundException
from turnlock.secrets import AWSCURRENT, LabelsChanged, SecretReference, find_secret, put_placeholder
from turnlock.secrets.tables import staging_labels
from turnlock.storage import Unit


@pytest.fixture
def client(client: Client) -> Client:
    """A client with a secret `db` of three versions: 0 without a label, 1 previous, 2 current."""
    client("CreateSecret", Name="db", SecretString="v0", ClientRequestToken=token(0))
    for number in (1, 2):
        client("PutSecretValue", SecretId="db", SecretString=f"v{number}", ClientRequestToken=token(number))
    return client


def move(
    client: Client, stage: str = AWSCURRENT, *, to: int | None = None, remove: int | None = None
) -> dict[str, Any]:
    parameters: dict[str, Any] = {"SecretId": "db", "VersionStage": stage}
    if to is not None:
        parameters["MoveToVersionId"] = token(to)
    if remove is not None:
        parameters["RemoveFromVersionId"] = token(remove)
    return client("UpdateSecretVersionStage", **parameters)


def stages(client: Client) -> dict[int, list[str]]:
    found: dict[str, list[str]] = client("DescribeSecret", SecretId="db")["VersionIdsToStages"]
    numbers = {token(number): number for number in range(100)}
    return {numbers[version]: labels for version, labels in found.items()}


def test_moving_current_drags_previous_to_the_loser(client: Client) -> None:
    client.clock.advance(timedelta(minutes=1))
    answer = move(client, to=0, remove=2)
    assert answer.keys() == {"ARN", "Name"}
    assert stages(client) == {0: ["AWSCURRENT"], 2: ["AWSPREVIOUS"]}
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "v0"
    assert client("DescribeSecret", SecretId="db")["LastChangedDate"] == NOON + timedelta(minutes=1)


def test_rolling_back_swaps_current_and_previous(client: Client) -> None:
    move(client, to=1, remove=2)
    assert stages(client) == {1: ["AWSCURRENT"], 2: ["AWSPREVIOUS"]}


def test_a_holder_that_is_not_named_or_wrongly_named_keeps_its_label(client: Client) -> None:
    assert refusal(lambda: move(client, to=1)) == (
        "InvalidParameterException",
        (
            "The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to"
            f" version {token(2)}, so you must explicitly reference that version in RemoveFromVersionId."
        ),
    )
    assert refusal(lambda: move(client, to=0, remove=1))[0] == "InvalidParameterException"
    assert refusal(lambda: move(client, "blue", to=0, remove=1))[0] == "InvalidParameterException"
    assert stages(client) == {1: ["AWSPREVIOUS"], 2: ["AWSCURRENT"]}


def test_a_new_label_needs_only_its_target_and_can_be_taken_off_again(client: Client) -> None:
    move(client, "blue", to=0)
    move(client, "blue", to=0)
    assert stages(client)[0] == ["blue"]
    move(client, "blue", to=1, remove=0)
    assert stages(client)[1] == ["AWSPREVIOUS", "blue"]
    move(client, "blue", remove=1)
    assert stages(client) == {1: ["AWSPREVIOUS"], 2: ["AWSCURRENT"]}


def test_current_cannot_be_taken_off_without_a_target(client: Client) -> None:
    assert refusal(lambda: move(client, remove=2))[0] == "InvalidRequestException"
    assert stages(client)[2] == ["AWSCURRENT"]


def test_neither_target_nor_source_is_refused(client: Client) -> None:
    assert refusal(lambda: move(client))[0] == "InvalidParameterException"


def test_versions_that_are_not_there_are_not_found(client: Client) -> None:
    for call in (
        partial(move, client, "blue", to=9),
        partial(move, client, to=9, remove=2),
        partial(move, client, "blue", remove=9),
    ):
        code, message = refusal(call)
        assert code == "ResourceNotFoundException"
        assert token(9) in message


def test_a_version_that_becomes_current_keeps_pending_and_labels_of_ones_own(client: Client) -> None:
    """Recorded from AWS; rotation functions read AWSPENDING after they have moved AWSCURRENT."""
    client(
        "PutSecretValue",
        SecretId="db",
        SecretString="v3",
        ClientRequestToken=token(3),
        VersionStages=["AWSPENDING", "blue"],
    )
    move(client, to=3, remove=2)
    assert stages(client) == {2: ["AWSPREVIOUS"], 3: ["AWSCURRENT", "AWSPENDING", "blue"]}
    for stage in ("AWSCURRENT", "AWSPENDING", "blue"):
        read = client("GetSecretValue", SecretId="db", VersionStage=stage)
        assert read["VersionStages"] == ["AWSCURRENT", "AWSPENDING", "blue"]
    listed = client("ListSecretVersionIds", SecretId="db")["Versions"]
    assert listed[0]["VersionStages"] == ["AWSCURRENT", "AWSPENDING", "blue"]
    client("PutSecretValue", SecretId="db", SecretString="v4", ClientRequestToken=token(4))
    assert stages(client) == {3: ["AWSPREVIOUS", "blue"], 4: ["AWSCURRENT"]}


def test_a_put_after_the_move_leaves_previous_alone_on_the_old_version(client: Client) -> None:
    pending = {"SecretString": "v3", "ClientRequestToken": token(3), "VersionStages": ["AWSPENDING"]}
    client("PutSecretValue", SecretId="db", **pending)
    move(client, to=3, remove=2)
    client("PutSecretValue", SecretId="db", SecretString="v4", ClientRequestToken=token(4))
    assert stages(client) == {3: ["AWSPREVIOUS"], 4: ["AWSCURRENT"]}


def test_current_never_goes_to_a_version_without_a_value(client: Client) -> None:
    def work(unit: Unit) -> None:
        reference = SecretReference(
            account_id=client.account_id, region=client.region, name="db", suffix=None
        )
        secret = find_secret(unit, reference)
        assert secret is not None
        put_placeholder(unit, secret, token(3))

    client.database.write(work)
    assert refusal(lambda: move(client, to=3, remove=2))[0] == "InvalidRequestException"
    assert stages(client) == {1: ["AWSPREVIOUS"], 2: ["AWSCURRENT"], 3: ["AWSPENDING"]}
    move(client, "blue", to=3)
    assert stages(client)[3] == ["AWSPENDING", "blue"]


def test_twenty_labels_are_the_most(client: Client) -> None:
    for number in range(18):
        move(client, f"label-{number}", to=0)
    assert refusal(lambda: move(client, "one-more", to=0))[0] == "LimitExceededException"
    move(client, to=0, remove=2)  # a label that moves needs no room


def test_whoever_follows_hears_of_labels_that_moved_and_of_no_others(
    client: Client, store_place: StorePlace
) -> None:
    heard: list[LabelsChanged] = []
    database = store_place.open(
        clock=client.clock, subscribers={LabelsChanged: [lambda _unit, event: heard.append(event)]}
    )
    other = client.elsewhere(database=database)
    move(other, to=1, remove=2)
    move(other, "AWSPREVIOUS", to=2)
    assert len(heard) == 1
    assert heard[0].before == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}
    assert heard[0].secret.labels == {"AWSCURRENT": token(1), "AWSPREVIOUS": token(2)}


def test_a_label_that_was_moved_in_the_store_is_noticed_and_answers_nothing(client: Client) -> None:
    """Whoever can write the store, but has no root key, must not bring an old value back unseen."""

    def forge(unit: Unit) -> None:
        unit.connection.execute(
            update(staging_labels).where(staging_labels.c.label == AWSCURRENT).values(version_id=token(1))
        )

    client.database.write(forge)
    with capture_logs() as logged:
        for call in (
            partial(client, "GetSecretValue", SecretId="db"),
            partial(client, "DescribeSecret", SecretId="db"),
        ):
            assert refusal(call) == ("InternalServiceError", InternalServiceError.__doc__)
        client("ListSecrets")  # shows it without its labels
    told = ["seal_broken", "action_failed"]
    assert [line["action"] for line in logged] == [*told, *told, "seal_broken"]


def test_a_mac_belongs_to_one_label_of_one_secret(client: Client) -> None:
    """The rows of two labels, each genuine, with their MACs exchanged."""

    def swap(unit: Unit) -> None:
        rows = {row.label: row.mac for row in unit.connection.execute(staging_labels.select())}
        for label, other in (("AWSCURRENT", "AWSPREVIOUS"), ("AWSPREVIOUS", "AWSCURRENT")):
            unit.connection.execute(
                update(staging_labels).where(staging_labels.c.label == label).values(mac=rows[other])
            )

    client.database.write(swap)
    with capture_logs(), pytest.raises(InternalServiceError):
        client("GetSecretValue", SecretId="db")
    with pytest.raises(ResourceNotFoundException):
        client("GetSecretValue", SecretId="other")
