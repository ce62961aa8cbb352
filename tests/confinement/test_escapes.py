"""What a function tries against its server and its neighbours: each attempt fails confined, and succeeds unconfined."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from turnlock.confinement import landlock
from turnlock.confinement.orders import Demand
from turnlock.core.credentials import TemporaryCredentials
from turnlock.functions import FaultKind, Functions, HostedFunction, Invocation, InvocationResult, PoolLimits
from turnlock.functions.runtime.runtime_api import Phase, RuntimeApi

ATTEMPTS = """
import ctypes, os, signal, socket, subprocess, sys, time

def read(event):
    with open(event["path"], "rb") as file:
        return len(file.read(64))

def entries(event):
    return len(os.listdir(event["path"]))

def overwrite(event):
    with open(event["path"], "r+b") as file:
        file.write(b"x")

def truncate(event):
    os.truncate(event["path"], 0)

def remove(event):
    os.unlink(event["path"])

def create(event):
    with open(event["path"] + "/new", "w"):
        pass

def link(event):
    os.link(event["path"], "stolen")

def send(event):
    os.kill(event["pid"], event["signal"])

def trace(event):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, event["pid"], None, None) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(event["pid"], 0)
    libc.ptrace(17, event["pid"], None, None)

def speak(event):
    socket.socket(socket.AF_UNIX).connect("\\0" + event["name"])

def listen(event):
    socket.socket().bind(("127.0.0.1", 0))

def processes(event):
    return [int(name) for name in os.listdir("/proc") if name.isdigit()].index(event["pid"])

def ask_for_anothers_event(event):
    host, _, port = event["address"].partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as line:
        path = event["prefix"] + "/2018-06-01/runtime/invocation/next"
        line.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
        return line.recv(64).split()[1].decode()

def mount(event):
    if ctypes.CDLL(None, use_errno=True).mount(b"tmpfs", os.environ["HOME"].encode(), b"tmpfs", 2, None):
        raise OSError(ctypes.get_errno(), "mount")
    ctypes.CDLL(None).umount(os.environ["HOME"].encode())

def become_root(event):
    os.setuid(0)

def attempt(event, context):
    return globals()[event["attempt"]](event)

def fork(event, context):
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)

def fork_quietly(event, context):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    return child.pid

def together(event, context):
    for _ in range(8):
        if os.fork() == 0:
            kept = bytearray(os.urandom(1 << 20) * 60)
            time.sleep(30)
    time.sleep(30)

def fill(event, context):
    with open("ballast", "wb") as file:
        while True:
            file.write(bytes(1 << 20))

def fill_by_many(event, context):
    for number in range(1000):
        with open(f"ballast-{number}", "wb") as file:
            file.write(bytes(1 << 20))

def loop(event, context):
    while True:
        pass

def temporary(event, context):
    with open("/tmp/notes", "w") as file:
        file.write("kept for now")
    return sorted(os.listdir("/tmp"))

def scratch(event, context):
    with open("notes", "w") as file:
        file.write("kept for now")
    return [subprocess.run(["/bin/cat", "notes"], capture_output=True, text=True).stdout, os.nice(0)]
