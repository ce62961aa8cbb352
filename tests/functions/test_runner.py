from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests import proofs
from turnlock.confinement.namespaces import FIRST_USER
from turnlock.functions import FaultKind, Functions, HostedFunction, Invocation, InvocationResult
from turnlock.functions.model import REDACTED
from turnlock.functions.runtime import authorities

Invoke = Callable[..., InvocationResult]
Make = Callable[..., Invocation]
Eventually = Callable[..., bool]

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:"
ABORTED_SECONDS = 0.2 if proofs.FULL else 5.0
"""What an abort takes; a function's own time is ten seconds."""


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody reaps counts as ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rsplit(")", 1)[1].split()[0] in "ZX"


def fault_of(result: InvocationResult) -> tuple[FaultKind, str, str]:
    assert result.fault is not None
    assert result.payload is None
    return result.fault.kind, result.fault.error_type, result.fault.message


def test_an_answer_comes_back(invoke: Invoke) -> None:
    result = invoke("echo", {"Step": "createSecret", "n": [1, "é"]})
    assert result.fault is None
    assert result.payload["event"] == {"Step": "createSecret", "n": [1, "é"]}
    assert 9000 < result.payload["left"] <= 10_000
    assert result.cold
    assert result.access_key_id == "ASIAFIRST"
    assert 0 < result.duration_seconds < 5
    assert result.log_tail == "loaded\n"


def test_a_warm_process_serves_the_same_secret_without_new_credentials(
    invoke: Invoke, credentials: Callable[..., Any]
) -> None:
    first = invoke("echo")
    second = invoke("echo", credentials=lambda: pytest.fail("asked for credentials"))
    assert (second.payload["life"], second.payload["calls"]) == (first.payload["life"], 2)
    assert (second.cold, second.log_tail, second.access_key_id) == (False, "", "ASIAFIRST")


@pytest.mark.parametrize(
    "changes",
    [{"secret_arn": "another"}, {"environment": {"PASSWORD_LENGTH": "40"}}, {"memory_bytes": 300 * 1024**2}],
)
def test_nothing_else_is_served_by_the_same_process(invoke: Invoke, changes: Mapping[str, Any]) -> None:
    assert invoke("echo", **changes).payload["life"] != invoke("echo").payload["life"]


def test_an_error_is_a_fault_and_the_process_stays(invoke: Invoke) -> None:
    result = invoke("fail", {"word": "hunter2"}, redact=lambda: frozenset(["hunter2"]))
    assert fault_of(result) == (FaultKind.FUNCTION, "ValueError", f"no luck with {REDACTED}")
    assert "Traceback" in result.log_tail
    assert "handlers.py" in result.log_tail
    assert "hunter2" not in result.log_tail
    assert not invoke("fail", {"word": "x"}).cold


def test_a_very_long_error_is_cut(invoke: Invoke) -> None:
    kind, error_type, message = fault_of(invoke("long_error"))
    assert (kind, error_type) == (FaultKind.FUNCTION, "ValueError")
    assert message == "x" * 4096


@pytest.mark.parametrize("demand", ["none"])
def test_a_timeout_kills_the_process_and_its_children(
    invoke: Invoke, tmp_path: Path, eventually: Eventually
) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    result = invoke("sleep", {"pids": str(pids)}, timeout_seconds=0.5)
    assert fault_of(result) == (FaultKind.TIMEOUT, "Sandbox.Timedout", "Task timed out after 0.50 seconds")
    assert time.monotonic() - began < 30, "the function sleeps for a minute"
    assert result.log_tail.endswith("asleep\n")
    for pid in map(int, pids.read_text().split()):
        assert eventually(lambda pid=pid: gone(pid))


@pytest.mark.parametrize("demand", ["none"])
def test_an_abort_kills_at_once(
    functions: Functions, invocation: Make, tmp_path: Path, eventually: Eventually
) -> None:
    pids, abort = tmp_path / "pids", threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(functions.invoke, invocation("sleep", {"pids": str(pids)}), abort=abort)
        assert eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        began = time.monotonic()
        abort.set()
        result = running.result(20)
    assert time.monotonic() - began < ABORTED_SECONDS
    assert fault_of(result)[0] is FaultKind.ABORTED
    assert gone(int(pids.read_text().split()[0]))


