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
from turnlock.confinement import kernel, namespaces, places

task_root, key = sys.argv[1:]
os.umask(0o022)
namespaces.enter()  # as root, so that this user of no account can be given a way to the interpreter
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
kernel.mount("proc", "/proc", "proc")
places.open_ways(places.readable_places([task_root, key, os.environ["TMPDIR"]]), scratch_bytes=1 << 24)
os.setgroups([]); os.setresgid(54321, 54321, 54321); os.setresuid(54321, 54321, 54321)
kernel.prctl(kernel.PR_SET_DUMPABLE, 1)

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
def test_the_same_attempts_fail_without_root(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("task")
    root.chmod(0o755)
    (root / "attempts.py").write_text(ATTEMPTS)
    scratch = Path("/tmp") / f"turnlock-without-root-{os.getpid()}"
    scratch.mkdir(mode=0o777)
    scratch.chmod(0o777)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", SERVER, str(root), str(root)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "TMPDIR": str(scratch), "HOME": str(scratch)},
        )
    finally:
        for file in scratch.iterdir():
            file.unlink()
        scratch.rmdir()
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == {
        "none read": 32,
        "none send": None,
        "none user": 54321,
        "none whose": "the server",
        "required read": "PermissionError",
        "required send": "PermissionError",  # the server's number, 1, is that of the function's own init
        "required user": 54321,
        "required whose": "own init",
    }
