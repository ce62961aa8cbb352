"""Requests nobody would send: drawn from the models, then spoilt, all from one seed.

A draw begins with parameters that fit an operation's input shape, with names and tokens that exist often enough for the
action to get somewhere. Most draws are then spoilt at one place or more: a member, the body's bytes, a header, the signature.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from msgspec import structs

from tests.calling import ACCOUNT, token
from tests.processes import REGION
from tests.rotated import ROTATOR
from turnlock.wire import HttpRequest

HOST: Final = "127.0.0.1:7768"
AWAY: Final = "us-east-1"
NAMES: Final = tuple(f"hostile/{number}" for number in range(12))
HEALTHY: Final = "healthy"
"""A secret that no draw names: what it says must stay."""

POLICIES: Final = (
    json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {"Effect": effect, "Principal": principal, "Action": action, "Resource": "*"},
        }
    )
    for effect, principal, action in (
        ("Allow", {"AWS": ACCOUNT}, "secretsmanager:GetSecretValue"),
        ("Allow", "*", "secretsmanager:*"),
    )
)
KNOWN: Final[Mapping[str, tuple[Any, ...]]] = {
    "Name": NAMES,
    "SecretId": (*NAMES, f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{NAMES[0]}", "absent"),
    "ClientRequestToken": tuple(token(number) for number in range(8)),
    "VersionId": tuple(token(number) for number in range(8)),
    "MoveToVersionId": tuple(token(number) for number in range(8)),
    "RemoveFromVersionId": tuple(token(number) for number in range(8)),
    "VersionStage": ("AWSCURRENT", "AWSPENDING", "AWSPREVIOUS", "blue"),
    "SecretVersionStageType": ("AWSCURRENT", "AWSPENDING", "blue"),
    "RotationLambdaARN": (ROTATOR,),
    "ScheduleExpression": ("rate(10 days)", "cron(0 8 1 * ? *)"),
    "Duration": ("3h",),
    "KmsKeyId": ("alias/aws/secretsmanager",),
    "ResourcePolicy": (*POLICIES, "{}"),
    "Region": (REGION, AWAY),
    "RegionType": (REGION, AWAY),
    "NextToken": ("forged",),
    "FilterValueStringType": ("hostile", "!hostile", "a b", "", "!"),
    "RotationLambdaArn": (ROTATOR,),
}
"""By a member's or its shape's name: values that mean something here."""

ODD: Final[tuple[Any, ...]] = (
    *("", "\0", "a\0b", "\ud800", "\udfff\ud800", "\U0010ffff", "\u202e", "e\u0301", "\x7f", "\x1b[31m"),
    *("'", '"', "%s", "\\", "${jndi:x}", "../..", "x" * 300, "x" * 5_000, "é" * 700, "\n", "arn:aws:::::"),
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, -(2**70), 1e308, float("nan"), float("inf")),
    *([], {}, [None], [[]], {"": ""}, {"SecretId": {}}, [1, "a", {}], {"a": [{"b": [{}]}]}),
)
JSON_TYPE: Final = "application/x-amz-json-1.1"


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Draws signed requests of one account for the operations of botocore's models."""

    key_id: str
    secret: str = field(repr=False)
    dice: random.Random
    host: str = HOST
    operations: tuple[tuple[ServiceModel, str], ...] = field(
        default_factory=lambda: tuple(
            (model, name)
            for model in (_model("secretsmanager"), _model("sts"))
            for name in model.operation_names
            if model.service_name == "secretsmanager" or name == "GetCallerIdentity"
        )
    )

    def draw(self) -> HttpRequest:
        """Return the next request: a fifth as an SDK would send it, the others spoilt."""
        model, operation = self.dice.choice(self.operations)
        shape = model.operation_model(operation).input_shape
        parameters = {} if shape is None else self.value(shape, "")
        spoil = self.dice.random()
        if 0.2 < spoil < 0.6:
            for _ in range(self.dice.randint(1, 3)):
                parameters = self.spoilt(parameters)
        body = self._body(model, operation, parameters)
        if 0.6 <= spoil < 0.8:
            body = self.bent(body)
        request = self.signed(model, operation, body)
        return request if spoil < 0.8 else self._bent_request(request)

    def signed(self, model: ServiceModel, operation: str, body: bytes) -> HttpRequest:
        """Return a request whose signature holds."""
        json_protocol = model.metadata["protocol"] == "json"
        headers = {"Content-Type": JSON_TYPE if json_protocol else "application/x-www-form-urlencoded"}
        if json_protocol:
            headers["X-Amz-Target"] = f"{model.metadata['targetPrefix']}.{operation}"
        request = AWSRequest("POST", f"http://{self.host}/", headers, data=body)
        signer = SigV4Auth(Credentials(self.key_id, self.secret), model.service_name, REGION)
        signer.add_auth(request)
        sent = [("host", self.host), *((name.lower(), value) for name, value in request.headers.items())]
        return HttpRequest(method="POST", path="/", headers=tuple(sent), body=body, source_ip="127.0.0.1")

    def value(self, shape: Shape, name: str) -> Any:
        """Return a value that fits a shape, by the names in KNOWN where there is one."""
        dice = self.dice
        known = KNOWN.get(name) or KNOWN.get(shape.name)
        if known and dice.random() < 0.9:
            return dice.choice(known)
        return self._by_type(shape)

    def _by_type(self, shape: Any) -> Any:
        dice = self.dice
        match shape.type_name:
            case "structure":
                return {
                    member: self.value(inner, member)
                    for member, inner in shape.members.items()
                    if dice.random() < (0.97 if member in shape.required_members else 0.4)
                }
            case "list":
                return [self.value(shape.member, "") for _ in range(dice.choice((0, 1, 1, 2, 4)))]
            case "map":
                return {str(self.value(shape.key, "")): self.value(shape.value, "")}
            case "string":
                return dice.choice(shape.enum) if shape.enum else "v" * dice.choice((1, 8, 40))
            case "boolean":
                return dice.random() < 0.5
            case "blob":
                return base64.b64encode(dice.randbytes(dice.choice((0, 1, 30)))).decode()
            case _:
                return dice.choice((0, 1, 7, 8, 30, 100, -1))

    def spoilt(self, value: Any) -> Any:
        """Return a value with an odd one in its place, or somewhere in it."""
        dice = self.dice
        if isinstance(value, dict) and value and dice.random() < 0.85:
            member = dice.choice(list(value))
            match dice.randrange(6):
                case 0:
                    return {key: inner for key, inner in value.items() if key != member}
                case 1:
                    return {**value, dice.choice(("Unknown", member.lower(), "", "\0")): value[member]}
                case _:
                    return {**value, member: self.spoilt(value[member])}
        if isinstance(value, list) and value and dice.random() < 0.7:
            at = dice.randrange(len(value))
            return [*value[:at], self.spoilt(value[at]), *value[at + 1 :]] * dice.choice((1, 1, 30))
        if isinstance(value, str) and dice.random() < 0.4:
            return value + dice.choice([odd for odd in ODD if isinstance(odd, str)])
        return dice.choice(ODD)

    def bent(self, body: bytes) -> bytes:
        """Return bytes that differ somewhere."""
        dice = self.dice
        at = dice.randrange(len(body) + 1)
        bends: tuple[Callable[[], bytes], ...] = (
            lambda: body[:at],
            lambda: body[:at] + dice.randbytes(dice.choice((1, 2, 9))) + body[at:],
            lambda: body[:at] + body[at + 1 :],
            lambda: body * 2,
            lambda: b"",
            lambda: dice.randbytes(dice.choice((1, 100, 3_000))),
            lambda: b"[" * dice.choice((10, 3_000, 100_000)),
            lambda: b'{"a":' * dice.choice((10, 3_000)) + b"1" + b"}" * 3_000,
            lambda: b'{"SecretId":1e999,"MaxResults":' + b"9" * dice.choice((30, 5_000)) + b"}",
            lambda: body.replace(b"{", b'{"SecretId":"a","SecretId":"b",', 1),
            lambda: b"\xef\xbb\xbf" + body,
            lambda: body.decode("utf-8", "replace").encode("utf-16"),
        )
        return dice.choice(bends)()

    def _body(self, model: ServiceModel, operation: str, parameters: Any) -> bytes:
        if model.metadata["protocol"] == "json":
            return json.dumps(parameters).encode("ascii")
        pairs = parameters.items() if isinstance(parameters, dict) else [("x", parameters)]
        form = {"Action": operation, "Version": model.api_version, **dict(pairs)}
        return urlencode(form, errors="replace").encode("ascii")

    def _bent_request(self, request: HttpRequest) -> HttpRequest:
        """Return a request that is not what was signed, or not by whom."""
        dice = self.dice
        headers = list(request.headers)
        at = dice.randrange(len(headers))
        name, value = headers[at]
        match dice.randrange(8):
            case 0:
                del headers[at]
            case 1:
                headers.append((name, value))
            case 2:
                headers[at] = (name, self._bent_text(value))
            case 3:
                headers[at] = (self._bent_text(name).lower(), value)
            case 4:
                return structs.replace(
                    request, method=dice.choice(("GET", "PUT", "DELETE", "OPTIONS", "post", "X" * 99))
                )
            case 5:
                path = dice.choice(
                    ("/a", "//", "/%00", "/%ff%fe", "/../..", "/" + "x" * 9_000, "*", "/metrics")
                )
                return structs.replace(request, path=path)
            case 6:
                query = dice.choice(
                    ("a=b", "X-Amz-Signature=0", "Action=GetCallerIdentity", "%", "&&&=", "=" * 9_000, "\x80")
                )
                return structs.replace(request, query=query)
            case _:
                return structs.replace(request, body=self.bent(request.body))
        return structs.replace(request, headers=tuple(headers))

    def _bent_text(self, text: str) -> str:
        dice = self.dice
        at = dice.randrange(len(text) + 1)
        odd = ("", "\x00", "\x80", "é", ",", ";", "/", "=", " ", "\t", "x" * 9_000)
        return text[:at] + dice.choice(odd) + text[at + dice.choice((0, 1, 5)) :]


def _model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)