def test_an_abort_before_the_start_starts_nothing(functions: Functions, invocation: Make) -> None:
    abort = threading.Event()
    abort.set()
    result = functions.invoke(invocation("echo", credentials=lambda: pytest.fail("asked")), abort=abort)
    assert fault_of(result)[0] is FaultKind.ABORTED
    assert result.access_key_id is None


def test_memory_is_limited(invoke: Invoke) -> None:
    assert fault_of(invoke("hoard", memory_bytes=256 * 1024**2))[:2] == (FaultKind.FUNCTION, "MemoryError")


@pytest.mark.parametrize(
    ("name", "payload", "sentence"),
    [
        ("leave", {"status": 0}, "Runtime exited without providing a reason"),
        ("leave", {"status": 3}, "Runtime exited with error: exit status 3"),
        ("signalled", {"signal": signal.SIGKILL}, "Runtime exited with error: signal: SIGKILL"),
        ("signalled", {"signal": signal.SIGSEGV}, "Runtime exited with error: signal: SIGSEGV"),
    ],
)
def test_a_process_that_ends_is_a_fault(
    invoke: Invoke, name: str, payload: Mapping[str, Any], sentence: str
) -> None:
    assert fault_of(invoke(name, payload)) == (FaultKind.EXITED, "Runtime.ExitError", sentence)
    assert invoke("echo").payload["calls"] == 1


@pytest.mark.parametrize(
    ("name", "error_type", "words"),
    [
        ("broken", "RuntimeError", f"cannot load {REDACTED}!"),
        ("absent", "Runtime.ImportModuleError", "No module named 'absent'"),
        ("nameless", "Runtime.HandlerNotFound", "no_such_function"),
        ("dying", "Runtime.ExitError", "exit status 7"),
    ],
)
def test_what_cannot_be_loaded_is_an_init_fault(
    invoke: Invoke, name: str, error_type: str, words: str
) -> None:
    kind, found_type, message = fault_of(invoke(name, redact=lambda: frozenset(["hunter2"])))
    assert (kind, found_type) == (FaultKind.INIT, error_type)
    assert words in message


def test_loading_has_a_time_limit(make_functions: Callable[..., Functions], invocation: Make) -> None:
    functions = make_functions(start_seconds=0.5)
    result = functions.invoke(invocation("slow"), abort=threading.Event())
    assert fault_of(result) == (FaultKind.INIT, "Sandbox.Timedout", "Init timed out after 0.50 seconds")


def test_an_answer_over_six_mebibytes_is_a_fault(invoke: Invoke) -> None:
    assert fault_of(invoke("huge"))[:2] == (FaultKind.FUNCTION, "Function.ResponseSizeTooLarge")
    assert invoke("echo").payload["calls"] == 1


@pytest.mark.parametrize("name", ["not_json", "not_a_number"])
def test_an_answer_that_is_not_json_is_handed_on_without_a_value(invoke: Invoke, name: str) -> None:
    result = invoke(name)
    assert (result.fault, result.payload) == (None, None)
    assert result.body in (b"{not json", b"NaN")


@pytest.mark.parametrize("payload", [{"x": object()}, {"x": float("nan")}, {"x": "y" * 7 * 1024 * 1024}])
def test_a_payload_that_cannot_be_sent_is_the_callers_mistake(invoke: Invoke, payload: Any) -> None:
    with pytest.raises(ValueError, match="the payload"):
        invoke("echo", payload)


@pytest.mark.parametrize("arn", [f"{ARN}unknown", f"{ARN}echo:7", "echo", "arn:\x1b[2J"])
def test_only_hosted_functions_run(functions: Functions, invocation: Make, arn: str) -> None:
    asked = invocation("echo", function_arn=arn, credentials=lambda: pytest.fail("asked"))
    kind, error_type, message = fault_of(functions.invoke(asked, abort=threading.Event()))
    assert (kind, error_type) == (FaultKind.UNAVAILABLE, "ResourceNotFoundException")
    assert message.isprintable()


