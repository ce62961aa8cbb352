"""Cgroups: with the kernel's own where this machine has them for us, and with directories that stand for what it has not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnlock.confinement import cgroups
from turnlock.confinement.cgroups import Cgroup, Cgroups

SPIN = "while True: pass"


@pytest.fixture
def own() -> Iterator[Cgroups]:
    base = cgroups._base()
    if base is None:
        pytest.skip("this process may make no cgroups of version 2")
    made = Cgroups(base)
    yield made
    made.close()


@pytest.fixture
def spinning(own: Cgroups) -> Iterator[tuple[Cgroup, subprocess.Popen[bytes]]]:
    """Give a cgroup with a process in it that never rests."""
    cgroup = own.make()
    with subprocess.Popen([sys.executable, "-c", SPIN]) as process:
        (cgroup.path / "cgroup.procs").write_text(str(process.pid))
        yield cgroup, process
        process.kill()
    cgroup.remove()


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_frozen_child_does_not_run_whatever_signal_it_gets(
    spinning: tuple[Cgroup, subprocess.Popen[bytes]],
) -> None:
    cgroup, process = spinning
    cgroup.freeze(True)
    time.sleep(0.1)
    before = ticks(process.pid)
    process.send_signal(18)  # SIGCONT
    time.sleep(0.3)
    assert ticks(process.pid) - before <= 1
    cgroup.freeze(False)
    until = time.monotonic() + 10
    while ticks(process.pid) - before <= 2 and time.monotonic() < until:
        time.sleep(0.02)
    assert ticks(process.pid) - before > 2


def test_a_frozen_child_can_be_killed_and_removed(spinning: tuple[Cgroup, subprocess.Popen[bytes]]) -> None:
    cgroup, process = spinning
    cgroup.freeze(True)
    cgroup.remove()
    assert process.wait(60) == -9
    assert not cgroup.path.exists()


def test_what_a_killed_server_left_is_ended_and_removed(own: Cgroups) -> None:
    base = own._path.parent
    left = base / "turnlock-999999999-1" / "1"
    left.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", SPIN]) as process:
        (left / "cgroup.procs").write_text(str(process.pid))
        cgroups.remove_left_over(base)
        assert process.wait(60) == -9
    assert not left.parent.exists()
    assert own._path.exists(), "that of a living server stays"


def test_the_servers_own_place_is_gone_when_it_is_closed(own: Cgroups) -> None:
    child = own.make()
    child.remove()
    own.close()
    assert not own._path.exists()


def test_limits_are_set_where_there_is_a_controller(tmp_path: Path) -> None:
    """Directories stand for a hierarchy whose controllers were handed to the server; this machine's are version 1's."""
    for file in (
        "memory.max",
        "memory.swap.max",
        "memory.oom.group",
        "pids.max",
        "cpu.weight",
        "cgroup.freeze",
    ):
        (tmp_path / file).touch()
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n")
    cgroup = Cgroup(tmp_path)
    assert cgroup.features == {"memory", "pids", "cpu", "freeze"}
    cgroup.limit(memory_bytes=1 << 27, processes=160, cpu_weight=10)
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert written["memory.max"] == str(1 << 27)
    assert (written["memory.swap.max"], written["memory.oom.group"]) == ("0", "1")
    assert (written["pids.max"], written["cpu.weight"]) == ("160", "10")
    assert cgroup.ran_out_of_memory


def test_without_controllers_nothing_is_limited_and_nothing_fails(tmp_path: Path) -> None:
    cgroup = Cgroup(tmp_path)
    cgroup.limit(memory_bytes=1 << 27, processes=160, cpu_weight=10)
    assert (cgroup.features, list(tmp_path.iterdir()), cgroup.ran_out_of_memory) == (frozenset(), [], False)


def test_controllers_are_handed_on_one_by_one_and_what_is_refused_is_told(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu memory hugetlb pids\n")
    (tmp_path / "cgroup.subtree_control").touch()
    assert cgroups._hand_on(tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
    if os.geteuid() != 0:
        (tmp_path / "cgroup.subtree_control").chmod(0o400)
        assert not cgroups._hand_on(tmp_path)
