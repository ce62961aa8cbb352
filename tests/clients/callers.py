"""Three clients of AWS behind one way to call them: boto3, the `aws` command, the JavaScript SDK."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from tests.clients.conftest import Served
from tests.processes import REGION
from tests.proofs import ROOT

JAVASCRIPT = Path(__file__).parent / "javascript"
PATIENCE = 60.0
OLDEST_NODE = 20
"""The oldest that the SDK in the lock file runs on."""


class Refused(Exception):
    """The service answered with an error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Caller(Protocol):
    """Calls Secrets Manager by the model's names; raises Refused."""

    def __call__(self, operation: str, *, region: str = REGION, **parameters: Any) -> dict[str, Any]:
        """Return the answer's members; moments are as the client gives them."""
        ...


class Boto3:
    """boto3, a client for each Region."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._clients: dict[str, Any] = {}

    def __call__(self, operation: str, *, region: str = REGION, **parameters: Any) -> dict[str, Any]:
        if region not in self._clients:
            self._clients[region] = self._served.client(AWS_DEFAULT_REGION=region)
        try:
            answer: dict[str, Any] = getattr(self._clients[region], xform_name(operation))(**parameters)
        except ClientError as error:
            raise Refused(error.response["Error"]["Code"]) from error
        return answer


class Lines:
    """A program that answers each line of JSON with one."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def ask(self, line: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it as its input ends."""
        self._process.communicate(timeout=PATIENCE)


class AwsCommand:
    """The `aws` command; parameters go in as `--cli-input-json`."""

    def __init__(self, served: Served) -> None:
        home = str(served.process.data_dir)
        self._lines = Lines(
            [sys.executable, str(Path(__file__).with_name("command.py"))],
            {**served.environment, "HOME": home, "AWS_MAX_ATTEMPTS": "1"},
        )
        self.close = self._lines.close

    def __call__(self, operation: str, *, region: str = REGION, **parameters: Any) -> dict[str, Any]:
        words = ["secretsmanager", xform_name(operation, "-"), "--region", region, "--output", "json"]
        done = self._lines.ask([*words, "--cli-input-json", json.dumps(parameters, default=_as_base64)])
        if done["status"] != 0:
            named = re.search(r"An error occurred \((\w+)\)", done["err"])
            assert named, done
            raise Refused(named[1])
        answer: dict[str, Any] = json.loads(done["out"]) if done["out"] else {}
        return answer


class JavaScript:
    """The JavaScript SDK, version 3."""

    def __init__(self, served: Served, packages: Path) -> None:
        self._lines = Lines(
            ["node", str(JAVASCRIPT / "driver.mjs")],
            {**served.environment, "SDK_FROM": f"{packages}/package.json", "HOME": str(packages)},
        )
        self.close = self._lines.close

    def __call__(self, operation: str, *, region: str = REGION, **parameters: Any) -> dict[str, Any]:
        return self._outcome({"operation": operation, "region": region, "parameters": parameters})

    def pages(self, operation: str, size: int, **parameters: Any) -> list[dict[str, Any]]:
        """Return the pages that the SDK's own paginator fetches."""
        asked = {"paginator": operation, "region": REGION, "parameters": parameters, "pageSize": size}
        found: list[dict[str, Any]] = self._outcome(asked)["pages"]
        return found

    def _outcome(self, asked: dict[str, Any]) -> dict[str, Any]:
        outcome = self._lines.ask(asked)
        if "code" in outcome:
            assert outcome["status"], outcome
            raise Refused(outcome["code"])
        answer: dict[str, Any] = outcome["answer"]
        return answer


def javascript_packages() -> Path:
    """Return where the SDK is installed, by the lock file; skips the test where Node.js is not on the machine."""
    if shutil.which("npm") is None or _node_version() < OLDEST_NODE:
        pytest.skip(
            f"Node.js {OLDEST_NODE} or newer with npm is not on this machine: apt-get install nodejs npm"
        )
    place = ROOT / ".cache" / "javascript"
    place.mkdir(parents=True, exist_ok=True)
    lock = (JAVASCRIPT / "package-lock.json").read_bytes()
    done = place / "installed.json"
    if not done.exists() or done.read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(JAVASCRIPT / name, place / name)
        words = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        subprocess.run(words, cwd=place, check=True, capture_output=True, timeout=240)
        done.write_bytes(lock)
    return place


def _node_version() -> int:
    """Return Node.js' major version, 0 where there is none."""
    if shutil.which("node") is None:
        return 0
    words = ("node", "--version")
    told = subprocess.run(words, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout
    return int(told.removeprefix("v").partition(".")[0])


@contextmanager
def caller(name: str, served: Served) -> Iterator[Any]:
    """Start one of the clients."""
    if name == "boto3":
        yield Boto3(served)
        return
    started = AwsCommand(served) if name == "aws" else JavaScript(served, javascript_packages())
    try:
        yield started
    finally:
        started.close()


def _as_base64(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()
