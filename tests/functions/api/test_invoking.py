"""Invoke: real packages in real, confined processes, in three languages."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from tests.calling import refusal
from tests.functions.api.calling import ACCOUNT, OTHER, Caller, package
from tests.support import SettableClock
from turnlock import accounts
from turnlock.confinement import landlock
from turnlock.core.call import Principal, PrincipalKind
from turnlock.errors import AccessDeniedException, InvalidParameterValueException
from turnlock.functions import Invocation, LambdaService, events
from turnlock.functions.api.tables import function_events
from turnlock.storage import Database

Create = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.skipif(
    landlock.abi() < 3, reason="this kernel cannot confine functions, so none of one's own is run"
)

PYTHON = """
import os, sys, time
import helper

def handler(event, context):
    print("asked for", event.get("what"))
    match event.get("what"):
        case "fail":
            raise KeyError("no such thing")
        case "sleep":
            time.sleep(60)
        case "exit":
            os._exit(3)
        case "allocate":
            kept = bytearray(os.urandom(1 << 20) * 900)
        case "environment":
            return {name: os.environ.get(name) for name in event["names"]}
        case "context":
            return [context.function_name, context.function_version, context.invoked_function_arn,
                    context.memory_limit_in_mb, context.log_group_name, context.log_stream_name[:13]]
    return {"event": event, "helper": helper.__name__, "cwd": os.getcwd() == os.environ["LAMBDA_TASK_ROOT"]}
"""
NODE = """
let calls = 0;
export const handler = async (event, context) => {
  console.log("node got", event);
  if (event.fail) throw new RangeError("no such thing");
  return { calls: ++calls, name: context.functionName, left: context.getRemainingTimeInMillis() > 0 };
};
"""
COMMON = "exports.handler = (event, context, callback) => callback(null, { back: event.a });"
SHELL = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  event=$(curl -sS -D headers "$api/invocation/next")
  id=$(grep -i lambda-runtime-aws-request-id headers | tr -d '[:space:]' | cut -d: -f2)
  echo "shell got $event"
  curl -sS -X POST "$api/invocation/$id/response" -d "{\\"got\\": $event}" > answer
done
"""


@pytest.fixture
def python(root: Caller, create: Create) -> Callable[..., dict[str, Any]]:
    """Invoke a Python function that does what the event says."""
    create(
        "py",
        Handler="main.handler",
        Code={"ZipFile": package({"main.py": PYTHON, "helper/__init__.py": ""})},
        Timeout=20,
        MemorySize=256,
        Environment={"Variables": {"MINE": "yes"}},
    )

    def invoke(**settings: Any) -> dict[str, Any]:
        event = settings.pop("event", {})
        answer = root("Invoke", FunctionName="py", Payload=json.dumps(event).encode(), **settings)
        return {**answer, "Payload": json.loads(answer.get("Payload", b"null"))}

    return invoke


def test_a_function_with_its_dependencies_answers(python: Callable[..., dict[str, Any]]) -> None:
    answer = python(event={"a": [1, "é"]}, LogType="Tail")
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert answer["Payload"] == {"event": {"a": [1, "é"]}, "helper": "helper", "cwd": True}
    assert "FunctionError" not in answer
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert lines[0].startswith("START RequestId: ")
    assert lines[1] == "asked for None"
    assert lines[2].startswith("END RequestId: ")
    assert "Memory Size: 256 MB" in lines[3]


def test_the_environment_is_lambdas(python: Callable[..., dict[str, Any]]) -> None:
    names = ["MINE", "AWS_REGION", "AWS_ENDPOINT_URL", "SECRETS_MANAGER_ENDPOINT", "AWS_EXECUTION_ENV"]
    assert python(event={"what": "environment", "names": names})["Payload"] == {
        "MINE": "yes",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "SECRETS_MANAGER_ENDPOINT": "http://127.0.0.1:1",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
    }
    arn = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:py"
    name, version, invoked, memory, group, stream = python(event={"what": "context"})["Payload"]
    assert (name, version, invoked, memory, group) == ("py", "$LATEST", arn, "256", "/aws/lambda/py")
    assert stream.endswith("[$")


