"""What a function is, what an invocation asks for and gives back, and how known values are taken out of text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, quote_plus

from turnlock.confinement.orders import Demand
from turnlock.core.arn import Arn
from turnlock.core.credentials import TemporaryCredentials

MIB: Final = 1024 * 1024
REDACTED: Final = "[redacted]"

_RESOURCE = re.compile(r"function:([A-Za-z0-9_-]{1,64})(?::(\$LATEST|[A-Za-z0-9_-]{1,128}))?")
_PERCENT_CODE = re.compile(r"%[0-9A-F]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionArn:
    """`arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]` (Lambda API reference, "FunctionName")."""

    partition: str
    region: str
    account_id: str
    name: str
    qualifier: str | None = None
    """A version or an alias; None means `$LATEST`."""

    @classmethod
    def parse(cls, text: str) -> FunctionArn:
        """Read `text`; ValueError when it is not the ARN of a function."""
        arn = Arn.parse(text)
        resource = _RESOURCE.fullmatch(arn.resource)
        if arn.service != "lambda" or not (arn.region and arn.account_id) or resource is None:
            raise ValueError(f"not the ARN of a function: {text!r}")
        return cls(
            partition=arn.partition,
            region=arn.region,
            account_id=arn.account_id,
            name=resource[1],
            qualifier=resource[2],
        )

    def __str__(self) -> str:
        suffix = "" if self.qualifier is None else f":{self.qualifier}"
        return f"arn:{self.partition}:lambda:{self.region}:{self.account_id}:function:{self.name}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedFunction:
    """A rotation function that comes with Turnlock, under the name of the AWS template that it stands for."""

    name: str
    handler: str
    """`module.function`, importable from the directory that holds the package `turnlock`."""
    timeout_seconds: float = 30.0
    memory_bytes: int = 512 * MIB
    supports_probe: bool = False
    """True when it answers the extra step `probe`, so that rotation can recover by what the database accepts."""
    keeps_current: bool = False
    """True when AWSCURRENT's credential stays valid throughout: alternating users, two passwords."""
    keeps_previous: bool = False
    """True when AWSPREVIOUS's stays valid until the step `discardPrevious`, whatever the secret says of a strategy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a process needs to know of a function, hosted or one's own, to run it."""

    name: str
    version: str = "$LATEST"
    handler: str
    timeout_seconds: float
    memory_bytes: int
    address_margin: int | None = 0
    """Address space beyond the memory; None where the language's runtime reserves more than it uses."""
    disk_bytes: int
    task_root: Path
    """Where its package lies."""
    seen_at: Path | None = None
    """Where the function sees it; None for where it lies. `command` and `work_in` are by the paths that it sees."""
    command: tuple[str, ...] = ()
    """The program that takes events; empty for a Python handler."""
    work_in: Path | None = None
    """The working directory; None for the process's own home."""
    log_group: str
    """The name of its log group in CloudWatch Logs."""
    concurrency: int | None = None
    """How many invocations may run at once, where that was reserved; 0 stops it."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Its own variables: whoever starts it may set others, and Lambda's reserved names win over both."""
    reserved: Mapping[str, str] = field(default_factory=dict)
    """Further variables of the runtime."""
    start_seconds: float | None = None
    """How long a process may take until it asks for its first event; None for the pool's own limit."""
    demand: Demand = "offered"
    nice: int = 0
    freezes: bool = False
    """Whether its processes are stopped between two events: what is not trusted may not go on without one."""
    revision: str = ""
    """Another one when anything of this was changed: a process serves one revision."""


def _table(*rows: HostedFunction) -> Mapping[str, HostedFunction]:
    return MappingProxyType({row.name: row for row in rows})


_DATABASES: Final = (("PostgreSQL", "postgresql"), ("MySQL", "mysql"), ("MariaDB", "mariadb"))
_STRATEGIES: Final = (("SingleUser", "single_user"), ("MultiUser", "multi_user"))

HOSTED: Final = _table(
    *(
        HostedFunction(
            name=f"SecretsManagerRDS{database}Rotation{strategy}",
            handler=f"turnlock.rotators.{engine}_{module}.lambda_handler",
            supports_probe=True,
            keeps_current=strategy == "MultiUser",
        )
        for database, engine in _DATABASES
        for strategy, module in _STRATEGIES
    ),
    HostedFunction(
        name="RDSManagedMasterUserRotation",
        handler="turnlock.rotators.rds_master.lambda_handler",
        supports_probe=True,
    ),
    HostedFunction(
        name="SecretsManagerRedisACLRotationDualPasswords",
        handler="turnlock.rotators.redis_dual_passwords.lambda_handler",
        supports_probe=True,
        keeps_current=True,
        keeps_previous=True,
    ),
)
"""Every function that this server can run, by name. They have one version, `$LATEST`."""


