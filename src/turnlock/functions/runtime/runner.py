"""Invokes functions: an invocation goes in, an answer or a redacted fault comes out, whatever the function does."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from turnlock.confinement.orders import Demand
from turnlock.core.arn import Arn
from turnlock.core.credentials import TemporaryCredentials
from turnlock.core.ports import Clock, SystemClock
from turnlock.functions.model import (
    HOSTED,
    MIB,
    Fault,
    FaultKind,
    HostedFunction,
    Invocation,
    InvocationResult,
    LogBatch,
    Program,
    find_hosted,
)
from turnlock.functions.runtime import authorities, faults
from turnlock.functions.runtime.faults import Answer, Failure
from turnlock.functions.runtime.log_lines import escape, invocation_log, write_log
from turnlock.functions.runtime.pool import NoProcess, PoolLimits, ProcessPool
from turnlock.functions.runtime.process import FunctionProcess, ProcessKey, ProcessSpec, Wait
from turnlock.functions.runtime.runtime_api import MAX_PAYLOAD_BYTES, Delivery

TASK_ROOT: Final = Path(__file__).parents[3]
"""The directory that holds the package `turnlock`."""

DISK_BYTES: Final = 64 * MIB
"""What a hosted function may write."""

_MESSAGE_CHARACTERS = 4096
_TYPE_CHARACTERS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """An invocation with everything that was looked up for it."""

    invocation: Invocation
    function: Program
    request_id: str
    body: bytes
    timeout_seconds: float


def find_none(_function_arn: str) -> Program | None:
    """Find nothing: only hosted functions are run."""
    return None


def publish_nothing(_batch: LogBatch) -> None:
    """Keep no log but the server's own."""