"""
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:"
RUN_HANDLERS = (
    "attempt",
    "fork",
    "fork_quietly",
    "together",
    "fill",
    "fill_by_many",
    "loop",
    "scratch",
    "temporary",
)

Run = Callable[..., InvocationResult]

pytestmark = pytest.mark.skipif(
    landlock.abi() < landlock.WHOLE, reason="this kernel cannot confine a function whole (Linux 6.12 can)"
)


@pytest.fixture(scope="module")
def task_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("task")
    root.chmod(0o755)
    (root / "attempts.py").write_text(ATTEMPTS)
    return root


@pytest.fixture(params=["none", "required"])
def demand(request: pytest.FixtureRequest) -> Demand:
    chosen: Demand = request.param
    return chosen


@pytest.fixture
def run(task_root: Path, demand: Demand) -> Iterator[Run]:
    """Run a handler on behalf of a secret; `demand` says within which walls."""
    hosted = {
        name: HostedFunction(name=name, handler=f"attempts.{name}", timeout_seconds=20.0)
        for name in RUN_HANDLERS
    }
    functions = Functions(
        "http://127.0.0.1:1",
        hosted=hosted,
        task_root=task_root,
        demand=demand,
        limits=PoolLimits(),
    )

    def invoke(name: str, timeout: float = 10.0, /, secret: str = "one", **payload: Any) -> InvocationResult:
        return functions.invoke(
            Invocation(
                function_arn=ARN + name,
                payload=payload,
                secret_arn=secret,
                credentials=credentials,
                timeout_seconds=timeout,
            ),
            abort=threading.Event(),
        )

    yield invoke
    functions.close()


def credentials() -> TemporaryCredentials:
    return TemporaryCredentials(
        access_key_id="ASIATEST",
        secret_access_key="key",
        session_token="token",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


def judge(result: InvocationResult, demand: Demand, *errors: str) -> None:
    """Demand that an attempt succeeded without walls, and failed within by one of these errors."""
    if demand == "none":
        assert result.fault is None, result.fault
    else:
        assert result.fault is not None
        assert result.fault.kind is FaultKind.FUNCTION
        assert result.fault.error_type in errors, result.fault


@pytest.mark.parametrize("attempt", ["read", "overwrite", "truncate", "remove", "link"])
def test_the_servers_files_are_out_of_reach(run: Run, demand: Demand, tmp_path: Path, attempt: str) -> None:
    key = tmp_path / "root.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o666)
    tmp_path.chmod(0o777)  # what the modes allow is not the point
    judge(
        run("attempt", attempt=attempt, path=str(key)),
        demand,
        "PermissionError",
        "FileNotFoundError",
        "OSError",
    )
    if demand != "none":
        assert key.read_bytes() == b"k" * 32


@pytest.mark.parametrize("attempt", ["entries", "create"])
@pytest.mark.parametrize("place", ["beside the code", "a data directory"])
def test_directories_are_out_of_reach(
    run: Run, demand: Demand, task_root: Path, attempt: str, place: str
) -> None:
    path = task_root.parent if place == "beside the code" else task_root.parent / "data"
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    (task_root.parent / "neighbour").mkdir(exist_ok=True)
    result = run("attempt", attempt=attempt, path=str(path))
    if demand == "required" and result.fault is None:
        assert (attempt, result.payload) == ("entries", 1), "a private /tmp shows the way to its own code"
        return
    judge(result, demand, "PermissionError", "FileNotFoundError")


def test_another_functions_files_are_out_of_reach(run: Run, demand: Demand, task_root: Path) -> None:
    other = task_root.parent / "task-of-another"
    other.mkdir(exist_ok=True)
    other.chmod(0o755)
    (other / "code.py").write_text("SECRET = 1")
    (other / "code.py").chmod(0o644)
    judge(
        run("attempt", attempt="read", path=str(other / "code.py")),
        demand,
        "PermissionError",
        "FileNotFoundError",
    )


def test_its_own_code_can_be_read_but_not_changed(run: Run, demand: Demand, task_root: Path) -> None:
    own = str(task_root / "attempts.py")
    assert run("attempt", attempt="read", path=own).fault is None
    if demand == "required":
        judge(run("attempt", attempt="overwrite", path=own), demand, "PermissionError")


@pytest.mark.parametrize("name", ["environ", "maps", "mem", "cmdline"])
def test_the_servers_proc_is_out_of_reach(run: Run, demand: Demand, name: str) -> None:
    result = run("attempt", attempt="read", path=f"/proc/{os.getpid()}/{name}")
    if demand == "none" and name == "mem":
        assert result.fault is not None
        assert result.fault.error_type == "OSError"  # it was opened; there is nothing at address 0
        return
    judge(result, demand, "FileNotFoundError", "PermissionError")


def test_no_process_outside_is_seen(run: Run, demand: Demand) -> None:
    judge(run("attempt", attempt="processes", pid=os.getpid()), demand, "ValueError")


@pytest.mark.parametrize("attempt", ["send", "trace"])
def test_the_server_cannot_be_signalled_or_traced(run: Run, demand: Demand, attempt: str) -> None:
    """A sleeping process stands for the server, which could not be traced while it waits."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as server:
        try:
            result = run("attempt", attempt=attempt, pid=server.pid, signal=int(signal.SIGCONT))
            judge(result, demand, "PermissionError", "ProcessLookupError")
        finally:
            server.kill()


def test_abstract_sockets_outside_are_out_of_reach(run: Run, demand: Demand) -> None:
    name = f"turnlock-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        judge(run("attempt", attempt="speak", name=name), demand, "PermissionError")


