"""Login profiles: the passwords of users, for the console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from turnlock.accounts import NO_ATTEMPTS, Attempts, Identity, Kind, find_identity, login_profiles
from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.arn import AccountId
from turnlock.core.call import Call
from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    EntityAlreadyExistsException,
    NoSuchEntityException,
    PasswordPolicyViolationException,
    ValidationException,
)
from turnlock.iam.lookup import calling_user, identity_subject, named_identity
from turnlock.root_keys import Records
from turnlock.storage import Unit

SHORTEST: Final = 8
_HASHER: Final = PasswordHasher()
"""Argon2id with argon2-cffi's profile RFC_9106_LOW_MEMORY: 64 MiB, 3 passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginProfile:
    """One user's password."""

    account_id: AccountId
    user_id: str
    created_at: datetime
    hash: str = field(repr=False)
    """Argon2id with its parameters and salt, in the PHC string format."""
    reset_required: bool = False
    attempts: Attempts = NO_ATTEMPTS
    """Wrong passwords."""


PROFILES: Final = Records(
    login_profiles, LoginProfile, lambda one: {"account_id": one.account_id, "user_id": one.user_id}
)


def create_login_profile(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateLoginProfile. Raises EntityAlreadyExistsException, PasswordPolicyViolationException."""
    user = named_identity(call, request, unit, Kind.USER)
    if "Password" not in request:
        raise ValidationException("A login profile needs a password.")
    profile = LoginProfile(
        account_id=call.account_id,
        user_id=user.id,
        created_at=unit.now,
        hash=_hashed(unit, user, request["Password"]),
        reset_required=request.get("PasswordResetRequired", False),
    )
    taken = EntityAlreadyExistsException(f"Login Profile for user {user.name} already exists.")
    PROFILES.insert(unit, profile, taken=taken)
    return {"LoginProfile": _shown(user, profile)}


def get_login_profile(call: Call, request: Request, unit: Unit) -> Answer:
    """GetLoginProfile. Raises NoSuchEntityException."""
    user = named_identity(call, request, unit, Kind.USER)
    return {"LoginProfile": _shown(user, _profile(unit, user))}


def update_login_profile(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateLoginProfile: another password, or whether it must be changed at the next sign-in."""
    user = named_identity(call, request, unit, Kind.USER)
    profile = _profile(unit, user)
    changed = {"reset_required": request.get("PasswordResetRequired", profile.reset_required)}
    if "Password" in request:
        changed |= {"hash": _hashed(unit, user, request["Password"]), "attempts": NO_ATTEMPTS}
    PROFILES.replace(unit, profile, replace(profile, **changed))
    return {}


def delete_login_profile(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteLoginProfile."""
    user = named_identity(call, request, unit, Kind.USER)
    PROFILES.delete(unit, _profile(unit, user))
    return {}


def change_password(call: Call, request: Request, unit: Unit) -> Answer | ApiError:
    """ChangePassword: the caller's own. Returns AccessDeniedException when the old one is wrong, which is counted."""
    user = calling_user(call, unit)
    if user is None:
        raise ValidationException("Must call ChangePassword with the credentials of a user.")
    profile = _take_password(unit, _profile(unit, user), request["OldPassword"])
    if profile is None:
        return AccessDeniedException("The old password was incorrect.")
    changed = replace(profile, hash=_hashed(unit, user, request["NewPassword"]), reset_required=False)
    PROFILES.replace(unit, profile, changed)
    return {}


def get_account_password_policy(call: Call, _request: Request, _unit: Unit) -> Answer:
    """GetAccountPasswordPolicy: none is set, so AWS's default holds (API reference: NoSuchEntity then)."""
    raise NoSuchEntityException(f"The Password Policy with domain name {call.account_id} cannot be found.")


def check_password(unit: Unit, account_id: AccountId, user_name: str, password: str) -> Identity | None:
    """Return the user whose password this is, None for any other, which is counted: for the console. The unit must write.

    An absent user, one without a password and a wrong password take the same time.
    """
    user = find_identity(unit, account_id, Kind.USER, user_name)
    profile = None if user is None else find_profile(unit, user)
    if profile is None:
        _verifies(_nobodys(), password)
        return None
    return user if _take_password(unit, profile, password) is not None else None


def find_profile(unit: Unit, user: Identity) -> LoginProfile | None:
    """Return a user's login profile, or None."""
    return PROFILES.find(unit, account_id=user.account_id, user_id=user.id)


def _profile(unit: Unit, user: Identity) -> LoginProfile:
    profile = find_profile(unit, user)
    if profile is None:
        raise NoSuchEntityException(f"Login Profile for User {user.name} cannot be found.")
    return profile


def _take_password(unit: Unit, profile: LoginProfile, password: str) -> LoginProfile | None:
    """Return the profile as it is kept once its password was given; None for a wrong one, which is counted.

    The only place where a password is judged. The caller must not undo the count. While a profile rests its password is
    not compared, only the time is spent.
    """
    if profile.attempts.resting(unit.now):
        _verifies(_nobodys(), password)
        return None
    right = _verifies(profile.hash, password)
    taken = replace(profile, attempts=NO_ATTEMPTS if right else profile.attempts.missed(unit.now))
    if taken != profile:
        PROFILES.replace(unit, profile, taken)
    return taken if right else None


def _prepare_hash(request: Request) -> str | None:
    """Hash the password that a request sets, where it sets one: it takes a tenth of a second."""
    password = request.get("NewPassword", request.get("Password"))
    return None if password is None else _HASHER.hash(password)


def _hashed(unit: Unit, user: Identity, password: str) -> str:
    """Return a password's hash, which the request prepared, if the password meets AWS's default policy (IAM user guide, "Password policies")."""
    kinds = (str.isupper, str.islower, str.isdigit, lambda one: not one.isalnum())
    mixed = sum(any(is_kind(one) for one in password) for is_kind in kinds)
    if len(password) < SHORTEST or mixed < 3 or password.lower() == user.name.lower():
        raise PasswordPolicyViolationException(
            f"Password does not conform to the account password policy: at least {SHORTEST} characters of three kinds, and"
            " not the user's name."
        )
    return str(unit.prepared())


def _verifies(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    """Return a hash to verify against where there is none, so that it takes as long."""
    return _HASHER.hash("nobody's password")


def _shown(user: Identity, profile: LoginProfile) -> dict[str, Any]:
    return {
        "UserName": user.name,
        "CreateDate": profile.created_at,
        "PasswordResetRequired": profile.reset_required,
    }


def _own_subject(call: Call, _request: Request, _unit: Unit) -> Subject:
    return Subject(arn=call.principal.arn, named=call.principal.arn)


def _sets(
    name: str,
    handler: Callable[[Call, Request, Unit], Answer | ApiError],
    subject: Callable[[Call, Request, Unit], Subject],
) -> Action:
    return Action(name=name, handler=handler, subject=subject, mutates=True, prepare=_prepare_hash)


_OF_USER: Final = identity_subject(Kind.USER)

ACTIONS: Final = (
    _sets("ChangePassword", change_password, _own_subject),
    _sets("CreateLoginProfile", create_login_profile, _OF_USER),
    Action(name="DeleteLoginProfile", handler=delete_login_profile, subject=_OF_USER, mutates=True),
    Action(
        name="GetAccountPasswordPolicy",
        handler=get_account_password_policy,
        subject=no_resource,
        mutates=False,
    ),
    Action(name="GetLoginProfile", handler=get_login_profile, subject=_OF_USER, mutates=False),
    _sets("UpdateLoginProfile", update_login_profile, _OF_USER),
)
