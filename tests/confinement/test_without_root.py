"""A server that is not root: its functions keep its user, and get a user namespace where the kernel gives one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from turnlock.confinement import landlock

SERVER = """
import json, os, sys, threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
task_root, tests, base = sys.argv[1:]
sys.path.append(tests)
from tests.confinement.ordinary import become_ordinary

become_ordinary(Path(base), Path(task_root), Path(tests, "tests"))

from turnlock.core.credentials import TemporaryCredentials
from turnlock.functions import Functions, HostedFunction, Invocation

hosted = {"attempt": HostedFunction(name="attempt", handler="attempts.attempt", timeout_seconds=10)}
outcomes = {}
own = Path(os.environ["TMPDIR"]) / "own.key"
own.write_text("k" * 32)
for demand in ("none", "required"):
    functions = Functions("http://127.0.0.1:1", hosted=hosted, task_root=Path(task_root), demand=demand)
    for name, payload in {
        "read": {"path": str(own)}, "send": {"pid": os.getpid()}, "user": {}, "whose": {"pid": os.getpid()},
    }.items():
        result = functions.invoke(Invocation(
            function_arn="arn:aws:lambda:eu-central-1:123456789012:function:attempt", secret_arn="s",
            payload={"attempt": name, **payload}, credentials=lambda: TemporaryCredentials(
                access_key_id="A", secret_access_key="key", session_token="token",
                expires_at=datetime.now(UTC) + timedelta(hours=1))), abort=threading.Event())
        outcomes[f"{demand} {name}"] = result.fault.error_type if result.fault else result.payload
    functions.close()
print(json.dumps(outcomes))
"""
ATTEMPTS = """
import os

def attempt(event, context):
    match event["attempt"]:
        case "read":
            return len(open(event["path"]).read())
        case "send":
            return os.kill(event["pid"], 0)
        case "whose":
            return "own init" if "launcher.py" in open(f"/proc/{event['pid']}/cmdline").read() else "the server"
        case "user":
            return os.getuid()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root makes the user of no account that this test needs")
@pytest.mark.skipif(landlock.abi() < landlock.WHOLE, reason="this kernel cannot confine a function whole")
def test_the_same_attempts_fail_without_root(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    root = tmp_path_factory.mktemp("task")
    root.chmod(0o755)
    (root / "attempts.py").write_text(ATTEMPTS)
    ended = subprocess.run(
        [sys.executable, "-c", SERVER, str(root), str(Path(__file__).parents[2]), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == {
        "none read": 32,
        "none send": None,
        "none user": 54321,
        "none whose": "the server",
        "required read": "FileNotFoundError",
        "required send": "PermissionError",  # the server's number, 1, is that of the function's own init
        "required user": 54321,
        "required whose": "own init",
    }