def test_the_package_lies_where_lambda_has_it(python: Callable[..., dict[str, Any]]) -> None:
    names = ["LAMBDA_TASK_ROOT", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME"]
    assert python(event={"what": "environment", "names": names})["Payload"] == {
        "LAMBDA_TASK_ROOT": "/var/task",
        "LD_LIBRARY_PATH": "/var/task:/var/task/lib:/opt/lib",
        "PYTHONPATH": "/var/task",
        "HOME": "/tmp",
    }


LOOKS = """
import ctypes, os, subprocess, sys
def handler(event, context):
    with open("/tmp/mine", "w") as file:
        file.write("x")
    found = {}
    for path in event.get("paths", ()):
        found[path] = open(path).read()
    for name in event.get("libraries", ()):
        try:
            found[name] = ctypes.CDLL(name).answer()
        except OSError as error:
            found[name] = str(error)
    if "variables" in event:
        found.update((name, os.environ.get(name)) for name in event["variables"])
        found["date"] = subprocess.run(["date", "+%Z"], capture_output=True, text=True).stdout.strip()
    if "import" in event:
        found["imported"] = __import__(event["import"]).__file__
    return found
"""


@pytest.fixture
def looks(root: Caller, create: Create) -> Callable[..., dict[str, Any]]:
    """Make a function with these files and settings, and ask it what it finds."""

    def ask(files: dict[str, Any], settings: dict[str, Any], **event: Any) -> dict[str, Any]:
        create(
            "looks",
            Handler="main.handler",
            Code={"ZipFile": package({"main.py": LOOKS, **files})},
            **settings,
        )
        answer = root("Invoke", FunctionName="looks", Payload=json.dumps(event).encode())
        found: dict[str, Any] = json.loads(answer["Payload"])
        assert "FunctionError" not in answer, found
        return found

    return ask


def test_a_users_own_variables_hold_where_lambda_lets_them(looks: Callable[..., dict[str, Any]]) -> None:
    own = {
        "PATH": "/usr/bin:/mine",
        "TZ": "Asia/Tokyo",
        "LANG": "de_DE.UTF-8",
        "PYTHONPATH": "/var/task/inner",
    }
    files = {"inner/found_there.py": ""}
    settings = {"Environment": {"Variables": own}}
    found = looks(files, settings, variables=list(own), **{"import": "found_there"})
    assert found == {**own, "date": "JST", "imported": "/var/task/inner/found_there.py"}


@pytest.mark.skipif(
    shutil.which("cc") is None, reason="a library is compiled for this test; there is no compiler"
)
@pytest.mark.parametrize("place", ["", "lib/"])
def test_a_library_in_the_package_is_found_by_its_name(
    looks: Callable[..., dict[str, Any]], tmp_path: Path, place: str
) -> None:
    (tmp_path / "a.c").write_text("int answer(void) { return 42; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "a.so", tmp_path / "a.c"], check=True)
    found = looks(
        {f"{place}libanswer.so.5": (tmp_path / "a.so").read_bytes()}, {}, libraries=["libanswer.so.5"]
    )
    assert found == {"libanswer.so.5": 42}


def test_the_log_says_how_much_memory_was_used(root: Caller, create: Create) -> None:
    code = "kept = bytearray(b'x' * (40 << 20))\ndef handler(event, context): pass"
    create("keeps", Handler="main.handler", Code={"ZipFile": package({"main.py": code})}, MemorySize=256)
    tail = base64.b64decode(root("Invoke", FunctionName="keeps", LogType="Tail")["LogResult"]).decode()
    used = re.search(r"REPORT .* Memory Size: 256 MB Max Memory Used: (\d+) MB", tail)
    assert used is not None
    assert 50 <= int(used[1]) <= 150


def test_a_message_of_several_lines_is_one_event(root: Caller, create: Create) -> None:
    code = "import logging\ndef handler(event, context): logging.getLogger().error('one\\ntwo')"
    create("lines", Handler="main.handler", Code={"ZipFile": package({"main.py": code})})
    tail = base64.b64decode(root("Invoke", FunctionName="lines", LogType="Tail")["LogResult"]).decode()
    assert re.search(r"\[ERROR\] \S+ \S+ one\ntwo\n", tail)


@pytest.mark.parametrize(
    ("event", "settings", "told"),
    [
        ("fail", {}, ("KeyError", "no such thing")),
        ("exit", {}, ("Runtime.ExitError", "exit status 3")),
        ("sleep", {"Timeout": 1}, ("Sandbox.Timedout", "Task timed out after 1.00 seconds")),
        ("allocate", {"MemorySize": 128}, ("MemoryError|Runtime.OutOfMemory", "")),
    ],
)
def test_a_failure_is_told_as_lambda_tells_it(
    root: Caller,
    python: Callable[..., dict[str, Any]],
    event: str,
    settings: dict[str, Any],
    told: tuple[str, str],
) -> None:
    if settings:
        root("UpdateFunctionConfiguration", FunctionName="py", **settings)
    error_type, words = told
    answer = python(event={"what": event})
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert answer["Payload"]["errorType"] in error_type.split("|")
    assert words in answer["Payload"]["errorMessage"]


def test_a_failure_carries_the_stack_trace_that_the_runtime_reported(
    python: Callable[..., dict[str, Any]],
) -> None:
    told = python(event={"what": "fail"})["Payload"]
    assert told["errorType"] == "KeyError"
    assert told["requestId"]
    assert any("main.py" in line and "in handler" in line for line in told["stackTrace"])


def test_a_module_that_cannot_be_imported_is_told_as_lambda_tells_it(root: Caller, create: Create) -> None:
    create("broken", Handler="main.handler", Code={"ZipFile": package({"main.py": "import not_there"})})
    told = json.loads(root("Invoke", FunctionName="broken")["Payload"])
    assert told["errorType"] == "Runtime.ImportModuleError"
    assert told["errorMessage"] == "Unable to import module 'main': No module named 'not_there'"
    assert told["stackTrace"] == []


def test_a_failure_shows_no_credential_of_the_process(root: Caller, create: Create) -> None:
    raising = "import os\ndef handler(event, context): raise ValueError(os.environ['AWS_SECRET_ACCESS_KEY'])"
    create("tells", Handler="main.handler", Code={"ZipFile": package({"main.py": raising})})
    told = root("Invoke", FunctionName="tells", LogType="Tail")
    assert json.loads(told["Payload"])["errorMessage"] == "[redacted]"
    assert "[redacted]" in base64.b64decode(told["LogResult"]).decode()


def test_a_changed_function_runs_as_changed(root: Caller, python: Callable[..., dict[str, Any]]) -> None:
    python()
    root(
        "UpdateFunctionCode",
        FunctionName="py",
        ZipFile=package({"main.py": "def handler(event, context): return 'new'"}),
        Publish=True,
    )
    assert python()["Payload"] == "new"
    assert python(Qualifier="1")["ExecutedVersion"] == "1"


def test_a_dry_run_runs_nothing(python: Callable[..., dict[str, Any]]) -> None:
    assert python(event={"what": "sleep"}, InvocationType="DryRun")["StatusCode"] == 204


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"FunctionName": "absent"}, "ResourceNotFoundException"),
        ({"FunctionName": "py", "Qualifier": "7"}, "ResourceNotFoundException"),
        ({"FunctionName": "py", "Payload": b"{"}, "InvalidRequestContentException"),
        ({"FunctionName": "py", "Payload": b'"' + b"x" * (6 << 20) + b'"'}, "RequestTooLargeException"),
        (
            {"FunctionName": "py", "Payload": b'"' + b"x" * (1 << 20) + b'"', "InvocationType": "Event"},
            "RequestTooLargeException",
        ),
    ],
)
def test_what_cannot_be_invoked_is_refused(
    root: Caller, python: Callable[..., dict[str, Any]], settings: dict[str, Any], code: str
) -> None:
    assert refusal(lambda: root("Invoke", **settings))[0] == code


