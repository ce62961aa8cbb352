"""The four steps and the probe, with a real database and a Secrets Manager in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from psycopg import sql

from turnlock.local_servers import EmbeddedPostgres
from turnlock.rotators import DatabaseFailed, NoWayIn, Refused, Superseded, Unreachable, handle
from turnlock.rotators.engines.engine import credential_of
from turnlock.rotators.engines.postgresql.engine import PostgreSQL
from turnlock.rotators.postgresql_single_user import lambda_handler
from turnlock.rotators.testing import AccessDeniedException, InMemorySecretsManager, ResourceExistsException

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("environment")]

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def run(
    secret: InMemorySecretsManager, step: str, token: str = "second", **more: str
) -> dict[str, str] | None:
    event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": token, **more}
    return handle(event, PostgreSQL(), secret)


def accepts(value: Mapping[str, Any]) -> bool:
    """Tell, by another way than the engine's, whether the server accepts a value's login."""
    try:
        psycopg.connect(
            host="127.0.0.1",
            port=value["port"],
            user=value["username"],
            password=value["password"],
            dbname="postgres",
            sslmode="disable",
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def re_password(admin: psycopg.Connection, secret: InMemorySecretsManager, password: str) -> None:
    role = sql.Identifier(secret.value("AWSCURRENT")["username"])
    admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, password))


def changed(value: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {**value, **changes}


# The whole way.


def test_the_four_steps_rotate_the_secret_and_the_database(secret: InMemorySecretsManager) -> None:
    old = secret.value("AWSCURRENT")
    for step in STEPS:
        assert run(secret, step) is None
    new = secret.value("AWSCURRENT")
    assert secret.labels["second"] >= {"AWSCURRENT"}
    assert secret.labels["first"] == {"AWSPREVIOUS"}
    assert new == changed(old, password=new["password"])
    assert len(new["password"]) == 32
    assert accepts(new)
    assert not accepts(old)


def test_each_step_may_come_any_number_of_times(secret: InMemorySecretsManager) -> None:
    for step in STEPS:
        for _ in range(3):
            run(secret, step)
    assert secret.calls.count("PutSecretValue") == 1
    assert secret.calls.count("GetRandomPassword") == 1
    assert secret.calls.count("UpdateSecretVersionStage") == 1
    assert accepts(secret.value("AWSCURRENT"))


def test_every_stored_version_that_counts_can_log_in_after_each_step(secret: InMemorySecretsManager) -> None:
    for step in STEPS:
        run(secret, step)
        labelled = [json.loads(text) for token, text in secret.values.items() if secret.labels[token]]
        assert any(accepts(value) for value in labelled)


def test_all_steps_again_after_a_crash_anywhere_end_the_same(secret: InMemorySecretsManager) -> None:
    for crash_after in range(4):
        for step in STEPS[: crash_after + 1]:
            run(secret, step)
    assert accepts(secret.value("AWSCURRENT"))


def test_the_hosted_function_takes_its_endpoint_from_the_environment(
    secret: InMemorySecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnlock.rotators.skeleton.client", lambda: secret)
    event = {"Step": "createSecret", "SecretId": secret.arn, "ClientRequestToken": "second"}
    assert lambda_handler(event, None) is None
    assert secret.value("AWSPENDING")["kept"] == "as it is"


# What the event and the labels must say.


@pytest.mark.parametrize("step", ["create_secret", "CREATESECRET", "constructor", "", "Probe"])
def test_an_unknown_step_is_refused_before_anything_is_called(
    secret: InMemorySecretsManager, step: str
) -> None:
    with pytest.raises(ValueError, match=r"step|Step"):
        run(secret, step)
    assert secret.calls == []


@pytest.mark.parametrize("missing", ["Step", "SecretId", "ClientRequestToken"])
def test_an_incomplete_event_is_refused(secret: InMemorySecretsManager, missing: str) -> None:
    event = {"Step": "probe", "SecretId": secret.arn, "ClientRequestToken": "second"}
    del event[missing]
    with pytest.raises(ValueError, match=missing):
        handle(event, PostgreSQL(), secret)


@pytest.mark.parametrize("step", STEPS)
def test_a_secret_that_does_not_rotate_is_refused(secret: InMemorySecretsManager, step: str) -> None:
    secret.rotation_enabled = False
    with pytest.raises(ValueError, match="is not enabled for rotation"):
        run(secret, step)


@pytest.mark.parametrize("step", STEPS)
def test_an_unknown_version_is_refused(secret: InMemorySecretsManager, step: str) -> None:
    with pytest.raises(ValueError, match="has no stage for rotation"):
        run(secret, step, "third")


@pytest.mark.parametrize("step", STEPS)
def test_a_version_that_is_not_pending_is_refused(secret: InMemorySecretsManager, step: str) -> None:
    secret.label("second", "other")
    secret.label("third", "AWSPENDING")
    with pytest.raises(ValueError, match="not set as AWSPENDING"):
        run(secret, step)


# createSecret.


def test_the_rotation_token_is_passed_on(secret: InMemorySecretsManager) -> None:
    run(secret, "createSecret", RotationToken="0" * 36)
    assert secret.rotation_tokens == ["0" * 36]


def test_a_version_that_another_attempt_stored_meanwhile_is_kept(
    secret: InMemorySecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = changed(secret.value("AWSCURRENT"), password="theirs")

    def meanwhile(**request: Any) -> dict[str, Any]:
        secret.store("second", theirs, "AWSPENDING")
        return {"RandomPassword": "ours"}

    monkeypatch.setattr(secret, "get_random_password", meanwhile)
    run(secret, "createSecret")
    assert secret.value("AWSPENDING") == theirs


def test_a_stored_version_that_lost_its_label_is_an_error(secret: InMemorySecretsManager) -> None:
    secret.store("second", changed(secret.value("AWSCURRENT"), password="theirs"))
    secret.get_secret_value = lambda **request: _without("second", secret, request)  # type: ignore[method-assign]
    with pytest.raises(ResourceExistsException):
        run(secret, "createSecret")


def _without(token: str, secret: InMemorySecretsManager, request: Mapping[str, Any]) -> dict[str, Any]:
    if request.get("VersionId") == token:
        raise secret.exceptions.ResourceNotFoundException
    return {"SecretString": secret.values["first"]}


def test_a_secret_without_a_current_value_cannot_rotate(secret: InMemorySecretsManager) -> None:
    del secret.values["first"]
    with pytest.raises(ValueError, match="no AWSCURRENT value"):
        run(secret, "createSecret")


@pytest.mark.parametrize("change", [{"engine": "mysql"}, {"password": ""}], ids=str)
def test_a_value_that_does_not_fit_makes_no_pending_version(
    secret: InMemorySecretsManager, change: dict[str, str]
) -> None:
    secret.store("first", changed(secret.value("AWSCURRENT"), **change))
    with pytest.raises((KeyError, ValueError)):
        run(secret, "createSecret")
    assert "second" not in secret.values


# setSecret.


def test_the_previous_password_is_a_way_in(secret: InMemorySecretsManager) -> None:
    secret.store("zero", secret.value("AWSCURRENT"), "AWSPREVIOUS")
    secret.store("first", changed(secret.value("AWSCURRENT"), password="never set"), "AWSCURRENT")
    run(secret, "createSecret")
    run(secret, "setSecret")
    assert accepts(secret.value("AWSPENDING"))


def test_the_previous_version_is_used_with_the_current_ones_tls(
    secret: InMemorySecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = secret.value("AWSCURRENT")
    secret.store("zero", changed(current, ssl=True), "AWSPREVIOUS")
    secret.store("first", changed(current, password="never set", ssl=False), "AWSCURRENT")
    monkeypatch.setenv("SSL_CA_FILE", "/nonexistent")  # so that only plain connections work
    run(secret, "createSecret")
    run(secret, "setSecret")
    assert run(secret, "probe") == {"pending": "accepted", "current": "refused", "previous": "refused"}


@pytest.mark.parametrize(("key", "value"), [("username", "postgres"), ("host", "localhost")])
def test_another_user_or_host_than_the_current_one_is_not_touched(
    secret: InMemorySecretsManager, key: str, value: str
) -> None:
    pending = changed(secret.value("AWSCURRENT"), password="new", **{key: value})
    secret.store("second", pending, "AWSPENDING")
    with pytest.raises(ValueError, match=f"pending version names another {key} than the current one"):
        run(secret, "setSecret")
    assert accepts(secret.value("AWSCURRENT"))


def test_another_user_than_the_previous_one_is_not_touched(secret: InMemorySecretsManager) -> None:
    secret.store("zero", changed(secret.value("AWSCURRENT"), username="postgres"), "AWSPREVIOUS")
    secret.store("first", changed(secret.value("AWSCURRENT"), password="never set"), "AWSCURRENT")
    run(secret, "createSecret")
    with pytest.raises(ValueError, match=r"another username than the previous one.*current refused \(28P01"):
        run(secret, "setSecret")


def test_no_way_in_says_what_came_of_each_version(
    secret: InMemorySecretsManager, admin: psycopg.Connection
) -> None:
    run(secret, "createSecret")
    re_password(admin, secret, "changed behind our back")
    with pytest.raises(
        NoWayIn, match=r"current refused \(28P01: .*\); pending refused \(28P01: .*\); previous absent\."
    ) as caught:
        run(secret, "setSecret")
    assert secret.value("AWSCURRENT")["username"] not in str(caught.value)
    assert secret.value("AWSPENDING")["password"] not in str(caught.value)


def test_an_unreachable_database_ends_the_attempt(secret: InMemorySecretsManager) -> None:
    secret.store("first", changed(secret.value("AWSCURRENT"), dbname="nowhere"), "AWSCURRENT")
    secret.store("second", changed(secret.value("AWSCURRENT"), password="new"), "AWSPENDING")
    with pytest.raises(NoWayIn, match=r"to the database: current unreachable \(3D000[^;]*$"):
        run(secret, "setSecret")


def test_a_superseded_rotation_changes_nothing(
    secret: InMemorySecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(secret, "createSecret")
    pending = secret.value("AWSPENDING")
    describe, answers = secret.describe_secret, iter((False, True))

    def superseded_meanwhile(**request: Any) -> dict[str, Any]:
        secret.superseded = next(answers)
        return describe(**request)

    monkeypatch.setattr(secret, "describe_secret", superseded_meanwhile)
    with pytest.raises(AccessDeniedException):
        run(secret, "setSecret")
    assert not accepts(pending)


def test_a_version_that_lost_its_label_meanwhile_is_not_set(
    secret: InMemorySecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(secret, "createSecret")
    pending = secret.value("AWSPENDING")
    _label_before_second_description(secret, monkeypatch, "third")
    with pytest.raises(Superseded, match="no longer the one to set"):
        run(secret, "setSecret")
    assert not accepts(pending)


def _label_before_second_description(
    secret: InMemorySecretsManager, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    describe, calls = secret.describe_secret, iter(range(9))

    def describing(**request: Any) -> dict[str, Any]:
        if next(calls):
            secret.label(token, "AWSPENDING")
        return describe(**request)

    monkeypatch.setattr(secret, "describe_secret", describing)


# A database that went back in time.


def restored(secret: InMemorySecretsManager, admin: psycopg.Connection) -> None:
    """Rotate, then let the database forget the new password, as a restore does."""
    for step in STEPS:
        run(secret, step)
    re_password(admin, secret, "old password")
    assert not accepts(secret.value("AWSCURRENT"))


def test_the_current_password_is_restored_through_the_previous_one(
    secret: InMemorySecretsManager, admin: psycopg.Connection
) -> None:
    restored(secret, admin)
    before = secret.value("AWSCURRENT")
    assert run(secret, "probe") == {"pending": "refused", "current": "refused", "previous": "accepted"}
    with pytest.raises(Refused, match=r"current refused \(28P01"):
        run(secret, "testSecret")
    for step in STEPS:
        run(secret, step)
    assert secret.value("AWSCURRENT") == before
    assert accepts(before)


def test_a_restoring_attempt_gives_way_to_a_version_that_is_being_made(
    secret: InMemorySecretsManager, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored(secret, admin)
    _label_before_second_description(secret, monkeypatch, "third")
    with pytest.raises(Superseded, match="Another version"):
        run(secret, "setSecret")
    assert accepts(secret.value("AWSPREVIOUS"))


def test_nothing_is_restored_when_nothing_is_known(
    secret: InMemorySecretsManager, admin: psycopg.Connection
) -> None:
    restored(secret, admin)
    re_password(admin, secret, "a third one")
    with pytest.raises(NoWayIn, match=r"previous refused \(.*\); current refused \("):
        run(secret, "setSecret")


# testSecret.


def test_a_copy_of_the_current_version_passes_the_test(secret: InMemorySecretsManager) -> None:
    secret.store("second", secret.value("AWSCURRENT"), "AWSPENDING")
    run(secret, "testSecret")
    assert secret.calls == ["DescribeSecret", "GetSecretValue"]


def test_a_pending_version_that_was_not_set_fails_the_test(secret: InMemorySecretsManager) -> None:
    run(secret, "createSecret")
    with pytest.raises(Refused, match=r"pending refused \(28P01: .*<username>"):
        run(secret, "testSecret")


def test_a_pending_version_without_a_value_fails_the_test(secret: InMemorySecretsManager) -> None:
    with pytest.raises(ValueError, match="no AWSPENDING value"):
        run(secret, "testSecret")


def test_a_database_that_does_not_answer_queries_fails_the_test(
    secret: InMemorySecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(engine: PostgreSQL, connection: object) -> None:
        raise DatabaseFailed("57014: canceled")

    run(secret, "createSecret")
    run(secret, "setSecret")
    monkeypatch.setattr(PostgreSQL, "check", fail)
    with pytest.raises(DatabaseFailed, match="57014"):
        run(secret, "testSecret")


def test_the_log_of_the_server_never_holds_a_generated_password(
    secret: InMemorySecretsManager, server: EmbeddedPostgres
) -> None:
    for step in STEPS:
        run(secret, step)
        run(secret, "probe")
    assert secret.value("AWSCURRENT")["password"] not in server.log_path.read_text()


def test_an_unreachable_database_is_said_so_by_the_test(secret: InMemorySecretsManager) -> None:
    pending = changed(secret.value("AWSCURRENT"), port=1)
    assert credential_of(pending, PostgreSQL()).port == 1
    secret.store("second", pending, "AWSPENDING")
    with pytest.raises(Unreachable, match=r"pending unreachable \("):
        run(secret, "testSecret")
