"""Real handlers, run by the real `awslambdaric` in real processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from turnlock.confinement.orders import Demand
from turnlock.core.credentials import TemporaryCredentials
from turnlock.functions import Functions, HostedFunction, Invocation, InvocationResult, PoolLimits

HANDLERS = """
import ctypes, json, os, signal, subprocess, sys, threading, time

print("loaded")
LIFE = os.urandom(8).hex()
calls = 0

def echo(event, context):
    global calls
    calls += 1
    return {"event": event, "calls": calls, "pid": os.getpid(), "life": LIFE, "left": context.get_remaining_time_in_millis()}

def environment(event, context):
    try:
        with open("/proc/self/environ") as block:
            shown = block.read()
    except PermissionError:  # a process that cannot be dumped: its block is root's alone
        shown = ""
    return {"environment": dict(os.environ), "block": shown, "cwd": os.getcwd(), "argv": sys.orig_argv}

def authorities(event, context):
    def of(path):
        with open(path) as file:
            return file.read()
    return {"texts": [of(path) for path in event["paths"]], "beside": sorted(os.listdir("/etc/ssl/certs"))}

def limits(event, context):
    import resource
    return {
        "as": resource.getrlimit(resource.RLIMIT_AS),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "umask": os.umask(0o077),
        "group": os.getpgid(0),
        "session": os.getsid(0),
        "pid": os.getpid(),
        "user": os.getuid(),
        "groups": os.getgroups(),
        "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
        "no_new_privileges": ctypes.CDLL(None).prctl(39, 0, 0, 0, 0),
        "stdin": os.readlink("/proc/self/fd/0"),
        "mode": os.stat(".").st_mode & 0o777,
    }

def fail(event, context):
    raise ValueError("no luck with " + event["word"])

def long_error(event, context):
    raise ValueError("x" * 300_000)

def sleep(event, context):
    if "pids" in event:
        child = subprocess.Popen(["sleep", "60"])
        with open(event["pids"], "w") as file:
            file.write(f"{os.getpid()} {child.pid}")
    print("asleep")
    time.sleep(60)

def hoard(event, context):
    return len(bytearray(1 << 30))

def leave(event, context):
    sys.exit(event["status"])

def signalled(event, context):
    os.kill(os.getpid(), event["signal"])
    time.sleep(60)

def talk(event, context):
    print(event["text"])
    sys.stderr.write("to stderr\\n")
    sys.stdout.flush()
    return "said"

def flood(event, context):
    sys.stdout.write("flood " * 400_000 + "\\nthe end\\n")

def flood_forever(event, context):
    while True:
        os.write(1, b"x" * 65536)

def close_output(event, context):
    os.close(1)
    os.close(2)
    time.sleep(0.2)
    return "quiet"

def huge(event, context):
    return "x" * (7 * 1024 * 1024)

def not_json(event, context):
    return b"{not json"

def not_a_number(event, context):
    return float("nan")

def own_environment(event, context):
    return os.environ.get("EXCLUDE_CHARACTERS")
"""


ARN = "arn:aws:lambda:eu-central-1:123456789012:function:"


def make_credentials(*, minutes: float = 60, key: str = "ASIAFIRST") -> TemporaryCredentials:
    return TemporaryCredentials(
        access_key_id=key,
        secret_access_key="the-secret-access-key",
        session_token="the-session-token",
        expires_at=datetime.now(UTC) + timedelta(minutes=minutes),
    )


def make_invocation(name: str, payload: Mapping[str, Any] | None = None, /, **changes: Any) -> Invocation:
    settings: dict[str, Any] = {
        "function_arn": ARN + name,
        "payload": payload or {},
        "secret_arn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf",
        "credentials": make_credentials,
    }
    return Invocation(**settings | changes)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not condition():
        time.sleep(0.01)
    return condition()


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """Log as structlog does by default, whatever a test of another room has configured."""
    configured = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**configured)


@pytest.fixture(scope="session")
def task_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("task")
    root.chmod(0o755)  # a function is nobody that the files belong to
    (root / "handlers.py").write_text(HANDLERS)
    (root / "broken.py").write_text("print('about to fail')\nraise RuntimeError('cannot load hunter2!')\n")
    (root / "dying.py").write_text("import os\nos._exit(7)\n")
    (root / "slow.py").write_text("import time\ntime.sleep(60)\n")
    return root


@pytest.fixture(scope="session")
def hosted(task_root: Path) -> Mapping[str, HostedFunction]:
    names = [
        line.split("(")[0].removeprefix("def ") for line in HANDLERS.splitlines() if line.startswith("def ")
    ]
    rows = {name: f"handlers.{name}" for name in names}
    rows |= {name: f"{name}.handler" for name in ("broken", "dying", "slow", "absent")}
    rows["nameless"] = "handlers.no_such_function"
    return {
        name: HostedFunction(name=name, handler=handler, timeout_seconds=10.0)
        for name, handler in rows.items()
    }


@pytest.fixture
def demand() -> Demand:
    """Say how processes are confined; a module whose handlers tell their process ids cannot have them apart."""
    return "required"


@pytest.fixture
def make_functions(
    task_root: Path, hosted: Mapping[str, HostedFunction], demand: Demand
) -> Iterator[Callable[..., Functions]]:
    made: list[Functions] = []

    def make(**limits: Any) -> Functions:
        functions = Functions(
            "http://127.0.0.1:7768",
            hosted=hosted,
            task_root=task_root,
            demand=demand,
            limits=PoolLimits(**limits),
        )
        made.append(functions)
        return functions

    yield make
    for functions in made:
        functions.close()


@pytest.fixture
def functions(make_functions: Callable[..., Functions]) -> Functions:
    return make_functions()


@pytest.fixture
def invocation() -> Callable[..., Invocation]:
    """Make an invocation of the handler of that name."""
    return make_invocation


@pytest.fixture
def credentials() -> Callable[..., TemporaryCredentials]:
    """Make credentials that are good for some minutes."""
    return make_credentials


@pytest.fixture
def eventually() -> Callable[..., bool]:
    """Wait a bounded time until a condition holds, and tell whether it does."""
    return wait_until


@pytest.fixture
def invoke(functions: Functions) -> Callable[..., InvocationResult]:
    """Run the handler of that name."""

    def run(name: str, payload: Mapping[str, Any] | None = None, /, **changes: Any) -> InvocationResult:
        return functions.invoke(make_invocation(name, payload, **changes), abort=threading.Event())

    return run