def test_no_port_can_be_listened_at(run: Run, demand: Demand) -> None:
    judge(run("attempt", attempt="listen"), demand, "PermissionError")


@pytest.mark.parametrize("demand", ["required"])
def test_anothers_runtime_api_gives_nothing_to_who_does_not_know_its_path(run: Run) -> None:
    """The port can be reached, for any port can; the path is told to its own function alone."""
    other = RuntimeApi()
    try:
        stranger = run("attempt", attempt="ask_for_anothers_event", address=other.address, prefix="")
        guess = run("attempt", attempt="ask_for_anothers_event", address=other.address, prefix="/" + "A" * 32)
        assert (stranger.payload, guess.payload) == ("403", "403")
        assert other.phase is Phase.STARTING, "nothing was taken or answered"
    finally:
        other.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this unconfined")
@pytest.mark.parametrize("attempt", ["become_root", "mount"])
def test_no_power_is_left(run: Run, demand: Demand, attempt: str) -> None:
    judge(run("attempt", attempt=attempt), demand, "PermissionError")


@pytest.mark.parametrize("demand", ["required"])
def test_a_home_can_be_used_and_programs_be_run(run: Run) -> None:
    assert run("scratch").payload == ["kept for now", os.nice(0)]


@pytest.mark.skipif(os.geteuid() != 0, reason="a server that is not root has only a home to give")
@pytest.mark.parametrize("demand", ["required"])
def test_its_tmp_is_its_own(run: Run, tmp_path: Path) -> None:
    """Functions written for Lambda write to /tmp by name."""
    names = run("temporary").payload
    assert "notes" in names
    assert not Path("/tmp/notes").exists()
    assert run("temporary", secret="another").payload.count("notes") == 1


@pytest.mark.parametrize("demand", ["required"])
def test_a_home_is_gone_with_its_process(run: Run) -> None:
    before = set(Path("/tmp").glob("turnlock-function-*"))
    run("scratch")
    made = set(Path("/tmp").glob("turnlock-function-*")) - before
    assert all(list(home.iterdir()) == [] for home in made), "what it wrote is seen by itself alone"


@pytest.mark.parametrize("demand", ["required"])
@pytest.mark.parametrize(
    ("name", "error_type"), [("fork", "Turnlock.ProcessesExceeded"), ("together", "Runtime.OutOfMemory")]
)
def test_what_uses_too_much_together_is_stopped(run: Run, name: str, error_type: str) -> None:
    began = time.monotonic()
    result = run(name, 15.0)
    assert result.fault is not None
    assert (result.fault.kind, result.fault.error_type) == (FaultKind.EXITED, error_type)
    assert "was stopped" in result.fault.message
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("demand", ["required"])
@pytest.mark.parametrize("name", ["fill", "fill_by_many"])
def test_a_full_disk_is_the_functions_own(run: Run, name: str) -> None:
    result = run(name)
    assert result.fault is not None
    assert (result.fault.kind, result.fault.error_type) == (FaultKind.FUNCTION, "OSError")
    assert "No space left" in result.fault.message or "File too large" in result.fault.message


@pytest.mark.parametrize("demand", ["required"])
def test_a_loop_ends_at_its_deadline(run: Run) -> None:
    result = run("loop", 0.5)
    assert result.fault is not None
    assert (result.fault.kind, result.fault.message) == (
        FaultKind.TIMEOUT,
        "Task timed out after 0.50 seconds",
    )


@pytest.mark.parametrize("demand", ["required"])
def test_nothing_that_it_started_outlives_it(run: Run) -> None:
    """The child left the process group and the session: only a process namespace of its own holds it."""
    marker = "import time; time.sleep(60)"
    assert run("fork_quietly").fault is None
    assert running(marker) == 1
    run("loop", 0.3)
    assert run("fork_quietly", secret="another").fault is None
    assert running(marker) == 2


def test_after_the_pool_is_closed_nothing_is_left(task_root: Path) -> None:
    marker = "import time; time.sleep(60)"
    until = time.monotonic() + 5
    while running(marker) and time.monotonic() < until:
        time.sleep(0.02)
    assert running(marker) == 0


def running(marker: str) -> int:
    """Count the processes whose command line holds these words and that are no zombies."""
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += marker in (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
    return found