def test_a_function_with_no_concurrency_is_not_invoked(
    root: Caller, python: Callable[..., dict[str, Any]]
) -> None:
    root("PutFunctionConcurrency", FunctionName="py", ReservedConcurrentExecutions=0)
    assert refusal(python)[0] == "TooManyRequestsException"


def test_a_function_with_no_concurrency_does_not_rotate(
    root: Caller, python: Callable[..., dict[str, Any]], lambda_service: LambdaService
) -> None:
    root("PutFunctionConcurrency", FunctionName="py", ReservedConcurrentExecutions=0)
    asked = Invocation(
        function_arn=f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:py",
        payload={},
        secret_arn="",
        credentials=lambda: pytest.fail("a process was started"),
    )
    fault = lambda_service.rotating.invoke(asked, abort=threading.Event()).fault
    assert fault is not None
    assert (fault.error_type, fault.message) == ("TooManyRequestsException", "Rate Exceeded.")


def test_another_account_invokes_by_the_functions_policy(
    root: Caller, python: Callable[..., dict[str, Any]]
) -> None:
    stranger = root.elsewhere(principal=accounts.root_principal(OTHER), account_id=OTHER)
    arn = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:py"
    with pytest.raises(AccessDeniedException):
        stranger("Invoke", FunctionName=arn)
    root(
        "AddPermission",
        FunctionName="py",
        StatementId="other",
        Action="lambda:InvokeFunction",
        Principal=OTHER,
    )
    assert json.loads(stranger("Invoke", FunctionName=arn)["Payload"])["event"] == {}


