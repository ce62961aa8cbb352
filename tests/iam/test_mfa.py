"""Virtual MFA devices: RFC 6238's own vectors, codes that are good once, and sessions that tell of them."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import cryptography_vectors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from tests.calling import refusal
from tests.iam.calling import ACCOUNT, OTHER, Caller, user_principal
from tests.support import NOON, SettableClock, StorePlace
from turnlock import accounts
from turnlock.accounts.attempts import LONGEST_REST, REST, TRIES, Attempts
from turnlock.accounts.credentials import find_credential
from turnlock.core.call import PrincipalKind, Session
from turnlock.errors import (
    AccessDeniedException,
    InvalidAuthenticationCodeException,
    SealBroken,
    ValidationException,
)
from turnlock.iam.mfa.one_time_codes import accepted_pair, accepted_step, code_of, step_at
from turnlock.iam.mfa.store import find_device, seed_of

SERIAL = f"arn:aws:iam::{ACCOUNT}:mfa/phone"
SEED = b"12345678901234567890"
STEPS = st.integers(min_value=100, max_value=2**32)


def vectors() -> list[tuple[datetime, bytes, str]]:
    """Return (moment, seed, code of 8 digits) of RFC 6238, appendix B, where the hash is SHA-1."""
    with cryptography_vectors.open_vector_file("twofactor/rfc-6238.txt", "r") as file:
        lines = [line.strip() for line in file]
    found: list[dict[str, str]] = []
    for line in lines:
        name, equals, value = (part.strip() for part in line.partition("="))
        if name == "COUNT":
            found.append({})
        elif equals and found:
            found[-1][name] = value
    return [
        (datetime.fromtimestamp(int(one["TIME"]), UTC), one["SECRET"].encode(), one["TOTP"])
        for one in found
        if one["MODE"] == "SHA1"
    ]


def test_codes_are_those_of_the_rfc() -> None:
    cases = vectors()
    assert len(cases) >= 6
    for at, seed, code in cases:
        assert code_of(seed, step_at(at), digits=8) == code
        assert code_of(seed, step_at(at)) == code[-6:]


@given(
    step=STEPS, off=st.integers(min_value=-20, max_value=20), used=st.integers(min_value=-20, max_value=20)
)
def test_a_code_is_taken_one_step_early_or_late_and_once(step: int, off: int, used: int) -> None:
    now = datetime.fromtimestamp(step * 30 + 7, UTC)
    taken = accepted_step(SEED, code_of(SEED, step + off), now, last_step=step + used)
    naive = next(
        (
            here
            for here in (step - 1, step, step + 1)
            if here > step + used and code_of(SEED, here) == code_of(SEED, step + off)
        ),
        None,
    )
    assert taken == naive
    assert (
        taken is None or (abs(off) <= 1 and off > used) or code_of(SEED, taken) == code_of(SEED, step + off)
    )


@given(step=STEPS, off=st.integers(min_value=-15, max_value=15))
def test_two_codes_in_a_row_are_taken_from_a_clock_that_is_off(step: int, off: int) -> None:
    now = datetime.fromtimestamp(step * 30, UTC)
    first, second = code_of(SEED, step + off), code_of(SEED, step + off + 1)
    assert (accepted_pair(SEED, first, second, now, 0) == step + off + 1) == (-10 <= off < 10)
    assert accepted_pair(SEED, first, code_of(SEED, step + off + 2), now, 0) is None or first == second


class Phone:
    """What shows the codes of a device."""

    def __init__(self, seed: str, clock: SettableClock) -> None:
        self._seed, self.clock = base64.b32decode(seed), clock

    def code(self, ahead: int = 0) -> str:
        return code_of(self._seed, step_at(self.clock.now()) + ahead)

    def wrong(self) -> str:
        """Return a code of none of the steps that are near."""
        near = {self.code(ahead) for ahead in range(-3, 4)}
        return next(code for code in (f"{number:06}" for number in range(10)) if code not in near)


@pytest.fixture
def ann(iam: Caller) -> Caller:
    made = iam("CreateUser", UserName="ann")["User"]
    return iam.elsewhere(service="sts", principal=user_principal(made))


@pytest.fixture
def phone(iam: Caller, ann: Caller, clock: SettableClock) -> Phone:
    """Ann's enabled device."""
    made = iam("CreateVirtualMFADevice", VirtualMFADeviceName="phone")["VirtualMFADevice"]
    assert made["SerialNumber"] == SERIAL
    assert len(made["Base32StringSeed"]) == 64
    phone = Phone(made["Base32StringSeed"].decode(), clock)
    enable(iam, phone)
    clock.advance(timedelta(seconds=90))
    return phone


