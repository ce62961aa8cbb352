"""The pure rules of staging labels and names, against a naive second implementation."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support import NOON
from turnlock.core.arn import AccountId, Region
from turnlock.errors import (
    ApiError,
    InvalidParameterException,
    InvalidRequestException,
    LimitExceededException,
    ValidationException,
)
from turnlock.secrets import AWSCURRENT, AWSPENDING, AWSPREVIOUS, SecretReference, parse_secret_id, stages_of
from turnlock.secrets.model import (
    MOST_LABELS,
    Labels,
    Secret,
    attach,
    check_name,
    check_text,
    is_name,
    promoted_labels,
    put_labels,
    update_labels,
    versions_to_stages,
)

ACCOUNT = AccountId("123456789012")
REGION = Region("eu-central-1")

Versions = dict[str, set[str]]
"""The naive form: each version with the set of its labels."""

VERSION = st.sampled_from(["v1", "v2", "v3", "v4"])
STAGE = st.sampled_from([AWSCURRENT, AWSPENDING, AWSPREVIOUS, "blue", "green"])
LABELS = st.one_of(
    st.dictionaries(STAGE, VERSION),
    # Near the limit.
    st.tuples(st.dictionaries(STAGE, VERSION), st.integers(14, 20)).map(
        lambda pair: {**pair[0], **{f"label-{number}": "v1" for number in range(pair[1] - len(pair[0]))}}
    ),
)


def by_version(labels: Labels) -> Versions:
    versions: Versions = {}
    for label, version in labels.items():
        versions.setdefault(version, set()).add(label)
    return versions


def holder_of(versions: Versions, label: str) -> str | None:
    return next((version for version, labels in versions.items() if label in labels), None)


def take_away(versions: Versions, label: str) -> None:
    for labels in versions.values():
        labels.discard(label)


def give(versions: Versions, label: str, version: str) -> None:
    take_away(versions, label)
    versions.setdefault(version, set()).add(label)


def naive_move(versions: Versions, version: str, stages: set[str]) -> Versions:
    """What the API reference says of a label that moves, in small steps."""
    after = deepcopy(versions)
    loser = holder_of(versions, AWSCURRENT)
    for stage in stages:
        give(after, stage, version)
    if AWSCURRENT in stages and loser is not None and loser != version and AWSPREVIOUS not in stages:
        give(after, AWSPREVIOUS, loser)
    return after


def naive_put(versions: Versions, version: str, stages: set[str] | None) -> Versions:
    wanted = {AWSCURRENT} if stages is None else set(stages)
    if holder_of(versions, AWSCURRENT) is None:
        wanted.add(AWSCURRENT)
    after = naive_move(versions, version, wanted)
    if AWSCURRENT in wanted and holder_of(after, AWSPENDING) != version:
        take_away(after, AWSPENDING)
    return after


def naive_update(
    versions: Versions, stage: str, move_to: str | None, remove_from: str | None
) -> Versions | type[ApiError]:
    holder = holder_of(versions, stage)
    if move_to is None and remove_from is None:
        return InvalidParameterException
    if remove_from is not None and holder != remove_from:
        return InvalidParameterException
    if move_to is None:
        if stage == AWSCURRENT:
            return InvalidRequestException
        after = deepcopy(versions)
        take_away(after, stage)
        return after
    if holder not in (None, move_to) and remove_from is None:
        return InvalidParameterException
    return naive_move(versions, move_to, {stage})


def count(versions: Versions) -> int:
    """Count labels against the quota: AWSPENDING on the version that is current is about to go."""
    return sum(len(labels) - ({AWSCURRENT, AWSPENDING} <= labels) for labels in versions.values())


def without_empty(versions: Versions) -> Versions:
    return {version: labels for version, labels in versions.items() if labels}


@given(labels=LABELS, version=VERSION, stages=st.none() | st.lists(STAGE, min_size=1, max_size=6))
def test_putting_a_version_moves_labels_as_the_naive_model_says(
    labels: dict[str, str], version: str, stages: list[str] | None
) -> None:
    before = dict(labels)
    expected = naive_put(by_version(labels), version, None if stages is None else set(stages))
    if count(expected) > MOST_LABELS:
        with pytest.raises(LimitExceededException):
            put_labels(labels, version, stages)
    else:
        assert by_version(put_labels(labels, version, stages)) == without_empty(expected)
    assert labels == before


@given(labels=LABELS, stage=STAGE, move_to=st.none() | VERSION, remove_from=st.none() | VERSION)
def test_updating_a_stage_moves_labels_as_the_naive_model_says(
    labels: dict[str, str], stage: str, move_to: str | None, remove_from: str | None
) -> None:
    expected = naive_update(by_version(labels), stage, move_to, remove_from)
    if isinstance(expected, type):
        with pytest.raises(expected):
            update_labels(labels, stage, move_to=move_to, remove_from=remove_from)
    elif count(expected) > MOST_LABELS:
        with pytest.raises(LimitExceededException):
            update_labels(labels, stage, move_to=move_to, remove_from=remove_from)
    else:
        after = update_labels(labels, stage, move_to=move_to, remove_from=remove_from)
        assert by_version(after) == without_empty(expected)


@given(labels=LABELS, version=VERSION, stages=st.none() | st.lists(STAGE, min_size=1, max_size=6))
def test_after_any_put_one_version_is_current_and_its_loser_previous(
    labels: dict[str, str], version: str, stages: list[str] | None
) -> None:
    assume(len(labels) < MOST_LABELS - 5)
    after = put_labels(labels, version, stages)
    assert AWSCURRENT in after
    loser = labels.get(AWSCURRENT)
    if after[AWSCURRENT] != loser and loser is not None and AWSPREVIOUS not in (stages or ()):
        assert after[AWSPREVIOUS] == loser


@given(labels=LABELS, version=VERSION, stages=st.lists(STAGE, max_size=4))
def test_attached_labels_are_on_the_version_and_others_stay(
    labels: dict[str, str], version: str, stages: list[str]
) -> None:
    assume(len(labels) < MOST_LABELS - 5)
    after = attach(labels, version, stages)
    assert all(after[stage] == version for stage in stages)
    kept = labels.keys() - set(stages) - {AWSPREVIOUS}
    assert {label: after[label] for label in kept} == {label: labels[label] for label in kept}


def test_a_label_that_goes_makes_room_for_one_that_comes() -> None:
    labels = {AWSCURRENT: "v1", AWSPENDING: "v2", **{f"label-{n}": "v1" for n in range(MOST_LABELS - 2)}}
    after = put_labels(labels, "v3", None)
    assert len(after) == MOST_LABELS
    assert AWSPENDING not in after
    assert after[AWSPREVIOUS] == "v1"


def test_a_version_that_is_put_beside_a_rotation_leaves_its_pending_version_alone() -> None:
    rotating = {AWSCURRENT: "v1", AWSPENDING: "v2"}
    assert put_labels(rotating, "v3", ["mine"]) == {**rotating, "mine": "v3"}
    assert put_labels(rotating, "v3", None) == {AWSCURRENT: "v3", AWSPREVIOUS: "v1"}


def test_a_replica_that_is_promoted_has_nothing_pending_but_its_current_version() -> None:
    rotating = {AWSCURRENT: "v1", AWSPREVIOUS: "v0", AWSPENDING: "v2", "mine": "v2"}
    assert promoted_labels(rotating) == {AWSCURRENT: "v1", AWSPREVIOUS: "v0", "mine": "v2"}
    finished = {AWSCURRENT: "v2", AWSPREVIOUS: "v1", AWSPENDING: "v2"}
    assert promoted_labels(finished) == finished


def test_the_sentence_for_a_holder_that_was_not_named_names_it() -> None:
    with pytest.raises(InvalidParameterException) as caught:
        update_labels({AWSCURRENT: "v1"}, AWSCURRENT, move_to="v2", remove_from=None)
    assert caught.value.message == (
        "The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version"
        " v1, so you must explicitly reference that version in RemoveFromVersionId."
    )


@given(labels=LABELS)
def test_both_views_of_labels_agree(labels: dict[str, str]) -> None:
    view = versions_to_stages(labels)
    assert {version: set(stages) for version, stages in view.items()} == by_version(labels)
    for version in ("v1", "v2", "v3", "v4"):
        assert stages_of(labels, version) == view.get(version, []) == sorted(view.get(version, []))


def reference(name: str, suffix: str | None = None, region: str = REGION) -> SecretReference:
    return SecretReference(account_id=ACCOUNT, region=Region(region), name=name, suffix=suffix)


PREFIX = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"


@pytest.mark.parametrize(
    ("secret_id", "expected"),
    [
        ("db", reference("db")),
        ("prod/db-abcdef", reference("prod/db-abcdef")),
        (f"{PREFIX}db-abcdef", reference("db", "abcdef")),
        (f"{PREFIX}a-abcdef", reference("a", "abcdef")),
        (f"{PREFIX}db", reference("db")),
        (f"{PREFIX}prod/db-x-A1b2C3", reference("prod/db-x", "A1b2C3")),
        # Read as a full one first; `partial` is what it is else.
        (f"{PREFIX}my-secret", reference("my", "secret")),
        (f"{PREFIX}-secret", reference("-secret")),
        (f"{PREFIX}db-abcde", reference("db-abcde")),
        (f"{PREFIX}db-abcde!", reference("db-abcde!")),
        (
            f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:db-abcdef",
            reference("db", "abcdef", "us-east-1"),
        ),
        (
            f"arn:aws-cn:secretsmanager:cn-north-1:{ACCOUNT}:secret:db-abcdef",
            reference("db", "abcdef", "cn-north-1"),
        ),
    ],
)
def test_a_secret_id_is_read_as_aws_reads_it(secret_id: str, expected: SecretReference) -> None:
    assert parse_secret_id(secret_id, ACCOUNT, REGION) == expected


def test_a_full_arn_may_be_a_partial_one_of_a_name_that_ends_like_a_suffix() -> None:
    assert parse_secret_id(f"{PREFIX}my-secret", ACCOUNT, REGION).partial == reference("my-secret")
    assert parse_secret_id(f"{PREFIX}my-secrets", ACCOUNT, REGION).partial is None
    assert parse_secret_id("my-secret", ACCOUNT, REGION).partial is None


@pytest.mark.parametrize(
    "secret_id", ["a:b", f"{PREFIX}a:b", "§", "", " db", "db\n", "a" * 600 + "*", "db\0"]
)
def test_a_name_that_no_secret_can_have_is_a_validation_exception(secret_id: str) -> None:
    with pytest.raises(ValidationException, match=r"^Invalid name\. Must be a valid name containing"):
        parse_secret_id(secret_id, ACCOUNT, REGION)


@pytest.mark.parametrize(
    "secret_id",
    [
        "arn:",
        "arn:aws:secretsmanager",
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:",
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret",
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:other:db-abcdef",
        f"arn:aws:kms:{REGION}:{ACCOUNT}:secret:db-abcdef",
        # A Region of another partition than the ARN's: there is no such secret anywhere.
        f"arn:aws-cn:secretsmanager:{REGION}:{ACCOUNT}:secret:db-abcdef",
        f"arn:nonsense:secretsmanager:{REGION}:{ACCOUNT}:secret:db-abcdef",
    ],
)
def test_a_malformed_arn_is_an_invalid_parameter(secret_id: str) -> None:
    with pytest.raises(InvalidParameterException, match=r"^Invalid ARN\.$"):
        parse_secret_id(secret_id, ACCOUNT, REGION)


@given(
    secret_id=st.text(max_size=60) | st.text(max_size=60).map(lambda text: f"arn:aws:secretsmanager:{text}")
)
def test_no_text_breaks_the_reading_of_a_secret_id(secret_id: str) -> None:
    try:
        parse_secret_id(secret_id, ACCOUNT, REGION)
    except InvalidParameterException:
        assert secret_id.startswith("arn:")
    except ValidationException:
        assert secret_id.startswith("arn:") or not is_name(secret_id)


NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_+=.@-!"


@given(name=st.text(st.characters(codec="utf-8") | st.sampled_from(NAME_CHARACTERS), max_size=20))
def test_a_name_has_only_the_characters_that_aws_allows(name: str) -> None:
    allowed = 1 <= len(name) <= 512 and all(character in NAME_CHARACTERS for character in name)
    assert is_name(name) == allowed
    if not allowed:
        with pytest.raises(ValidationException):
            check_name(name)


def test_a_name_has_an_end() -> None:
    check_name("x" * 512)
    assert not is_name("x" * 513)
    assert not is_name("name\n")


def test_text_with_a_null_character_is_refused_by_its_members_name() -> None:
    check_text("Description", "a\u0001b")
    with pytest.raises(InvalidParameterException, match="Description must not contain the null character"):
        check_text("Description", "a\0b")


def test_the_arn_of_a_secret_follows_what_it_is_made_of() -> None:
    secret = Secret(
        account_id=ACCOUNT,
        region=REGION,
        name="db",
        suffix="AbCdEf",
        created_at=NOON,
        last_changed_at=NOON,
    )
    assert secret.arn == f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:db-AbCdEf"
    elsewhere = secret.evolve(region=Region("cn-north-1"), suffix="aaaaaa")
    assert elsewhere.arn == f"arn:aws-cn:secretsmanager:cn-north-1:{ACCOUNT}:secret:db-aaaaaa"