class Functions:
    """Runs functions against `endpoint`, the base URL of this server as a function's AWS client sees it.

    `hosted` says which functions exist and `task_root` where their modules are; `database_ca_file` (an absolute path) vouches
    for databases: functions find it as SSL_CA_FILE unless an invocation's own environment names another.
    `demand` says how hosted functions are confined (`confinement.orders`). `find` knows the functions that are not hosted;
    `publish` is given what each invocation left in its function's log. Safe to use from many threads; `close` it.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        hosted: Mapping[str, HostedFunction] = HOSTED,
        task_root: Path = TASK_ROOT,
        database_ca_file: Path | None = None,
        demand: Demand = "offered",
        find: Callable[[str], Program | None] = find_none,
        publish: Callable[[LogBatch], None] = publish_nothing,
        limits: PoolLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._hosted = hosted
        self._task_root = task_root
        self._defaults = {} if database_ca_file is None else {"SSL_CA_FILE": authorities.AT[0]}
        self._demand: Demand = demand
        self._find = find
        self._publish = publish
        self._authorities = database_ca_file
        self._limits = limits or PoolLimits()
        self._clock = clock or SystemClock()
        self._pool = ProcessPool(self._limits, self._clock)

    def invoke(self, invocation: Invocation, *, abort: threading.Event) -> InvocationResult:
        """Run one event to its end; `abort` (the lease is lost) kills the process within 100 ms.

        Every failure of the function or of its process is a fault in the result. Raises ValueError for a payload that
        is not JSON or larger than 6 MiB, and whatever `invocation.credentials` raises.
        """
        function = self._program(invocation.function_arn)
        if function is None:
            sentence = f"Function not found: {escape(invocation.function_arn[:_TYPE_CHARACTERS])}"
            return _no_process(FaultKind.UNAVAILABLE, "ResourceNotFoundException", sentence)
        if function.concurrency == 0:
            return _no_process(FaultKind.UNAVAILABLE, "TooManyRequestsException", "Rate Exceeded.")
        job = _Job(
            invocation=invocation,
            function=function,
            request_id=str(uuid.uuid4()),
            body=_body(invocation.payload),
            timeout_seconds=invocation.timeout_seconds or function.timeout_seconds,
        )
        fresh = timedelta(seconds=job.timeout_seconds)
        key = self._key(job)
        try:
            process, cold = self._pool.acquire(key, lambda: self._spec(job, key), fresh, abort)
        except NoProcess as error:
            return _no_process(error.kind, error.error_type, error.message)
        return self._lend(job, process, cold=cold, abort=abort)

    def warm_access_key_id(self, function_arn: str, secret_arn: str) -> str | None:
        """Return the access key of the idle process that would serve the pair next; None when one must be started."""
        process = self._pool.warm(function_arn, secret_arn)
        return None if process is None else process.credentials.access_key_id

    def forget(self, secret_arn: str) -> None:
        """End what runs for a secret: idle processes now, busy ones after the invocation in hand."""
        self._pool.forget(secret_arn)

    def log_refusal(self, function_arn: str, sentence: str) -> None:
        """Write into a function's own log why it was not run; nothing for a function that is not there."""
        function = self._program(function_arn)
        if function is None:
            return
        now, request_id = self._clock.now(), uuid.uuid4()
        arn = Arn.parse(function_arn)
        self._publish(
            LogBatch(
                account_id=arn.account_id,
                region=arn.region,
                group=function.log_group,
                stream=f"{now:%Y/%m/%d}/[{function.version}]{os.urandom(16).hex()}",
                at=now,
                messages=(f"RequestId: {request_id} Error: {escape(sentence)}",),
            )
        )

    def close(self) -> None:
        """Kill every process; running invocations end with a fault of kind ABORTED."""
        self._pool.close()

    def _program(self, function_arn: str) -> Program | None:
        """Return what an ARN names: a hosted function, else one that `find` knows."""
        hosted = find_hosted(function_arn, self._hosted)
        if hosted is None:
            return self._find(function_arn)
        return Program(
            name=hosted.name,
            handler=hosted.handler,
            timeout_seconds=hosted.timeout_seconds,
            memory_bytes=hosted.memory_bytes,
            disk_bytes=DISK_BYTES,
            task_root=self._task_root,
            demand=self._demand,
            log_group=f"/aws/lambda/{hosted.name}",
        )

    def _key(self, job: _Job) -> ProcessKey:
        return ProcessKey(
            function_arn=job.invocation.function_arn,
            secret_arn=job.invocation.secret_arn,
            memory_bytes=job.invocation.memory_bytes or job.function.memory_bytes,
            environment=frozenset(job.invocation.environment.items()),
            revision=f"{job.function.revision} {authorities.stamp(self._authorities)}",
        )

    def _spec(self, job: _Job, key: ProcessKey) -> ProcessSpec:
        credentials, function = job.invocation.credentials(), job.function
        stream = f"{self._clock.now():%Y/%m/%d}/[{function.version}]{os.urandom(16).hex()}"
        margin = function.address_margin
        return ProcessSpec(
            key=key,
            task_root=function.task_root,
            seen_at=function.seen_at,
            environment={
                **self._defaults,
                **function.environment,
                **dict(key.environment),
                **{name: value.replace("{stream}", stream) for name, value in function.reserved.items()},
                **self._lambda_environment(job, key, credentials),
            },
            credentials=credentials,
            command=function.command,
            work_in=function.work_in,
            places=authorities.places(self._authorities),
            demand=function.demand,
            address_bytes=None if margin is None else key.memory_bytes + margin,
            memory_bytes=key.memory_bytes,
            disk_bytes=function.disk_bytes,
            nice=function.nice,
            freezes=function.freezes,
            log_stream=stream,
        )

    def _lambda_environment(
        self, job: _Job, key: ProcessKey, credentials: TemporaryCredentials
    ) -> dict[str, str]:
        """Return Lambda's reserved variables (Developer Guide, "Defined runtime environment variables")."""
        region = Arn.parse(key.function_arn).region
        return {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_DEFAULT_REGION": region,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(key.memory_bytes // MIB),
            "AWS_LAMBDA_FUNCTION_NAME": job.function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": job.function.version,
            "AWS_REGION": region,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_SESSION_TOKEN": credentials.session_token,
            "SECRETS_MANAGER_ENDPOINT": self._endpoint,
            "_HANDLER": job.function.handler,
        }

    def _lend(
        self, job: _Job, process: FunctionProcess, *, cold: bool, abort: threading.Event
    ) -> InvocationResult:
        """Run the job in the process and give the process back."""
        reusable = False
        try:
            process.output.begin(process.secrets, warm=not cold)
            result = self._run(job, process, cold=cold, abort=abort)
            ran = result.fault is None or result.fault.kind is FaultKind.FUNCTION
            reusable = ran and process.settle(abort)
            if reusable:
                process.freeze()
            else:
                process.end()
            result = self._seal(job, process, result)
        finally:
            self._pool.release(process, reusable=reusable)
        self._report(job, result)
        self._publish(self._log_batch(job, process, result))
        return replace(
            result, request_id=job.request_id, cold=cold, access_key_id=process.credentials.access_key_id
        )

    def _run(
        self, job: _Job, process: FunctionProcess, *, cold: bool, abort: threading.Event
    ) -> InvocationResult:
        if cold:
            failed = self._await_start(job, process, abort)
            if failed is not None:
                return failed
        job.invocation.started()
        began = time.monotonic()
        wait = process.run(self._delivery(job), job.timeout_seconds, abort)
        seconds = time.monotonic() - began
        result = self._result(job, process, wait)
        return replace(result, duration_seconds=seconds, most_memory_bytes=process.most_memory_bytes)

    def _await_start(
        self, job: _Job, process: FunctionProcess, abort: threading.Event
    ) -> InvocationResult | None:
        """Return None when the process takes events, else why it does not."""
        began = time.monotonic()
        limit = job.function.start_seconds or self._limits.start_seconds
        wait = process.await_start(limit, abort)
        failure = process.outcome
        if wait is Wait.REACHED and isinstance(failure, Failure):
            return _reported(FaultKind.INIT, failure)
        if wait is Wait.REACHED:
            structlog.get_logger("turnlock.functions").info(
                "function started",
                action="function_started",
                function=job.function.name,
                pid=process.pid,
                seconds=round(time.monotonic() - began, 3),
            )
            return None
        if wait is Wait.DEADLINE:
            return InvocationResult(fault=faults.start_timed_out(limit))
        return InvocationResult(fault=self._ended(process, wait, FaultKind.INIT))

    def _result(self, job: _Job, process: FunctionProcess, wait: Wait) -> InvocationResult:
        outcome = process.outcome
        if wait is Wait.REACHED and isinstance(outcome, Answer):
            return InvocationResult(payload=faults.read_answer(outcome.body), body=outcome.body)
        if wait is Wait.REACHED and isinstance(outcome, Failure):
            return _reported(FaultKind.FUNCTION, outcome)
        if wait is Wait.DEADLINE:
            return InvocationResult(fault=faults.timed_out(job.timeout_seconds))
        return InvocationResult(fault=self._ended(process, wait, FaultKind.EXITED))

    def _ended(self, process: FunctionProcess, wait: Wait, kind: FaultKind) -> Fault:
        """Return the fault of a process that died, by itself or because somebody wanted it to."""
        process.end()
        if process.excess is not None:
            return faults.exceeded(process.excess)
        if wait is Wait.ABORTED or self._pool.closed:
            return faults.ABORTED
        return faults.exited(kind, process.exit_status)

    def _delivery(self, job: _Job) -> Delivery:
        now = self._clock.now()
        deadline = now + timedelta(seconds=job.timeout_seconds)
        return Delivery(
            request_id=job.request_id,
            function_arn=job.invocation.function_arn,
            deadline_ms=int(deadline.timestamp() * 1000),
            trace_id=f"Root=1-{int(now.timestamp()):08x}-{os.urandom(12).hex()};Sampled=0",
            body=job.body,
        )

    def _seal(self, job: _Job, process: FunctionProcess, result: InvocationResult) -> InvocationResult:
        """Redact what leaves this room, and log what the function wrote."""
        process.output.hide(job.invocation.redact())
        tail = process.output.tail()
        write_log(tail, function=job.function.name, request_id=job.request_id)
        if result.fault is None:
            return replace(result, log_tail=tail)
        fault = replace(
            result.fault,
            error_type=escape(process.output.redact(result.fault.error_type))[:_TYPE_CHARACTERS],
            message=process.output.redact(result.fault.message)[:_MESSAGE_CHARACTERS],
        )
        return replace(
            result, log_tail=tail, fault=fault, report=_redacted(result.report, process.output.redact)
        )

    def _log_batch(self, job: _Job, process: FunctionProcess, result: InvocationResult) -> LogBatch:
        """Return what the invocation leaves in the function's log, in the form that Lambda gives it."""
        arn = Arn.parse(job.invocation.function_arn)
        return LogBatch(
            account_id=arn.account_id,
            region=arn.region,
            group=job.function.log_group,
            stream=process.log_stream,
            at=self._clock.now(),
            messages=tuple(
                invocation_log(
                    result,
                    request_id=job.request_id,
                    version=job.function.version,
                    memory_bytes=process.key.memory_bytes,
                )
            ),
        )

    def _report(self, job: _Job, result: InvocationResult) -> None:
        """Log how the invocation ended; the fault's message is the caller's to show."""
        kind = None if result.fault is None else result.fault.kind
        timed_out = kind is FaultKind.TIMEOUT
        structlog.get_logger("turnlock.functions").info(
            "function timed out" if timed_out else "function ended",
            action="function_timeout" if timed_out else "function_ended",
            function=job.function.name,
            request_id=job.request_id,
            fault=None if kind is None else kind.value,
            seconds=round(result.duration_seconds, 3),
        )


def _reported(kind: FaultKind, failure: Failure) -> InvocationResult:
    return InvocationResult(fault=faults.reported(kind, failure), report=failure.report)


def _redacted(report: Mapping[str, Any] | None, redact: Callable[[str], str]) -> Mapping[str, Any] | None:
    """Return a report without the values that may not be shown; None where nothing readable is left."""
    if report is None:
        return None
    shown: Mapping[str, Any] | None = faults.read_answer(redact(json.dumps(report)).encode())
    return shown


def _no_process(kind: FaultKind, error_type: str, message: str) -> InvocationResult:
    return InvocationResult(fault=Fault(kind=kind, error_type=error_type, message=message))


def _body(payload: Any) -> bytes:
    """Return the event's JSON; ValueError, without its content, when it has none or is too large."""
    try:
        body = payload if isinstance(payload, bytes) else json.dumps(payload, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise ValueError("the payload is not JSON") from None
    if len(body) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"the payload is larger than {MAX_PAYLOAD_BYTES} bytes")
    return body