def enable(iam: Caller, phone: Phone, *, name: str = "ann") -> None:
    iam(
        "EnableMFADevice",
        UserName=name,
        SerialNumber=SERIAL,
        AuthenticationCode1=phone.code(),
        AuthenticationCode2=phone.code(1),
    )


def session_of(caller: Caller, **more: Any) -> Session:
    given = caller("GetSessionToken", **more)["Credentials"]
    credential = caller.database.read(
        lambda unit: find_credential(unit, given["AccessKeyId"], given["SessionToken"], unit.now)
    )
    assert credential.principal == caller.principal
    return credential.session


def test_a_device_is_enabled_listed_deactivated_and_deleted(iam: Caller, phone: Phone) -> None:
    (mine,) = iam("ListMFADevices", UserName="ann")["MFADevices"]
    assert mine == {"UserName": "ann", "SerialNumber": SERIAL, "EnableDate": NOON}
    assert iam("GetMFADevice", UserName="ann", SerialNumber=SERIAL)["EnableDate"] == NOON
    (listed,) = iam("ListVirtualMFADevices", AssignmentStatus="Assigned")["VirtualMFADevices"]
    assert listed["User"]["UserName"] == "ann"
    assert "Base32StringSeed" not in listed
    assert iam("ListVirtualMFADevices", AssignmentStatus="Unassigned")["VirtualMFADevices"] == []
    assert refusal(lambda: iam("DeleteVirtualMFADevice", SerialNumber=SERIAL))[0] == "DeleteConflictException"
    assert refusal(lambda: iam("DeleteUser", UserName="ann")) == (
        "DeleteConflictException",
        "Cannot delete entity, must deactivate MFA device first.",
    )
    assert refusal(lambda: enable(iam, phone))[0] == "EntityAlreadyExistsException"
    iam("DeactivateMFADevice", UserName="ann", SerialNumber=SERIAL)
    iam("DeleteVirtualMFADevice", SerialNumber=SERIAL)
    assert iam("ListVirtualMFADevices")["VirtualMFADevices"] == []


def test_codes_that_are_not_in_a_row_enable_nothing(iam: Caller, ann: Caller, clock: SettableClock) -> None:
    made = iam("CreateVirtualMFADevice", VirtualMFADeviceName="phone")["VirtualMFADevice"]
    phone = Phone(made["Base32StringSeed"].decode(), clock)
    with pytest.raises(InvalidAuthenticationCodeException):
        iam(
            "EnableMFADevice",
            UserName="ann",
            SerialNumber=SERIAL,
            AuthenticationCode1=phone.code(),
            AuthenticationCode2=phone.wrong(),
        )
    assert made["QRCodePNG"].startswith(b"otpauth://totp/Turnlock:phone%40123456789012?secret=")


def test_a_session_with_a_code_says_so_and_one_without_does_not(ann: Caller, phone: Phone) -> None:
    proved = session_of(ann, SerialNumber=SERIAL, TokenCode=phone.code())
    assert proved.mfa_authenticated
    assert proved.mfa_at == proved.created_at
    assert not session_of(ann).mfa_authenticated


def test_a_code_is_good_once_and_none_before_it(ann: Caller, phone: Phone, clock: SettableClock) -> None:
    earlier = phone.code()
    clock.advance(timedelta(seconds=30))
    session_of(ann, SerialNumber=SERIAL, TokenCode=phone.code())
    for code in (phone.code(), earlier):
        with pytest.raises(AccessDeniedException, match="invalid MFA one time pass code"):
            session_of(ann, SerialNumber=SERIAL, TokenCode=code)
    clock.advance(timedelta(seconds=30))
    session_of(ann, SerialNumber=SERIAL, TokenCode=phone.code())


def test_a_device_that_was_tried_too_often_rests(ann: Caller, phone: Phone, clock: SettableClock) -> None:
    for _ in range(5):
        with pytest.raises(AccessDeniedException):
            session_of(ann, SerialNumber=SERIAL, TokenCode=phone.wrong())
    with pytest.raises(AccessDeniedException):
        session_of(ann, SerialNumber=SERIAL, TokenCode=phone.code())
    clock.advance(timedelta(minutes=6))
    session_of(ann, SerialNumber=SERIAL, TokenCode=phone.code())


