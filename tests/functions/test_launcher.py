"""The launcher's own promises; what a handler sees of them is in test_runner."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from turnlock.functions import launcher

LAUNCHER = str(Path(launcher.__file__))


def launch(**changes: Any) -> subprocess.CompletedProcess[bytes]:
    orders: dict[str, Any] = {
        "owner_pid": os.getpid(),
        "handler": "nothing.here",
        "task_root": "/",
        "api_address": "127.0.0.1:1",
        "api_prefix": "/prefix",
        "environment": {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1/prefix"},
        "memory_bytes": 512 * 1024**2,
        "open_files": 64,
    }
    return subprocess.run(
        [sys.executable, "-I", "-B", LAUNCHER],
        input=json.dumps(orders | changes).encode(),
        capture_output=True,
        timeout=10,
        check=False,
    )


def test_a_process_whose_owner_is_gone_ends_before_it_loads_anything() -> None:
    ended = launch(owner_pid=1 if os.getpid() != 1 else 2)
    assert (ended.returncode, ended.stderr) == (1, b"the owner is gone\n")


def test_orders_that_are_not_json_end_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-B", LAUNCHER], input=b"{", capture_output=True, timeout=10, check=False
    )
    assert ended.returncode == 1


def test_a_runtime_api_that_is_not_there_ends_the_process() -> None:
    assert launch().returncode != 0


@pytest.mark.parametrize(("hard", "expected"), [(32, 32), (resource.RLIM_INFINITY, 64)])
def test_a_limit_is_only_ever_lowered(monkeypatch: pytest.MonkeyPatch, hard: int, expected: int) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (hard, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, value: set_to.append(value))
    launcher.limit(resource.RLIMIT_NOFILE, 64)
    assert set_to == [(expected, expected)]


def test_the_launcher_imports_nothing_of_turnlock() -> None:
    code = (
        f"import runpy, sys; runpy.run_path({LAUNCHER!r}); print([n for n in sys.modules if 'turnlock' in n])"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, timeout=10, check=True, text=True
    )
    assert ended.stdout == "[]\n"