def test_what_credentials_raises_reaches_the_caller_and_frees_the_place(
    make_functions: Callable[..., Functions], invocation: Make
) -> None:
    def refuse() -> Any:
        raise PermissionError("no role")

    functions = make_functions(processes=1)
    with pytest.raises(PermissionError, match="no role"):
        functions.invoke(invocation("echo", credentials=refuse), abort=threading.Event())
    assert functions.invoke(invocation("echo"), abort=threading.Event()).fault is None


def test_output_is_redacted_in_the_log_and_in_the_result(invoke: Invoke) -> None:
    password = "p\"a/s'w\\d"
    text = f"{password} {json.dumps(password)} {password!r} the-secret-access-key the-session-token\n\x1b[2J"
    with capture_logs() as events:
        result = invoke("talk", {"text": text}, redact=lambda: frozenset([password]))
    assert result.payload == "said"
    assert result.log_tail.count(REDACTED) == 5
    lines = [event["line"] for event in events if event["action"] == "function_log"]
    assert lines[0] == "loaded"
    assert lines[-2:] == ["\\x1b[2J", "to stderr"]
    shown = repr(events) + result.log_tail
    for value in (password, json.dumps(password)[1:-1], repr(password)[1:-1], "the-secret", "the-session"):
        assert value not in shown


def test_the_life_of_an_invocation_is_logged_under_stable_actions(invoke: Invoke) -> None:
    with capture_logs() as events:
        invoke("echo")
        invoke("sleep", timeout_seconds=0.2)
    actions = [event["action"] for event in events if event["action"] != "function_log"]
    assert actions == ["function_started", "function_ended", "function_started", "function_timeout"]


def test_a_flood_of_output_is_bounded_and_ends_with_its_end(invoke: Invoke) -> None:
    result = invoke("flood")
    assert result.fault is None
    assert len(result.log_tail) == 64 * 1024
    assert result.log_tail.endswith("the end\n")


def test_output_without_end_ends_the_process(invoke: Invoke) -> None:
    began = time.monotonic()
    kind, error_type, message = fault_of(invoke("flood_forever"))
    assert (kind, error_type) == (FaultKind.EXITED, "Turnlock.OutputExceeded")
    assert message == "The function wrote more than 16777216 bytes of output and was stopped"
    assert time.monotonic() - began < 30


def test_a_function_that_closes_its_output_still_answers(invoke: Invoke) -> None:
    assert invoke("close_output").payload == "quiet"