def attempts(caller: Caller) -> Attempts:
    device = caller.database.read(lambda unit: find_device(unit, ACCOUNT, SERIAL))
    assert device is not None
    return device.attempts


WAYS = ("denied", "asked", "session", "pair")


@pytest.mark.parametrize(
    "way", ["pair", *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way != "pair")]
)
def test_a_thousand_wrong_codes_are_locked_out_whichever_way_they_come(
    iam: Caller, ann: Caller, phone: Phone, way: str, store_place: StorePlace
) -> None:
    """Denied requests, a trust policy that asks for a code, GetSessionToken, two codes in a row: on two nodes at once."""
    nodes = (iam.database, store_place.open(clock=phone.clock))
    condition = {"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}} if way == "asked" else {}
    whom = ann.principal.arn if way == "asked" else f"arn:aws:iam::{OTHER}:root"
    statement = {"Effect": "Allow", "Principal": {"AWS": whom}, "Action": "sts:AssumeRole", **condition}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    role = iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    asked = {"RoleArn": role, "RoleSessionName": "s1", "SerialNumber": SERIAL}
    near = {phone.code(ahead) for ahead in range(-12, 13)}
    codes = [code for code in (f"{number * 7919 % 10**6:06}" for number in range(1_030)) if code not in near]

    def guess(code: str) -> bool:
        node = nodes[int(code) % 2]
        her = ann.elsewhere(database=node)
        try:
            if way == "session":
                her("GetSessionToken", SerialNumber=SERIAL, TokenCode=code)
            elif way == "pair":
                both = {"AuthenticationCode1": code, "AuthenticationCode2": code}
                iam.elsewhere(database=node)("ResyncMFADevice", UserName="ann", SerialNumber=SERIAL, **both)
            else:
                her("AssumeRole", **asked, TokenCode=code)
        except (AccessDeniedException, InvalidAuthenticationCodeException):
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert not any(threads.map(guess, codes[:1_000]))
    assert attempts(iam).wrong == TRIES, "no code was judged after these"
    with pytest.raises(AccessDeniedException):
        ann("AssumeRole", **asked, TokenCode=phone.code())
    with pytest.raises(AccessDeniedException):
        session_of(ann, SerialNumber=SERIAL, TokenCode=phone.code())
    pair = {"AuthenticationCode1": phone.code(), "AuthenticationCode2": phone.code(1)}
    with pytest.raises(InvalidAuthenticationCodeException):
        iam("ResyncMFADevice", UserName="ann", SerialNumber=SERIAL, **pair)


def test_a_right_code_of_a_denied_request_is_used_up(iam: Caller, ann: Caller, phone: Phone) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/absent"
    code = phone.code()
    with pytest.raises(AccessDeniedException):
        ann("AssumeRole", RoleArn=role, RoleSessionName="s1", SerialNumber=SERIAL, TokenCode=code)
    with pytest.raises(AccessDeniedException):
        session_of(ann, SerialNumber=SERIAL, TokenCode=code)
    assert attempts(iam).wrong == 1


def test_each_rest_is_twice_as_long_until_a_code_is_right(
    iam: Caller, ann: Caller, phone: Phone, clock: SettableClock
) -> None:
    def guess() -> None:
        with pytest.raises(AccessDeniedException):
            session_of(ann, SerialNumber=SERIAL, TokenCode=phone.wrong())

    for rest in (REST, 2 * REST, 4 * REST):
        for _ in range(TRIES):
            guess()
        assert attempts(iam).rests_until == clock.now() + rest
        clock.advance(rest)
    session_of(ann, SerialNumber=SERIAL, TokenCode=phone.code())
    assert attempts(iam) == Attempts()


@given(wrong=st.integers(min_value=0, max_value=10**9))
def test_no_rest_is_longer_than_a_day(wrong: int) -> None:
    missed = Attempts(wrong=wrong).missed(NOON)
    assert missed.wrong == wrong + 1
    assert (missed.rests_until is not None) == (missed.wrong % TRIES == 0)
    assert missed.rests_until is None or REST <= missed.rests_until - NOON <= LONGEST_REST


def test_a_device_is_only_its_own_users(iam: Caller, ann: Caller, phone: Phone) -> None:
    bob = iam.elsewhere(service="sts", principal=user_principal(iam("CreateUser", UserName="bob")["User"]))
    other = iam.elsewhere(service="sts", principal=accounts.root_principal(OTHER))
    for caller in (bob, other):
        with pytest.raises(AccessDeniedException):
            session_of(caller, SerialNumber=SERIAL, TokenCode=phone.code())
    assert refusal(lambda: iam("DeactivateMFADevice", UserName="bob", SerialNumber=SERIAL))[0] == (
        "NoSuchEntityException"
    )


def test_a_trust_policy_can_ask_for_a_code(
    iam: Caller, ann: Caller, phone: Phone, clock: SettableClock
) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ann.principal.arn},
        "Action": "sts:AssumeRole",
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    role = iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    asked = {"RoleArn": role, "RoleSessionName": "s1"}
    with pytest.raises(AccessDeniedException):
        ann("AssumeRole", **asked)
    with pytest.raises(AccessDeniedException):
        ann("AssumeRole", **asked, SerialNumber=SERIAL, TokenCode=phone.wrong())
    given = ann("AssumeRole", **asked, SerialNumber=SERIAL, TokenCode=phone.code())["Credentials"]
    session = ann.database.read(
        lambda unit: find_credential(unit, given["AccessKeyId"], given["SessionToken"], unit.now).session
    )
    assert not session.mfa_authenticated, "a role's session tells nothing of the code"
    with pytest.raises(AccessDeniedException):
        ann("AssumeRole", **asked, SerialNumber=SERIAL, TokenCode=phone.code())
    clock.advance(timedelta(seconds=60))
    proved = session_of(ann, SerialNumber=SERIAL, TokenCode=phone.code())
    ann.elsewhere(session=proved)("AssumeRole", **asked)


