"""A confined child as its owner sees it: what it is shown, how it is told to end, how its end is reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.confinement.ordinary import UID, confinement
from turnlock.confinement import landlock, walls
from turnlock.confinement.orders import Orders, Place, shown
from turnlock.confinement.start import start
from turnlock.local_servers.process import free_port

landlocked = pytest.mark.skipif(
    landlock.abi() < walls.LEAST_LANDLOCK, reason="this kernel cannot confine a child"
)
pytestmark = landlocked
Run = Callable[..., subprocess.CompletedProcess[bytes]]


def orders(home: Path, command: list[str], *places: Place, **changes: Any) -> Orders:
    """Return the orders of a child of user UID that sees `places`; `changes` are of its walls."""
    environment = {"LC_ALL": "C", **changes.pop("environment", {})}
    wanted = {**confinement(home, []), "places": list(places), **changes}
    return cast(
        "Orders",
        {
            "owner_pid": os.getpid(),
            "owner_signal": int(signal.SIGKILL),
            "command": command,
            "environment": environment,
            "work_in": "",
            "cgroup": "",
            "confinement": wanted,
        },
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    home = tmp_path / "home"
    home.mkdir()

    def make(script: str, *places: Place, **changes: Any) -> subprocess.CompletedProcess[bytes]:
        program = ["/bin/bash", "-c", script]
        if changes.get("interpreter", False):
            program = [sys.executable, "-c", textwrap.dedent(script)]
        process = start(orders(home, program, *places, **{"interpreter": False, **changes}))
        output, _ = process.communicate(timeout=20)
        return subprocess.CompletedProcess(program, process.returncode, output)

    return make


def test_only_what_is_shown_has_a_name(run: Run) -> None:
    ended = run("echo /*; echo /dev/*; cat /etc/passwd", memory_counted=True)
    shown_names, devices, *accounts = ended.stdout.decode().splitlines()
    assert set(shown_names.split()) <= {
        "/bin",
        "/dev",
        "/etc",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/proc",
        "/sbin",
        "/tmp",
        "/usr",
    }
    assert (
        devices
        == "/dev/fd /dev/full /dev/null /dev/random /dev/stderr /dev/stdin /dev/stdout /dev/urandom /dev/zero"
    )
    assert [line.split(":")[2] for line in accounts] == ["0", str(UID if os.geteuid() == 0 else os.geteuid())]


def test_a_place_appears_where_the_orders_say(run: Run, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "main.py").write_text("handler = 1")
    ended = run("cd /var/task && cat main.py && pwd && echo x > main.py", shown(str(package), at="/var/task"))
    assert ended.stdout.startswith(b"handler = 1/var/task\n")
    assert b"Read-only file system" in ended.stdout
    assert ended.returncode == 1


def test_a_variable_that_names_a_moved_place_names_it_also_without_namespaces(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "authorities.pem"
    file.write_text("the file")
    place = shown(str(file), at="/etc/authorities.pem")
    for demand in ("required", "none"):
        ended = run(
            "cat $AUTHORITIES", place, demand=demand, environment={"AUTHORITIES": "/etc/authorities.pem"}
        )
        assert ended.stdout == b"the file"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a child another user")
def test_a_writable_place_keeps_its_files_under_the_given_user(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, UID, UID)
    ended = run(f"echo row > {data}/table", shown(str(data), writable=True))
    assert ended.returncode == 0, ended.stdout
    assert (data / "table").read_text() == "row\n"
    assert (data / "table").stat().st_uid == UID


def test_further_files_of_etc_are_written_for_it(run: Run) -> None:
    ended = run(
        "cat /etc/database/settings /etc/group", etc={"database/settings": "port = 1\n", "group": "db:x:5:\n"}
    )
    assert ended.stdout == b"port = 1\ndb:x:5:\n"


def test_tmp_is_bounded_as_one_sum_and_shared_memory_apart(run: Run) -> None:
    ended = run(
        "head -c 900000 /dev/full > /tmp/a && head -c 900000 /dev/full > /tmp/b; head -c 2000000 /dev/full > /dev/shm/c;"
        "stat -c %s /tmp/a /tmp/b /dev/shm/c",
        home_bytes=1 << 20,
        shm_bytes=1 << 20,
    )
    sizes = [int(line) for line in ended.stdout.splitlines() if line.isdigit()]
    assert sizes[0] == 900000
    assert sum(sizes[:2]) <= 1 << 20
    assert sizes[2] <= 1 << 20


@pytest.mark.skipif(landlock.abi() < 4, reason="this kernel cannot limit ports")
def test_a_server_binds_its_own_port_alone_and_connects_nowhere(run: Run) -> None:
    port = free_port()
    script = f"""
        import socket
        def tried(act):
            try:
                return act() or "done"
            except OSError as error:
                return type(error).__name__
        own, other = socket.socket(), socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        print(tried(lambda: own.bind(("127.0.0.1", {port}))), tried(lambda: own.listen(1)))
        print(tried(lambda: other.bind(("127.0.0.1", 0))))
        print(tried(lambda: socket.create_connection(("127.0.0.1", {port}), timeout=2)))
        print(tried(lambda: other.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", {port}))))
    """
    ended = run(script, interpreter=True, bind_ports=[port], connects=False, system_calls="server")
    assert ended.stdout == b"done done\nPermissionError\nPermissionError\nOSError\n", ended.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_launcher_reaches_the_child_and_its_status_comes_back(
    tmp_path: Path, number: signal.Signals
) -> None:
    script = f"trap 'echo told; exit 7' {number.value}; echo ready; while :; do sleep 0.05; done"
    process = start(orders(tmp_path, ["/bin/bash", "-c", script], interpreter=False))
    assert process.stdout is not None
    assert process.stdout.read(6) == b"ready\n"
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert (output, process.returncode) == (b"told\n", 7)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel schedules no groups")
def test_a_child_gives_way_with_its_whole_session(run: Run) -> None:
    """It has been lost once: its own /proc cannot be written to."""
    assert run("cat /proc/self/autogroup; nice", nice=10).stdout.split()[-2:] == [b"10", b"10"]


def test_a_child_that_a_signal_ends_is_reported_so(run: Run) -> None:
    assert run("kill -SEGV $$").returncode == -signal.SIGSEGV


def test_killing_the_launcher_ends_all_that_the_child_started(tmp_path: Path) -> None:
    marker = f"{tmp_path.name}-{os.getpid()}"
    script = f"setsid bash -c 'while :; do sleep 0.1; done; : {marker}' & echo ready; wait"
    process = start(orders(tmp_path, ["/bin/bash", "-c", script], interpreter=False))
    assert process.stdout is not None
    assert process.stdout.read(6) == b"ready\n"
    assert living(marker) > 0
    process.kill()
    process.communicate(timeout=10)
    until = time.monotonic() + 5
    while living(marker) and time.monotonic() < until:
        time.sleep(0.02)
    assert living(marker) == 0


def test_a_child_is_given_time_to_end_in_good_order_when_its_owner_is_gone(tmp_path: Path) -> None:
    data, home = tmp_path / "data", tmp_path / "home"
    data.mkdir()
    home.mkdir()
    if os.geteuid() == 0:
        os.chown(data, UID, UID)
    script = f"trap 'echo closed > {data}/state; exit' QUIT; echo open > {data}/state; while :; do sleep 0.05; done"
    wanted = orders(home, ["/bin/bash", "-c", script], shown(str(data), writable=True), interpreter=False)
    owner = f"""
import os, time
from turnlock.confinement.start import start
start({ {**wanted, "owner_pid": 0, "owner_signal": int(signal.SIGQUIT)}!r} | {{"owner_pid": os.getpid()}}, output=2)
while not os.path.exists({str(data / "state")!r}):
    time.sleep(0.02)
"""
    subprocess.run([sys.executable, "-c", owner], check=True, timeout=20)
    until = time.monotonic() + 5
    while (data / "state").read_text() != "closed\n" and time.monotonic() < until:
        time.sleep(0.02)
    assert (data / "state").read_text() == "closed\n"


def living(marker: str) -> int:
    """Count the processes whose command line holds these words."""
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += marker in (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
    return found


OUT_OF_PIPES = """
import errno, fcntl, os, pathlib, sys
sys.path[:0] = [sys.argv[2]]
from tests.confinement.ordinary import become_ordinary
from tests.confinement.test_start import orders
from turnlock.confinement.start import start
become_ordinary(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2], "tests"))
kept = []
while len(kept) < 400:
    kept.append(os.pipe())
    try:
        fcntl.fcntl(kept[-1][1], fcntl.F_SETPIPE_SZ, 1 << 20)
    except PermissionError:
        break
else:
    sys.exit("no limit of pipes here")
home = pathlib.Path("/tmp/home")
home.mkdir()
program = ["/bin/bash", "-c", "echo ${#LONG}"]
process = start(orders(home, program, interpreter=False, demand="none", environment={"LONG": "x" * 100_000}))
print(process.communicate(timeout=30)[0].decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes an ordinary user of its own")
def test_a_user_whose_pipes_are_used_up_still_starts_children(passable_dir: Path) -> None:
    """Functions of an ordinary server's user can bring that about: the kernel counts the pages of pipes by user (pipe(7))."""
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", OUT_OF_PIPES, str(passable_dir), root],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout.split() == ["100000"], ended.stderr