def test_a_user_needs_invoke_function(root: Caller, python: Callable[..., dict[str, Any]]) -> None:
    iam = root.elsewhere(service="iam")
    user = iam("CreateUser", UserName="dev")["User"]
    dev = root.elsewhere(
        principal=Principal(
            kind=PrincipalKind.USER, arn=user["Arn"], account_id=ACCOUNT, principal_id=user["UserId"]
        )
    )
    with pytest.raises(AccessDeniedException, match="lambda:InvokeFunction"):
        dev("Invoke", FunctionName="py")
    rights = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}],
    }
    iam("PutUserPolicy", UserName="dev", PolicyName="p", PolicyDocument=json.dumps(rights))
    assert dev("Invoke", FunctionName="py")["StatusCode"] == 200


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")
def test_javascript_runs_where_node_is(root: Caller, create: Create) -> None:
    create(
        "js", Runtime="nodejs20.x", Handler="index.handler", Code={"ZipFile": package({"index.mjs": NODE})}
    )
    invoke = partial(root, "Invoke", FunctionName="js")
    assert json.loads(invoke()["Payload"]) == {"calls": 1, "name": "js", "left": True}
    assert json.loads(invoke()["Payload"])["calls"] == 2
    failed = invoke(Payload=b'{"fail": true}')
    assert failed["FunctionError"] == "Unhandled"
    told = json.loads(failed["Payload"])
    assert (told["errorType"], told["errorMessage"]) == ("RangeError", "no such thing")
    create(
        "cjs", Runtime="nodejs20.x", Handler="index.handler", Code={"ZipFile": package({"index.js": COMMON})}
    )
    assert json.loads(root("Invoke", FunctionName="cjs", Payload=b'{"a": 7}')["Payload"]) == {"back": 7}
    create("none", Runtime="nodejs20.x", Handler="other.handler", Code={"ZipFile": package({"index.js": ""})})
    assert (
        json.loads(root("Invoke", FunctionName="none")["Payload"])["errorType"] == "Runtime.ImportModuleError"
    )


@pytest.mark.parametrize(
    ("body", "payload", "error"),
    [
        ("context.succeed({ a: 1 })", {"a": 1}, None),
        ("setTimeout(() => context.succeed('later'), 50)", "later", None),
        ("context.done(null, 'd')", "d", None),
        ("context.done(new RangeError('r'))", None, "RangeError"),
        ("context.fail(new TypeError('f'))", None, "TypeError"),
        ("setTimeout(() => callback(null, 'called back'), 50)", "called back", None),
        ("return 'returned'", "returned", None),
        ("", None, None),
    ],
)
def test_javascript_ends_in_each_way_of_its_runtimes(
    root: Caller, create: Create, body: str, payload: object, error: str | None
) -> None:
    code = f"exports.handler = (event, context, callback) => {{ {body} }};"
    create(
        "ends", Runtime="nodejs20.x", Handler="index.handler", Code={"ZipFile": package({"index.js": code})}
    )
    for _ in range(2):
        answer = root("Invoke", FunctionName="ends")
        told = json.loads(answer["Payload"])
        assert (told.get("errorType") if error else told) == (error or payload)
        assert answer.get("FunctionError") == ("Unhandled" if error else None)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the bootstrap of this test calls curl")
