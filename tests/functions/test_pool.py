from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from turnlock.confinement.orders import Demand
from turnlock.core.credentials import TemporaryCredentials
from turnlock.functions import FaultKind, Functions, Invocation, InvocationResult

MakeFunctions = Callable[..., Functions]
Make = Callable[..., Invocation]
Credentials = Callable[..., TemporaryCredentials]
Eventually = Callable[..., bool]

PATIENCE = 60.0
ECHO = "arn:aws:lambda:eu-central-1:123456789012:function:echo"


@pytest.fixture
def demand() -> Demand:
    """Leave the processes where their ids are those of this machine."""
    return "none"


def gone(pid: int) -> bool:
    """Tell whether a process of ours has ended and was reaped."""
    return not Path(f"/proc/{pid}").exists()


def run(functions: Functions, invocation: Invocation) -> InvocationResult:
    return functions.invoke(invocation, abort=threading.Event())


def pid_of(result: InvocationResult) -> int:
    assert result.fault is None
    pid = result.payload["pid"]
    assert isinstance(pid, int)
    return pid


@contextmanager
def occupied(functions: Functions, invocation: Make, credentials: Credentials) -> Iterator[threading.Event]:
    """Let an invocation that takes long have a place of the pool; give what aborts it, and abort it in the end."""
    has_place, abort = threading.Event(), threading.Event()

    def told() -> TemporaryCredentials:
        has_place.set()
        return credentials()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(functions.invoke, invocation("sleep", credentials=told), abort=abort)
        assert has_place.wait(PATIENCE)
        yield abort
        abort.set()
        assert running.result(PATIENCE).fault is not None


def test_an_idle_process_is_ended_after_its_time(
    make_functions: MakeFunctions, invocation: Make, eventually: Eventually
) -> None:
    functions = make_functions(idle_seconds=0.3)
    pid = pid_of(run(functions, invocation("echo")))
    assert not gone(pid)
    assert eventually(lambda: gone(pid))
    assert run(functions, invocation("echo")).cold


def test_the_least_recently_used_process_makes_room(
    make_functions: MakeFunctions, invocation: Make, eventually: Eventually
) -> None:
    functions = make_functions(processes=2)
    pids = {name: pid_of(run(functions, invocation("echo", secret_arn=name))) for name in "abac"}
    assert eventually(lambda: gone(pids["b"]))
    assert not gone(pids["a"])
    assert not run(functions, invocation("echo", secret_arn="a")).cold


def test_a_full_pool_is_waited_for_a_bounded_time(
    make_functions: MakeFunctions, invocation: Make, credentials: Credentials
) -> None:
    functions = make_functions(processes=1, wait_seconds=0.2)
    with occupied(functions, invocation, credentials):
        result = run(functions, invocation("echo"))
    assert result.fault is not None
    assert (result.fault.kind, result.fault.error_type) == (FaultKind.UNAVAILABLE, "TooManyRequestsException")
    assert result.fault.message == "Every process was busy for 0.2 seconds"


def test_whoever_waits_gets_the_place_that_becomes_free(
    make_functions: MakeFunctions, invocation: Make
) -> None:
    functions = make_functions(processes=1)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda name: run(functions, invocation("echo", secret_arn=name)), "abcd"))
    assert all(result.fault is None for result in results)


def test_waiting_for_a_place_can_be_aborted(
    make_functions: MakeFunctions, invocation: Make, credentials: Credentials
) -> None:
    functions = make_functions(processes=1)
    abort = threading.Event()
    with ThreadPoolExecutor(1) as pool, occupied(functions, invocation, credentials) as first:
        second = pool.submit(functions.invoke, invocation("echo"), abort=abort)
        abort.set()
        result = second.result(PATIENCE)
        assert not first.is_set()
    assert result.fault is not None
    assert result.fault.kind is FaultKind.ABORTED


@pytest.mark.parametrize(
    ("minutes", "timeout", "key"), [(0.9, 1, "ASIASECOND"), (1.5, 1, "ASIAFIRST"), (1.5, 120, "ASIASECOND")]
)
def test_a_process_whose_credentials_run_out_is_replaced(
    functions: Functions, invocation: Make, minutes: float, timeout: float, key: str
) -> None:
    made = [invocation("echo").credentials() for _ in range(2)]
    short = replace(made[0], expires_at=datetime.now(UTC) + timedelta(minutes=minutes))
    second = replace(made[1], access_key_id="ASIASECOND")
    pid = pid_of(run(functions, invocation("echo", credentials=lambda: short)))
    result = run(functions, invocation("echo", credentials=lambda: second, timeout_seconds=timeout))
    assert result.access_key_id == key
    assert result.cold is (pid_of(result) != pid) is (key == "ASIASECOND")


