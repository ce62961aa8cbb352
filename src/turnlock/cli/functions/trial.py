"""The private server of a trial: it writes down each step, and fails where it was told to.

Run as `python -m turnlock.cli.functions.trial DATA_DIR PORT FAULTS`, FAULTS being JSON: a list of [step, how]. What happens goes to
`steps.jsonl` beside the data directory, one JSON object a line.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from turnlock import app
from turnlock.config import Config, every_region
from turnlock.functions import Fault, FaultKind, Invocation, InvocationResult
from turnlock.rotation.plan import machine as model
from turnlock.shell import logs, workers
from turnlock.shell.application import Application

KILLED_AFTER: Final = 0.3
"""Seconds after the event is handed over: the step has begun, and is not done if it does anything over a network."""
WAYS: Final = ("error", "lost", "killed")
_LASTING: Final = frozenset(
    (
        "AttributeError", "ImportError", "IndentationError", "ModuleNotFoundError", "NameError", "NotImplementedError",
        "SyntaxError", "TypeError", "UnboundLocalError", "ReferenceError",
        "Runtime.ImportModuleError", "Runtime.HandlerNotFound", "Runtime.UserCodeSyntaxError", "Runtime.InvalidEntrypoint",
        "Runtime.MarshalError", "AccessDeniedException",
    )
)  # fmt: skip
"""Errors of Python, Node.js and Lambda's runtimes that say that code, a handler's name or a right is missing."""


class Trial:
    """Stands between the scheduler and the pool of processes."""

    def __init__(self, faults: list[list[str]], told: Path) -> None:
        self._faults = faults
        self._told = told
        self.run: Callable[..., InvocationResult] = _not_yet

    def invoke(self, invocation: Invocation, *, abort: threading.Event) -> InvocationResult:
        """Run one step, or fail it as was asked, and write down what happened."""
        event = {name: value for name, value in invocation.payload.items() if name != "RotationToken"}
        how = self._take_fault(event["Step"])
        began = time.monotonic()
        if how == "error":
            result = _failed("an injected failure: the step was not begun")
        elif how == "killed":
            result = self._killed(invocation)
        else:
            result = self.run(invocation, abort=abort)
            if how == "lost" and result.fault is None:
                result = _failed("an injected failure: the step was carried out, and its answer lost")
        self._tell(event, how, result, time.monotonic() - began)
        return result

    def _take_fault(self, step: str) -> str | None:
        for position, (when, how) in enumerate(self._faults):
            if when == step:
                del self._faults[position]
                return how
        return None

    def _killed(self, invocation: Invocation) -> InvocationResult:
        soon = threading.Event()
        timer = threading.Timer(KILLED_AFTER, soon.set)
        timer.start()
        try:
            return self.run(invocation, abort=soon)
        finally:
            timer.cancel()

    def _tell(self, event: dict[str, Any], how: str | None, result: InvocationResult, seconds: float) -> None:
        line = {
            "event": event,
            "injected": how,
            "seconds": round(seconds, 3),
            "cold": result.cold,
            "error": None if result.fault is None else f"{result.fault.error_type}: {result.fault.message}",
            "lasting": result.fault is not None and how is None and _is_lasting(result.fault),
            "log": result.log_tail,
        }
        with self._told.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _is_lasting(fault: Fault) -> bool:
    """Tell whether the next attempt must fail in the same way: the function does not load, its code or its role is not right."""
    denied = "(AccessDeniedException)" in fault.message  # as botocore's ClientError puts it
    return fault.kind is FaultKind.INIT or fault.error_type in _LASTING or denied


def _failed(message: str) -> InvocationResult:
    return InvocationResult(
        fault=Fault(kind=FaultKind.FUNCTION, error_type="Turnlock.Injected", message=message)
    )


def _not_yet(*_arguments: object, **_named: object) -> InvocationResult:
    raise RuntimeError("the application is not built yet")


def main(data_dir: str, port: str, faults: str) -> None:
    """Serve until SIGTERM."""
    logs.configure()
    # In a trial nobody waits half a minute for the next attempt.
    vars(model)["FIRST_DELAY"] = timedelta(seconds=1)
    config = Config(data_dir=Path(data_dir), host="127.0.0.1", port=int(port), regions=every_region())
    trial = Trial(json.loads(faults), Path(data_dir).with_name("steps.jsonl"))

    def make(functions_endpoint: str) -> Application:
        application = app.build(config, functions_endpoint, run_function=trial.invoke)
        trial.run = application.functions.rotating.invoke
        return application

    app.initialise(config)
    workers.serve(config, make)


if __name__ == "__main__":
    main(*sys.argv[1:])