def test_a_bootstrap_may_answer_with_any_text(root: Caller, create: Create) -> None:
    shell = SHELL.replace("-D headers", '-D "$HOME/headers"').replace(" headers |", ' "$HOME/headers" |')
    shell = shell.replace("> answer", '> "$HOME/answer"').replace('{\\"got\\": $event}', "You said $event")
    create("sh", Runtime="provided.al2023", Code={"ZipFile": package({"bootstrap": shell}, executable=True)})
    answer = root("Invoke", FunctionName="sh", Payload=b'{"a": 1}')
    assert (answer["Payload"], answer.get("FunctionError")) == (b'You said {"a": 1}', None)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the bootstrap of this test calls curl")
def test_a_bootstrap_of_any_language_runs(root: Caller, create: Create) -> None:
    shell = SHELL.replace("-D headers", '-D "$HOME/headers"').replace(" headers |", ' "$HOME/headers" |')
    shell = shell.replace("> answer", '> "$HOME/answer"')
    create("sh", Runtime="provided.al2023", Code={"ZipFile": package({"bootstrap": shell}, executable=True)})
    answer = root("Invoke", FunctionName="sh", Payload=b'{"a": 1}', LogType="Tail")
    assert json.loads(answer["Payload"]) == {"got": {"a": 1}}
    assert b'shell got {"a": 1}' in base64.b64decode(answer["LogResult"])


