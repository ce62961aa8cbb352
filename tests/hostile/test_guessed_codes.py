"""Codes of an MFA device, guessed at a server of two workers by clients that leave in the middle of their requests.

Whatever the way and however its client leaves: five wrong codes are judged, then none, the right one neither. The server's workers tell
of each code that they judge. 60 codes in `make test`, 1,000 in the proof.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.processes import ServerProcess, wait_until
from tests.proofs import FULL, record
from turnlock.accounts.attempts import TRIES
from turnlock.iam.mfa.one_time_codes import code_of, step_at

pytestmark = pytest.mark.slow

GUESSES = 1_000 if FULL else 60
REGION = "us-east-1"
TELLING = """
from turnlock.iam.mfa import codes
def telling(real):
    def judged(*given):
        with open({told!r}, "ab", buffering=0) as file:
            file.write(b"1")
        return real(*given)
    return judged
for name in ("accepted_step", "accepted_pair"):
    setattr(codes, name, telling(getattr(codes, name)))
from turnlock.cli import main
main()
"""
LEAVES = ("answered", "gone at once", "gone soon", "half sent")


class Guesser:
    """A user with a device, whose key is known to somebody who has not the device."""

    def __init__(self, server: ServerProcess, told: Path) -> None:
        self.server, self._told = server, told
        key_id, secret = server.credentials
        iam = boto3.client(
            "iam",
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{server.port}",
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
        )
        user = iam.create_user(UserName="ann")["User"]["Arn"]
        account = user.split(":")[4]
        made = iam.create_access_key(UserName="ann")["AccessKey"]
        self._key = Credentials(made["AccessKeyId"], made["SecretAccessKey"])
        statement = {
            "Effect": "Allow",
            "Action": ["sts:AssumeRole", "iam:ResyncMFADevice"],
            "Resource": "*",
        }
        iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=document(statement))
        device = iam.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]
        self._serial, self._seed = device["SerialNumber"], base64.b32decode(device["Base32StringSeed"])
        pair = {"AuthenticationCode1": self.code(-2), "AuthenticationCode2": self.code(-1)}
        iam.enable_mfa_device(UserName="ann", SerialNumber=self._serial, **pair)
        asked = {"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}
        self._roles = {}
        for name, whom, more in (
            ("open", account, {}),
            ("asked", account, asked),
            ("closed", "999999999999", {}),
        ):
            trust = {"Effect": "Allow", "Principal": {"AWS": whom}, "Action": "sts:AssumeRole", **more}
            made_role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
            self._roles[name] = made_role["Role"]["Arn"]
        self.ways = ("session", "pair", *self._roles)

    @property
    def judged(self) -> int:
        """How many codes the workers have judged."""
        return self._told.stat().st_size

    def code(self, ahead: int) -> str:
        return code_of(self._seed, step_at(datetime.now(UTC)) + ahead)

    def wrong_codes(self, count: int) -> list[str]:
        near = {self.code(ahead) for ahead in range(-12, 42)}
        drawn = (f"{number * 7919 % 10**6:06}" for number in range(count + len(near)))
        return [code for code in drawn if code not in near][:count]

    def got_in(self, way: str, code: str, leave: str = "answered") -> bool:
        """Send a code on its way, and tell whether an answer says that it was right."""
        if way == "pair":
            pair = {"AuthenticationCode1": code, "AuthenticationCode2": code}
            data = self._request("iam", "ResyncMFADevice", UserName="ann", SerialNumber=self._serial, **pair)
        elif way == "session":
            data = self._request("sts", "GetSessionToken", SerialNumber=self._serial, TokenCode=code)
        else:
            role = {"RoleArn": self._roles[way], "RoleSessionName": "s1"}
            data = self._request("sts", "AssumeRole", **role, SerialNumber=self._serial, TokenCode=code)
        return b" 200 " in self._sent(data, leave).partition(b"\r\n")[0]

    def _request(self, service: str, operation: str, **members: str) -> bytes:
        version = {"iam": "2010-05-08", "sts": "2011-06-15"}[service]
        body = urlencode({"Action": operation, "Version": version, **members})
        address = f"127.0.0.1:{self.server.port}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        request = AWSRequest("POST", f"http://{address}/", headers=headers, data=body)
        SigV4Auth(self._key, service, REGION).add_auth(request)
        lines = [f"Host: {address}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        return "\r\n".join(("POST / HTTP/1.1", *lines, "", body)).encode()

    def _sent(self, data: bytes, leave: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.server.port), 30) as connection, suppress(OSError):
            connection.sendall(data[:-20] if leave == "half sent" else data)
            if leave == "answered":
                return connection.recv(65_536)
            if leave == "gone soon":
                time.sleep(0.003)
            # The other side sees a reset, not an end of the stream.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return b""


def document(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


@pytest.fixture
def guesser(tmp_path: Path) -> Iterator[Guesser]:
    told = tmp_path / "told"
    entry = ("-c", TELLING.format(told=str(told)), "serve")
    with ServerProcess(tmp_path / "data", entry=entry, options=("--workers", "2")) as server:
        yield Guesser(server, told)


@pytest.mark.timeout(600)
def test_codes_are_locked_out_whichever_way_they_come_and_however_their_clients_leave(
    guesser: Guesser,
) -> None:
    assert guesser.got_in("session", guesser.code(0)), "the device's own code is right"
    before = guesser.judged

    def guess(numbered: tuple[int, str]) -> bool:
        number, code = numbered
        # Ways and leaves in all pairs: their numbers have no common divisor.
        way, leave = guesser.ways[number % len(guesser.ways)], LEAVES[number % len(LEAVES)]
        return guesser.got_in(way, code, leave)

    with ThreadPoolExecutor(8) as threads:
        assert not any(threads.map(guess, enumerate(guesser.wrong_codes(GUESSES))))
    wait_until(lambda: guesser.judged - before >= TRIES, 60, "five codes that were judged")
    for way in guesser.ways:
        assert not guesser.got_in(way, guesser.code(1)), way
    assert guesser.judged - before == TRIES
    record("guessed codes", f"{GUESSES} over two workers", judged=guesser.judged - before)
