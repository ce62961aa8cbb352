"""The launcher's own promises; what a handler sees of them is in test_runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from turnlock.functions.runtime import launcher

LAUNCHER = str(Path(launcher.__file__))


def confinement(**changes: Any) -> dict[str, Any]:
    walls: dict[str, Any] = {
        "demand": "offered",
        "system_calls": "function",
        "places": [],
        "interpreter": True,
        "etc": {},
        "home_bytes": 1 << 20,
        "shm_bytes": 0,
        "user": None,
        "bind_ports": [],
        "connects": True,
        "memory_counted": False,
        "processes": 64,
        "address_bytes": 512 << 20,
        "file_bytes": 1 << 20,
        "cpu_seconds": 60,
        "open_files": 64,
        "nice": 0,
    }
    return walls | changes


def launch(tmp_path: Path, **changes: Any) -> subprocess.CompletedProcess[bytes]:
    orders: dict[str, Any] = {
        "owner_pid": os.getpid(),
        "owner_signal": 9,
        "cgroup": "",
        "task_root": "/",
        "task_source": "/",
        "environment": {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1/prefix", "_HANDLER": "nothing.here"},
        "command": [],
        "work_in": "/",
        "confinement": confinement(home=str(tmp_path)),
    }
    return subprocess.run(
        [sys.executable, "-I", "-B", LAUNCHER],
        input=json.dumps(orders | changes).encode(),
        capture_output=True,
        timeout=10,
        check=False,
    )


def test_a_process_whose_owner_is_gone_ends_before_it_loads_anything(tmp_path: Path) -> None:
    ended = launch(tmp_path, owner_pid=1 if os.getpid() != 1 else 2)
    assert (ended.returncode, ended.stderr) == (1, b"the owner is gone\n")


def test_orders_that_are_not_json_end_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-B", LAUNCHER], input=b"{", capture_output=True, timeout=10, check=False
    )
    assert ended.returncode == 1


def test_a_runtime_api_that_is_not_there_ends_the_process(tmp_path: Path) -> None:
    assert launch(tmp_path).returncode != 0


def test_the_launcher_imports_nothing_of_turnlock_but_the_walls() -> None:
    code = f"import runpy, sys; runpy.run_path({LAUNCHER!r}); print({{n.split('.')[1] for n in sys.modules if n.startswith('turnlock.')}})"
    ended = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, timeout=10, check=True, text=True
    )
    assert ended.stdout == "{'confinement'}\n"