def find_hosted(arn: str, hosted: Mapping[str, HostedFunction] = HOSTED) -> HostedFunction | None:
    """Return the hosted function that `arn` names in any account and Region; None for any other text."""
    try:
        parsed = FunctionArn.parse(arn)
    except ValueError:
        return None
    return hosted.get(parsed.name) if parsed.qualifier in (None, "$LATEST") else None


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One event for one function, on behalf of one secret."""

    function_arn: str
    payload: Any = field(repr=False)
    """The event: what JSON can hold, or bytes that are JSON already. Kept out of the repr: it can hold a RotationToken."""
    secret_arn: str
    """Whose credentials the process holds: a warm process serves this secret only."""
    credentials: Callable[[], TemporaryCredentials] = field(repr=False)
    """Called once when a process has to be started, never for a warm one."""
    timeout_seconds: float | None = None
    """From hand-over to answer; None for the function's own limit."""
    memory_bytes: int | None = None
    """Address space of the process; None for the function's own limit."""
    redact: Callable[[], frozenset[str]] = field(default=frozenset, repr=False)
    """Asked once the function has ended: the values that no log line and no fault may show, those it made included."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The function's own variables; Lambda's reserved names win over them."""
    started: Callable[[], None] = field(default=_nothing, repr=False)
    """Called when a process is there and gets the event."""


class FaultKind(Enum):
    """Why an invocation has no answer."""

    FUNCTION = "function"
    """The function ran and reported an error, or answered with what is no answer."""
    INIT = "init"
    """The function could not be loaded, or not in time; no event reached it."""
    TIMEOUT = "timeout"
    """The deadline passed; the process was killed and what it did until then stands."""
    ABORTED = "aborted"
    """The caller lost its lease, or the pool was closed; the process was killed."""
    EXITED = "exited"
    """The process ended in the middle of the invocation."""
    UNAVAILABLE = "unavailable"
    """No process ran: the function is not hosted, the pool is full, or the machine refused to start one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An invocation's error, already redacted."""

    kind: FaultKind
    error_type: str
    """The exception's class name, or Lambda's name for the failure, such as `Sandbox.Timedout`."""
    message: str
    """At most 4096 characters of the function's own words: they may hold line breaks and control characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationResult:
    """How an invocation ended: with a payload, or with a fault."""

    payload: Any = field(default=None, repr=False)
    """The parsed JSON answer; None when there is a fault, the function answered null, or what it answered is not JSON."""
    body: bytes = field(default=b"", repr=False)
    """The answer as the function gave it."""
    report: Mapping[str, Any] | None = field(default=None, repr=False)
    """What the function reported of its own failure, redacted: type, message, stack trace and what its runtime adds."""
    fault: Fault | None = None
    log_tail: str = field(default="", repr=False)
    """The last 64 KiB that the function wrote to stdout and stderr, redacted."""
    duration_seconds: float = 0.0
    """From the hand-over of the event to the answer or the fault; starting a process is not in it."""
    most_memory_bytes: int = 0
    """The most that its processes kept in memory at once, as far as it was looked at; since the first of them started."""
    cold: bool = False
    """True when a process was started for this invocation."""
    access_key_id: str | None = None
    """The temporary access key of the process; None when no process ran."""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBatch:
    """What one invocation left in its function's log."""

    account_id: str
    region: str
    group: str
    stream: str
    at: datetime
    messages: tuple[str, ...] = field(repr=False)
    """Redacted, control characters escaped."""


def spellings(value: str) -> frozenset[str]:
    """Return every form in which `value` is looked for: as it is, in JSON (twice nested too), in a URL, in a repr."""
    escaped = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    nested = {json.dumps(form)[1:-1] for form in escaped}
    quoted = {quote(value, safe=""), quote(value), quote_plus(value)} if _encodable(value) else set()
    lowered = {_PERCENT_CODE.sub(lambda code: code[0].lower(), form) for form in quoted}
    return frozenset(escaped | nested | quoted | lowered | _reprs(value)) - {""}


def _encodable(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _reprs(value: str) -> set[str]:
    """Return what Python shows between quotes, whichever quote it chooses for the text around the value."""
    plain = {repr(value)[1:-1], ascii(value)[1:-1]}
    return plain | {form.replace("\\'", "'").replace("'", "\\'") for form in plain}


def redact(text: str, values: Iterable[str], *, start: int = 0) -> str:
    """Return `text[start:]` with every spelling of every value replaced by `[redacted]`.

    The whole of `text` is searched, so that a value that begins before `start` leaves no rest behind. Spellings that
    overlap or touch are covered together: the longest cover wins. Empty values are ignored.
    """
    forms = frozenset(chain.from_iterable(map(spellings, values)))
    covers = (span for form in forms for span in _occurrences(text, form))
    pieces: list[str] = []
    at = start
    for begin, end in _merged(covers):
        if end > start:
            pieces += (text[at:begin], REDACTED)
            at = end
    return "".join((*pieces, text[at:]))


def _occurrences(text: str, form: str) -> Iterator[tuple[int, int]]:
    found = text.find(form)
    while found >= 0:
        yield found, found + len(form)
        found = text.find(form, found + 1)


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join spans that overlap or touch, in order."""
    begin = end = -1
    for span in sorted(spans):
        if span[0] > end:
            if end > 0:
                yield begin, end
            begin, end = span
        end = max(end, span[1])
    if end > 0:
        yield begin, end


def longest_spelling(values: Iterable[str]) -> int:
    """Return the length, in characters, of the longest form that `redact` looks for; 0 for no values."""
    return max((len(form) for value in values for form in spellings(value)), default=0)