def test_logs_can_be_read(
    root: Caller, python: Callable[..., dict[str, Any]], lambda_service: LambdaService
) -> None:
    python(event={"what": "fail"})
    python()
    lambda_service.loops()["function logs"]()
    logs = root.elsewhere(service="logs")
    (group,) = logs("DescribeLogGroups", logGroupNamePrefix="/aws/lambda/")["logGroups"]
    assert group["logGroupName"] == "/aws/lambda/py"
    (stream,) = logs("DescribeLogStreams", logGroupName="/aws/lambda/py")["logStreams"]
    found = logs("FilterLogEvents", logGroupName="/aws/lambda/py")["events"]
    messages = [one["message"] for one in found]
    assert messages[0].startswith("START ")
    assert "asked for fail" in messages
    (failure,) = (one for one in messages if "KeyError" in one)
    assert failure.startswith("[ERROR] KeyError")
    assert "\n  File " in failure
    only = logs("FilterLogEvents", logGroupName="/aws/lambda/py", filterPattern='"asked for" -fail')["events"]
    assert [one["message"] for one in only] == ["asked for None"]
    whole = logs(
        "GetLogEvents",
        logGroupName="/aws/lambda/py",
        logStreamName=stream["logStreamName"],
        startFromHead=True,
    )
    assert [one["message"] for one in whole["events"]] == messages
    further = logs(
        "GetLogEvents",
        logGroupName="/aws/lambda/py",
        logStreamName=stream["logStreamName"],
        nextToken=whole["nextForwardToken"],
    )
    assert (further["events"], further["nextForwardToken"]) == ([], whole["nextForwardToken"])
    pages: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = logs("FilterLogEvents", logGroupName="/aws/lambda/py", limit=3, **token)
        pages += [one["message"] for one in page["events"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert pages == messages


def test_logging_is_as_it_is_configured(
    root: Caller, create: Create, lambda_service: LambdaService, store: Database
) -> None:
    code = "import logging\ndef handler(event, context): logging.getLogger().warning('seen', extra={'n': 1})"
    create(
        "logs",
        Handler="main.handler",
        Code={"ZipFile": package({"main.py": code})},
        LoggingConfig={"LogFormat": "JSON", "LogGroup": "/mine/together", "ApplicationLogLevel": "WARN"},
    )
    lambda_service.loops()["function logs"]()
    shown = root("GetFunctionConfiguration", FunctionName="logs")["LoggingConfig"]
    assert shown == {
        "LogFormat": "JSON",
        "LogGroup": "/mine/together",
        "ApplicationLogLevel": "WARN",
        "SystemLogLevel": "INFO",
    }
    tail = base64.b64decode(root("Invoke", FunctionName="logs", LogType="Tail")["LogResult"]).decode()
    line = json.loads(next(one for one in tail.splitlines() if one.startswith("{")))
    assert (line["level"], line["message"], line["n"]) == ("WARNING", "seen", 1)
    lambda_service.loops()["function logs"]()
    groups = root.elsewhere(service="logs")("DescribeLogGroups")["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["/mine/together"]
    root("UpdateFunctionConfiguration", FunctionName="logs", LoggingConfig={"LogFormat": "Text"})
    after = root("GetFunctionConfiguration", FunctionName="logs")["LoggingConfig"]
    assert after == {"LogFormat": "Text", "LogGroup": "/mine/together"}
    with pytest.raises(InvalidParameterValueException, match="Log Level is not supported"):
        root("UpdateFunctionConfiguration", FunctionName="logs", LoggingConfig={"SystemLogLevel": "WARN"})


def test_a_group_that_is_not_there_is_an_error(root: Caller) -> None:
    logs = root.elsewhere(service="logs")
    for operation in ("FilterLogEvents", "DescribeLogStreams"):
        ask = partial(logs, operation, logGroupName="/aws/lambda/absent")
        assert refusal(ask)[0] == "ResourceNotFoundException"


@pytest.fixture
def waiting(store: Database) -> Callable[[], list[int]]:
    """Return how often each promised event was tried."""
    return lambda: [
        row.attempts
        for row in store.read(lambda unit: unit.connection.execute(select(function_events)).all())
    ]


@pytest.fixture
def deliver(lambda_service: LambdaService) -> Callable[[], None]:
    """Carry out what is due now, and wait for its end."""

    def run() -> None:
        lambda_service.loops()["function events"]()
        for one in lambda_service._events._running:
            one.result(30)

    return run


def test_an_event_is_carried_out_later(
    root: Caller,
    python: Callable[..., dict[str, Any]],
    waiting: Callable[[], list[int]],
    deliver: Callable[[], None],
    lambda_service: LambdaService,
) -> None:
    assert python(event={"what": "later"}, InvocationType="Event")["StatusCode"] == 202
    assert waiting() == [0]
    deliver()
    assert waiting() == []
    lambda_service.loops()["function logs"]()
    found = root.elsewhere(service="logs")("FilterLogEvents", logGroupName="/aws/lambda/py")["events"]
    assert "asked for later" in [one["message"] for one in found]


def test_an_event_that_was_forged_keeps_no_other_waiting(
    python: Callable[..., dict[str, Any]],
    waiting: Callable[[], list[int]],
    deliver: Callable[[], None],
    store: Database,
) -> None:
    python(event={"what": "forged"}, InvocationType="Event")
    store.write(
        lambda unit: unit.connection.execute(update(function_events).values(sealed_event=b"x" * 99)).rowcount
    )
    python(event={"what": "sound"}, InvocationType="Event")
    assert waiting() == [0, 0]
    with capture_logs() as told:
        deliver()
    assert waiting() == [0]
    assert [line["action"] for line in told if line["log_level"] == "error"] == ["seal_broken"]


def test_an_event_that_fails_is_tried_three_times(
    python: Callable[..., dict[str, Any]],
    waiting: Callable[[], list[int]],
    deliver: Callable[[], None],
    clock: SettableClock,
) -> None:
    python(event={"what": "fail"}, InvocationType="Event")
    for attempts, delay in enumerate(events.RETRIES, 1):
        deliver()
        assert waiting() == [attempts]
        clock.advance(delay - timedelta(seconds=1))
        deliver()
        assert waiting() == [attempts], "not before its time"
        clock.advance(timedelta(seconds=1))
    deliver()
    assert waiting() == []


def test_nothing_runs_between_two_events(root: Caller, create: Create) -> None:
    """A thread that counts without end stands still until the next event, and goes on with it."""
    create(
        "counter",
        Code={
            "ZipFile": package(
                {
                    "main.py": (
                        "import threading, time\n"
                        "count = 0\n"
                        "def run():\n"
                        "    global count\n"
                        "    while True:\n"
                        "        count += 1\n"
                        "        time.sleep(0.001)\n"
                        "threading.Thread(target=run, daemon=True).start()\n"
                        "def handler(event, context):\n"
                        "    before = count\n"
                        "    time.sleep(event['seconds'])\n"
                        "    return [before, count]\n"
                    )
                }
            )
        },
    )

    def counted(seconds: float) -> list[int]:
        answer = root("Invoke", FunctionName="counter", Payload=json.dumps({"seconds": seconds}).encode())
        found: list[int] = json.loads(answer["Payload"])
        return found

    _, end = counted(0.2)
    time.sleep(1.0)
    before, after = counted(0.2)
    assert before - end < 200, "it ran between the events"
    assert after > before
