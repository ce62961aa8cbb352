"""Login profiles: the passwords of users, for the console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from turnlock.accounts import NO_ATTEMPTS, Attempts, Identity, Kind, find_identity, login_profiles
from turnlock.core.action import Action, Answer, Prepare, Request, Subject, no_resource, of_request
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
from turnlock.storage import Database, Unit

SHORTEST: Final = 8
_HASHER: Final = PasswordHasher()
"""Argon2id with argon2-cffi's profile RFC_9106_LOW_MEMORY: 64 MiB, 3 passes."""
_NOBODYS: Final = f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}${'A' * 22}${'A' * 43}"
"""A hash that no password has, to compare with where there is none: it takes as long."""


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
        hash=_hashed(call, user, request["Password"]),
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
        changed |= {"hash": _hashed(call, user, request["Password"]), "attempts": NO_ATTEMPTS}
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
    tried: Tried
    new_hash, tried = call.gate.prepared()
    profile = take_password(unit, _profile(unit, user), tried)
    if profile is None:
        return AccessDeniedException("The old password was incorrect.")
    _check_strength(user, request["NewPassword"])
    PROFILES.replace(unit, profile, replace(profile, hash=new_hash, reset_required=False))
    return {}


def get_account_password_policy(call: Call, _request: Request, _unit: Unit) -> Answer:
    """GetAccountPasswordPolicy: none is set, so AWS's default holds (API reference: NoSuchEntity then)."""
    raise NoSuchEntityException(f"The Password Policy with domain name {call.account_id} cannot be found.")


def check_password(
    database: Database, account_id: AccountId, user_name: str, password: str
) -> Identity | None:
    """Return the user whose password this is, None for any other, which is counted: for the console.

    An absent user, one without a password and a wrong password take the same time, outside of any unit of work.
    """

    def found(unit: Unit) -> tuple[Identity | None, LoginProfile | None]:
        user = find_identity(unit, account_id, Kind.USER, user_name)
        return user, None if user is None else find_profile(unit, user)

    stored = database.read(lambda unit: _judged_hash(unit, found(unit)[1]))
    tried = try_password(stored, password)

    def take(unit: Unit) -> Identity | None:
        user, profile = found(unit)
        return None if profile is None or take_password(unit, profile, tried) is None else user

    return database.write(take)


def find_profile(unit: Unit, user: Identity) -> LoginProfile | None:
    """Return a user's login profile, or None."""
    return PROFILES.find(unit, account_id=user.account_id, user_id=user.id)


def _profile(unit: Unit, user: Identity) -> LoginProfile:
    profile = find_profile(unit, user)
    if profile is None:
        raise NoSuchEntityException(f"Login Profile for User {user.name} cannot be found.")
    return profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A password beside a hash."""

    hash: str = field(repr=False)
    right: bool


def try_password(stored: str, password: str) -> Tried:
    """Compare a password with a hash, which takes a tenth of a second: never in a unit of work, for others wait for it."""
    return Tried(hash=stored, right=_verifies(stored, password))


def take_password(unit: Unit, profile: LoginProfile, tried: Tried) -> LoginProfile | None:
    """Return the profile as it is kept once its password was given; None for a wrong one, which is counted.

    The only place where a password is judged: what was tried beside it counts for nothing before. The caller must not undo the
    count. While a profile rests, no try is right, and none is counted. Nor is one that was compared with another hash than the
    profile's: it says nothing of this password.
    """
    if profile.attempts.resting(unit.now) or tried.hash != profile.hash:
        return None
    taken = replace(profile, attempts=NO_ATTEMPTS if tried.right else profile.attempts.missed(unit.now))
    if taken != profile:
        PROFILES.replace(unit, profile, taken)
    return taken if tried.right else None


def _judged_hash(unit: Unit, profile: LoginProfile | None) -> str:
    """Return the hash that a password is to be compared with; nobody's where none is judged, so that it takes as long."""
    return _NOBODYS if profile is None or profile.attempts.resting(unit.now) else profile.hash


def _prepare_hash(request: Request) -> str | None:
    """Hash the password that a request sets, where it sets one: it takes a tenth of a second."""
    password = request.get("Password")
    return None if password is None else _HASHER.hash(password)


def _prepare_change(call: Call, request: Request, unit: Unit) -> Callable[[], tuple[str, Tried]]:
    """Return the work of comparing the old password and hashing the new one."""
    user = calling_user(call, unit)
    stored = _judged_hash(unit, None if user is None else find_profile(unit, user))

    def work() -> tuple[str, Tried]:
        return _HASHER.hash(request["NewPassword"]), try_password(stored, request["OldPassword"])

    return work


def _hashed(call: Call, user: Identity, password: str) -> str:
    """Return a password's hash, which the request prepared, if the password is strong enough."""
    _check_strength(user, password)
    return str(call.gate.prepared())


def _check_strength(user: Identity, password: str) -> None:
    """Raise PasswordPolicyViolationException unless a password meets AWS's default policy (IAM user guide, "Password policies")."""
    kinds = (str.isupper, str.islower, str.isdigit, lambda one: not one.isalnum())
    mixed = sum(any(is_kind(one) for one in password) for is_kind in kinds)
    if len(password) < SHORTEST or mixed < 3 or password.lower() == user.name.lower():
        raise PasswordPolicyViolationException(
            f"Password does not conform to the account password policy: at least {SHORTEST} characters of three kinds, and"
            " not the user's name."
        )


def _verifies(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


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
    prepare: Prepare,
) -> Action:
    return Action(name=name, handler=handler, subject=subject, mutates=True, prepare=prepare)


_OF_USER: Final = identity_subject(Kind.USER)

ACTIONS: Final = (
    _sets("ChangePassword", change_password, _own_subject, _prepare_change),
    _sets("CreateLoginProfile", create_login_profile, _OF_USER, of_request(_prepare_hash)),
    Action(name="DeleteLoginProfile", handler=delete_login_profile, subject=_OF_USER, mutates=True),
    Action(
        name="GetAccountPasswordPolicy",
        handler=get_account_password_policy,
        subject=no_resource,
        mutates=False,
    ),
    Action(name="GetLoginProfile", handler=get_login_profile, subject=_OF_USER, mutates=False),
    _sets("UpdateLoginProfile", update_login_profile, _OF_USER, of_request(_prepare_hash)),
)
