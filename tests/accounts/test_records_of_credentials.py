"""What lets somebody in stands in no record of the trail, also where AWS's models do not flag it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape, StructureShape
from sqlalchemy import select

from tests.iam.calling import ACCOUNT, TRUST, Caller, user_principal
from tests.iam.test_mfa import SERIAL, Phone
from tests.support import SettableClock, StorePlace
from turnlock import accounts
from turnlock.trail import TrailTable
from turnlock.trail.store import trail_records
from turnlock.wire.shapes import ShapeCompiler

PASSWORD, OTHER_PASSWORD = "Correct-horse-battery-1", "Staple-battery-horse-2"


def recorded(store: Any) -> str:
    rows = store.read(lambda unit: unit.connection.execute(select(trail_records.c.body)).scalars().all())
    assert rows
    return b"\n".join(bytes(row) for row in rows).decode()


def test_no_record_holds_a_session_token_a_code_a_seed_or_a_password(
    store_place: StorePlace, clock: SettableClock
) -> None:
    store = store_place.open(clock=clock, sink=lambda: TrailTable("w"))
    store.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    iam = Caller(database=store)
    user = iam("CreateUser", UserName="ann")["User"]
    made = iam("CreateVirtualMFADevice", VirtualMFADeviceName="phone")["VirtualMFADevice"]
    phone = Phone(made["Base32StringSeed"].decode(), clock)
    codes = [phone.code(), phone.code(1)]
    iam(
        "EnableMFADevice",
        UserName="ann",
        SerialNumber=SERIAL,
        AuthenticationCode1=codes[0],
        AuthenticationCode2=codes[1],
    )
    iam("CreateLoginProfile", UserName="ann", Password=PASSWORD)
    iam("UpdateLoginProfile", UserName="ann", Password=OTHER_PASSWORD)
    role = iam("CreateRole", RoleName="reader", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    clock.advance(timedelta(seconds=120))
    sts = iam.elsewhere(service="sts", principal=user_principal(user))
    codes.append(phone.code())
    tokens = [sts("GetSessionToken", SerialNumber=SERIAL, TokenCode=codes[-1])["Credentials"]]
    allowed = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}'
    )
    iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=allowed)
    tokens.append(sts("AssumeRole", RoleArn=role, RoleSessionName="session")["Credentials"])
    records = recorded(store)
    for event in ("GetSessionToken", "AssumeRole", "EnableMFADevice", "UpdateLoginProfile"):
        assert f'"{event}"' in records
    for credentials in tokens:
        assert credentials["AccessKeyId"] in records
        assert credentials["SessionToken"] not in records
        assert credentials["SecretAccessKey"] not in records
    for text in (made["Base32StringSeed"].decode(), PASSWORD, OTHER_PASSWORD, *codes):
        assert f'"{text}"' not in records
    assert "sessionToken" not in records
    assert "tokenCode" not in records
    assert "authenticationCode1" not in records


WORDS = ("password", "secret", "token", "code", "seed", "assertion")
SHOWN = {
    "AssertionEncryptionMode",
    "AssumeRolePolicyDocument",
    "Code",
    "DecodedMessage",
    "EncodedMessage",
    "GlobalEndpointTokenVersion",
    "ServiceSpecificCredentialId",
    "SubjectFromWebIdentityToken",
}
"""What says how something is to be done, or names something: with none of them does anybody get in."""


@pytest.mark.parametrize("service", ["sts", "iam"])
def test_what_is_named_like_a_credential_is_hidden_or_a_number_or_a_truth(service: str) -> None:
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    shown = {
        name
        for shape in map(model.shape_for, model.shape_names)
        if isinstance(shape, StructureShape)
        for name, member in shape.members.items()
        if _named_like_one(name) and member.type_name in {"string", "blob"} and not _hidden(member)
    }
    assert shown <= SHOWN


def _named_like_one(name: str) -> bool:
    return any(word in name.lower() for word in WORDS)


def _hidden(shape: Shape) -> bool:
    return ShapeCompiler().codec(shape).hidden
