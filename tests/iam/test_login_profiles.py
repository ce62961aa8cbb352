"""Passwords: kept as Argon2id, checked in the same time whoever asks, and changed by their owner."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.calling import refusal
from tests.iam.calling import ACCOUNT, OTHER, Caller, user_principal
from tests.support import NOON, SettableClock
from turnlock.errors import AccessDeniedException, PasswordPolicyViolationException, SealBroken
from turnlock.iam.login_profiles import check_password

GOOD = "Correct-Horse-7"


def checks(iam: Caller, password: str, name: str = "ann") -> bool:
    return check_password(iam.database, ACCOUNT, name, password) is not None


def test_a_password_opens_for_its_user_alone(iam: Caller) -> None:
    for name in ("ann", "bob"):
        iam("CreateUser", UserName=name)
    made = iam("CreateLoginProfile", UserName="ann", Password=GOOD, PasswordResetRequired=True)
    shown = {"UserName": "ann", "CreateDate": NOON, "PasswordResetRequired": True}
    assert made == {"LoginProfile": shown}
    assert iam("GetLoginProfile", UserName="ann") == made
    assert checks(iam, GOOD)
    assert not checks(iam, GOOD + "x")
    assert not checks(iam, GOOD, "bob")
    assert not checks(iam, GOOD, "nobody")
    assert check_password(iam.database, OTHER, "ann", GOOD) is None


def test_what_is_kept_is_argon2id(iam: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    iam("CreateUser", UserName="ann")
    iam("CreateLoginProfile", UserName="ann", Password=GOOD)
    (body,) = iam.database.read(
        lambda unit: unit.connection.execute(text("SELECT body FROM login_profiles")).scalars().all()
    )
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in body
    assert GOOD not in body


@pytest.mark.parametrize("password", ["Sh0rt-x", "onlylowercase", "UPPER12345", "Annabel-7"])
def test_a_password_that_is_too_simple_is_refused(iam: Caller, password: str) -> None:
    iam("CreateUser", UserName="annabel-7")
    with pytest.raises(PasswordPolicyViolationException):
        iam("CreateLoginProfile", UserName="annabel-7", Password=password)


def test_a_user_changes_its_own_password(iam: Caller) -> None:
    made = iam("CreateUser", UserName="ann")["User"]
    iam("CreateLoginProfile", UserName="ann", Password=GOOD, PasswordResetRequired=True)
    ann = iam.elsewhere(principal=user_principal(made))
    another = GOOD + "-new"
    assert refusal(lambda: ann("ChangePassword", OldPassword=GOOD, NewPassword=another))[0] == (
        "AccessDeniedException"
    )
    arn = "arn:aws:iam::aws:policy/AdministratorAccess"
    iam("AttachUserPolicy", UserName="ann", PolicyArn=arn)
    with pytest.raises(AccessDeniedException, match="The old password was incorrect"):
        ann("ChangePassword", OldPassword="wrong", NewPassword=another)
    ann("ChangePassword", OldPassword=GOOD, NewPassword=another)
    assert (checks(iam, GOOD), checks(iam, another)) == (False, True)
    assert not iam("GetLoginProfile", UserName="ann")["LoginProfile"]["PasswordResetRequired"]


def test_wrong_passwords_are_counted_and_a_right_one_waits_with_them(
    iam: Caller, clock: SettableClock
) -> None:
    made = iam("CreateUser", UserName="ann")["User"]
    iam("CreateLoginProfile", UserName="ann", Password=GOOD)
    iam("AttachUserPolicy", UserName="ann", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    ann = iam.elsewhere(principal=user_principal(made))
    for _ in range(3):
        with pytest.raises(AccessDeniedException, match="The old password was incorrect"):
            ann("ChangePassword", OldPassword="wrong", NewPassword=GOOD + "-new")
    assert not checks(iam, "wrong")
    assert not checks(iam, "wrong"), "the console and ChangePassword count together"
    assert not checks(iam, GOOD)
    with pytest.raises(AccessDeniedException, match="The old password was incorrect"):
        ann("ChangePassword", OldPassword=GOOD, NewPassword=GOOD + "-new")
    clock.advance(timedelta(minutes=6))
    assert checks(iam, GOOD)


def test_a_password_is_reset_and_taken_away(iam: Caller) -> None:
    iam("CreateUser", UserName="ann")
    iam("CreateLoginProfile", UserName="ann", Password=GOOD)
    assert refusal(lambda: iam("CreateLoginProfile", UserName="ann", Password=GOOD)) == (
        "EntityAlreadyExistsException",
        "Login Profile for user ann already exists.",
    )
    iam("UpdateLoginProfile", UserName="ann", PasswordResetRequired=True)
    assert checks(iam, GOOD)
    iam("UpdateLoginProfile", UserName="ann", Password=GOOD + "2")
    assert (checks(iam, GOOD), checks(iam, GOOD + "2")) == (False, True)
    assert refusal(lambda: iam("DeleteUser", UserName="ann"))[1] == (
        "Cannot delete entity, must delete login profile first."
    )
    iam("DeleteLoginProfile", UserName="ann")
    assert not checks(iam, GOOD + "2")
    assert refusal(lambda: iam("GetLoginProfile", UserName="ann")) == (
        "NoSuchEntityException",
        "Login Profile for User ann cannot be found.",
    )
    assert refusal(lambda: iam("GetAccountPasswordPolicy"))[0] == "NoSuchEntityException"


def test_a_hash_put_there_by_somebody_else_opens_nothing(iam: Caller) -> None:
    for name in ("ann", "bob"):
        iam("CreateUser", UserName=name)
        iam("CreateLoginProfile", UserName=name, Password=f"{GOOD}-{name}")
    ids = {name: iam("GetUser", UserName=name)["User"]["UserId"] for name in ("ann", "bob")}
    swap = text(
        "UPDATE login_profiles SET body = (SELECT body FROM login_profiles WHERE user_id = :bob),"
        " mac = (SELECT mac FROM login_profiles WHERE user_id = :bob) WHERE user_id = :ann"
    )
    iam.database.write(lambda unit: unit.connection.execute(swap, ids))
    with pytest.raises(SealBroken):
        checks(iam, f"{GOOD}-bob")