def test_what_plain_sessions_of_a_user_cannot_do(iam: Caller, ann: Caller, phone: Phone) -> None:
    """STS API reference, GetSessionToken: no IAM without MFA; of STS only AssumeRole and GetCallerIdentity."""
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    iam("AttachUserPolicy", UserName="ann", PolicyArn=admin)
    plain = ann.elsewhere(session=session_of(ann))
    proved = ann.elsewhere(session=session_of(ann, SerialNumber=SERIAL, TokenCode=phone.code()))
    for session in (plain, proved):
        assert session("GetCallerIdentity")["Arn"] == ann.principal.arn
        with pytest.raises(AccessDeniedException):
            session("GetSessionToken")
        with pytest.raises(AccessDeniedException):
            session("GetAccessKeyInfo", AccessKeyId="AKIAEXAMPLEEXAMPLEEX")
    with pytest.raises(ValidationException):  # with a long-term key it may be asked: there is no such key
        ann("GetAccessKeyInfo", AccessKeyId="AKIAEXAMPLEEXAMPLEEX")
    with pytest.raises(AccessDeniedException):
        plain.elsewhere(service="iam")("ListUsers")
    proved.elsewhere(service="iam")("ListUsers")


def test_root_gets_a_session_of_an_hour_at_most(iam: Caller, clock: SettableClock) -> None:
    root = iam.elsewhere(service="sts")
    given = root("GetSessionToken", DurationSeconds=43_200)["Credentials"]
    assert given["Expiration"] == clock.now() + timedelta(hours=1)
    assert session_of(root).created_at == clock.now()
    assert root.principal.kind is PrincipalKind.ROOT


def test_a_seed_in_another_devices_row_opens_nothing(iam: Caller, phone: Phone) -> None:
    iam("CreateVirtualMFADevice", VirtualMFADeviceName="other")
    swap = text(
        "UPDATE mfa_devices SET body = (SELECT body FROM mfa_devices WHERE name_key = 'other'),"
        " mac = (SELECT mac FROM mfa_devices WHERE name_key = 'other') WHERE name_key = 'phone'"
    )
    iam.database.write(lambda unit: unit.connection.execute(swap))
    with pytest.raises(SealBroken):
        iam.database.read(lambda unit: find_device(unit, ACCOUNT, SERIAL))


def test_a_seed_is_nowhere_in_clear(iam: Caller, phone: Phone, store_place: StorePlace) -> None:
    device = iam.database.read(lambda unit: find_device(unit, ACCOUNT, SERIAL))
    assert device is not None
    seed = iam.database.read(lambda unit: seed_of(unit, device))
    bodies = iam.database.read(
        lambda unit: unit.connection.execute(text("SELECT body FROM mfa_devices")).scalars().all()
    )
    assert all(base64.b64encode(seed).decode()[:20] not in body for body in bodies)
    assert seed not in device.sealed_seed