def test_a_process_that_died_while_idle_is_replaced(
    make_functions: MakeFunctions, invocation: Make, eventually: Eventually
) -> None:
    functions = make_functions()
    pid = pid_of(run(functions, invocation("echo")))
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: functions.warm_access_key_id(ECHO, invocation("echo").secret_arn) is None)
    assert run(functions, invocation("echo")).cold


def test_the_warm_access_key_is_that_of_the_process_that_would_serve(
    make_functions: MakeFunctions, invocation: Make
) -> None:
    functions = make_functions()
    assert functions.warm_access_key_id(ECHO, "s") is None
    run(functions, invocation("echo", secret_arn="s"))
    assert functions.warm_access_key_id(ECHO, "s") == "ASIAFIRST"
    assert functions.warm_access_key_id(ECHO, "t") is None
    assert functions.warm_access_key_id(f"{ECHO}:$LATEST", "s") is None


def test_forgetting_a_secret_ends_its_processes_only(
    make_functions: MakeFunctions, invocation: Make, eventually: Eventually
) -> None:
    functions = make_functions()
    pids = {name: pid_of(run(functions, invocation("echo", secret_arn=name))) for name in "ab"}
    functions.forget("a")
    assert functions.warm_access_key_id(ECHO, "a") is None
    assert eventually(lambda: gone(pids["a"]))
    assert not gone(pids["b"])


def test_forgetting_reaches_a_process_that_is_starting(
    make_functions: MakeFunctions, invocation: Make, credentials: Credentials
) -> None:
    functions = make_functions()

    def forgotten_meanwhile() -> TemporaryCredentials:
        functions.forget("a")
        return credentials()

    assert run(functions, invocation("echo", secret_arn="a", credentials=forgotten_meanwhile)).fault is None
    assert functions.warm_access_key_id(ECHO, "a") is None


def test_forgetting_lets_the_invocation_in_hand_finish(
    make_functions: MakeFunctions, invocation: Make
) -> None:
    functions = make_functions()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, functions, invocation("close_output", secret_arn="a"))
        time.sleep(0.15)
        functions.forget("a")
        assert running.result(60).payload == "quiet"
    assert run(functions, invocation("close_output", secret_arn="a")).cold


def test_closing_aborts_what_runs_and_leaves_no_process_and_no_thread(
    make_functions: MakeFunctions, invocation: Make, credentials: Credentials, eventually: Eventually
) -> None:
    before = set(threading.enumerate())
    functions = make_functions()
    idle = pid_of(run(functions, invocation("echo")))
    has_place = threading.Event()
    results: list[InvocationResult] = []

    def told() -> TemporaryCredentials:
        has_place.set()
        return credentials()

    caller = threading.Thread(
        target=lambda: results.append(
            run(functions, invocation("sleep", credentials=told, timeout_seconds=600.0))
        )
    )
    caller.start()
    assert has_place.wait(PATIENCE)
    functions.close()
    functions.close()
    caller.join(PATIENCE)
    assert results[0].fault is not None
    assert results[0].fault.kind is FaultKind.ABORTED
    assert gone(idle)
    assert eventually(lambda: set(threading.enumerate()) <= before)


def test_a_closed_pool_runs_nothing(make_functions: MakeFunctions, invocation: Make) -> None:
    functions = make_functions()
    functions.close()
    result = run(functions, invocation("echo", credentials=lambda: pytest.fail("asked")))
    assert result.fault is not None
    assert result.fault.kind is FaultKind.ABORTED


def test_closing_while_a_process_starts_leaves_none(
    make_functions: MakeFunctions, invocation: Make, credentials: Credentials
) -> None:
    functions = make_functions()
    asked, go = threading.Event(), threading.Event()

    def slowly() -> Any:
        asked.set()
        assert go.wait(60)
        return credentials()

    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(run, functions, invocation("echo", credentials=slowly))
        assert asked.wait(60)
        closing = pool.submit(functions.close)
        time.sleep(0.1)
        go.set()
        closing.result(60)
        fault = running.result(60).fault
    assert fault is not None
    assert fault.kind is FaultKind.ABORTED


def test_a_machine_that_cannot_start_a_process_is_a_fault(
    make_functions: MakeFunctions, invocation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = make_functions()
    monkeypatch.setattr("turnlock.confinement.start.sys.executable", "/nowhere/python")
    result = run(functions, invocation("echo"))
    assert result.fault is not None
    assert (result.fault.kind, result.fault.error_type) == (FaultKind.UNAVAILABLE, "Turnlock.StartFailed")
    monkeypatch.undo()
    assert run(functions, invocation("echo")).fault is None