def test_the_environment_is_cleared(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNLOCK_ROOT_KEY", "hunter2")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    shown = invoke(
        "environment", environment={"PASSWORD_LENGTH": "40", "AWS_REGION": "xx", "HOME": "/root"}
    ).payload
    environment = shown["environment"]
    assert set(environment) == {
        *(
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
        ),
        *(
            "AWS_ENDPOINT_URL",
            "SECRETS_MANAGER_ENDPOINT",
            "AWS_LAMBDA_RUNTIME_API",
            "AWS_LAMBDA_FUNCTION_NAME",
        ),
        *("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "LAMBDA_TASK_ROOT", "_HANDLER"),
        *("_X_AMZN_TRACE_ID", "HOME", "TMPDIR", "LANG", "PATH", "TZ", "PASSWORD_LENGTH"),
        *("LD_LIBRARY_PATH", "PYTHONPATH"),
    }
    assert environment["PYTHONPATH"] == environment["LAMBDA_TASK_ROOT"]
    assert environment["AWS_REGION"] == "eu-central-1"
    assert environment["SECRETS_MANAGER_ENDPOINT"] == "http://127.0.0.1:7768"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert environment["HOME"] == environment["TMPDIR"] == shown["cwd"]
    for value in ("the-secret-access-key", "the-session-token", "hunter2"):
        assert value not in shown["block"] + repr(shown["argv"])


def test_the_authority_of_databases_is_named_unless_the_invocation_names_another(
    task_root: Path, hosted: Mapping[str, HostedFunction], invocation: Make
) -> None:
    authority = task_root / "databases.pem"
    authority.touch()
    functions = Functions(
        "http://127.0.0.1:1", hosted=hosted, task_root=task_root, database_ca_file=authority
    )
    try:
        shown = functions.invoke(invocation("environment"), abort=threading.Event()).payload
        own = invocation("environment", environment={"SSL_CA_FILE": "/own.pem"})
        other = functions.invoke(own, abort=threading.Event()).payload
    finally:
        functions.close()
    assert shown["environment"]["SSL_CA_FILE"] == "/etc/pki/tls/cert.pem", "as the function sees it"
    assert other["environment"]["SSL_CA_FILE"] == "/own.pem"


def test_the_authorities_of_databases_are_at_each_of_their_names_and_hide_nothing_beside_them(
    task_root: Path, hosted: Mapping[str, HostedFunction], invocation: Make
) -> None:
    authority = task_root / "databases.pem"
    authority.write_text("the authorities")
    functions = Functions(
        "http://127.0.0.1:1", hosted=hosted, task_root=task_root, database_ca_file=authority
    )
    try:
        asked = invocation("authorities", {"paths": authorities.AT})
        shown = functions.invoke(asked, abort=threading.Event()).payload
    finally:
        functions.close()
    assert shown["texts"] == ["the authorities"] * len(authorities.AT)
    machine = Path("/etc/ssl/certs")
    assert shown["beside"] == sorted(
        {"ca-bundle.crt", *(entry.name for entry in machine.iterdir())}
        if machine.exists()
        else {"ca-bundle.crt"}
    )
    assert not (machine / "ca-bundle.crt").is_mount()


def test_the_process_is_limited_private_and_without_powers(invoke: Invoke) -> None:
    shown = invoke("limits", memory_bytes=256 * 1024**2).payload
    assert shown["as"] == [256 * 1024**2] * 2
    assert shown["core"] == [1, 1]
    assert max(shown["files"]) <= 1024
    assert shown["umask"] == 0o077
    assert shown["mode"] == 0o700
    assert (shown["pid"], shown["group"], shown["session"]) == (2, 0, 0), "a process namespace of its own"
    assert shown["user"] >= FIRST_USER
    assert shown["groups"] == []
    assert (shown["dumpable"], shown["no_new_privileges"]) == (0, 1)
    assert shown["stdin"] == os.devnull


def test_the_private_directory_is_removed_with_the_process(
    functions: Functions, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert invoke("environment").payload["cwd"] == "/tmp", "its own, as it sees it"
    assert list(tmp_path.glob("turnlock-function-*/*")) == [], "what it writes is not seen outside"
    assert len(list(tmp_path.glob("turnlock-function-*"))) == 1
    functions.close()
    assert list(tmp_path.iterdir()) == []


def test_no_process_outlives_an_owner_that_was_killed(
    task_root: Path, tmp_path: Path, eventually: Eventually
) -> None:
    owner = tmp_path / "owner.py"
    pids = tmp_path / "pids"
    owner.write_text(
        f"""
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from turnlock.core.credentials import TemporaryCredentials
from turnlock.functions import Functions, HostedFunction, Invocation
hosted = {{"sleep": HostedFunction(name="sleep", handler="handlers.sleep")}}
functions = Functions("http://127.0.0.1:1", hosted=hosted, task_root=Path({str(task_root)!r}), demand="none")
functions.invoke(Invocation(
    function_arn={ARN + "sleep"!r}, payload={{"pids": {str(pids)!r}}}, secret_arn="s",
    credentials=lambda: TemporaryCredentials(access_key_id="A", secret_access_key="s", session_token="t",
        expires_at=datetime.now(UTC) + timedelta(hours=1))), abort=threading.Event())
"""
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, str(owner)], stdout=subprocess.DEVNULL, env=environment
    ) as process:
        try:
            assert eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2, 60)
        finally:
            process.kill()
            process.wait(60)
    function, grandchild = map(int, pids.read_text().split())
    try:
        assert eventually(lambda: gone(function))
    finally:
        os.kill(grandchild, signal.SIGKILL)
