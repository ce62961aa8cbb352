"""Lambda: the processes that run rotation functions.

What it does: gives an event to a function and hands back its answer or the reason why there is none. A function runs in
a process of its own under the official `awslambdaric` client, against a Runtime API listener that only it can use, with
a cleared environment, memory and time limits, and temporary credentials that name one secret. A warm process is reused
for the same function and the same secret, never for another.

What it trusts: its caller, for the credentials, and for the list of values that no log may show. It trusts nothing that
a function says: answers are bounded and parsed strictly, errors and output are redacted and escaped.

What it must never do: run a function that is not hosted (until confinement exists), leave a process behind when it is
closed or killed, let an invocation outlive its deadline or its lease, or log a value it was told to redact.
"""

from turnlock.functions.model import (
    HOSTED,
    Fault,
    FaultKind,
    FunctionArn,
    HostedFunction,
    Invocation,
    InvocationResult,
    find_hosted,
    redact,
)
from turnlock.functions.pool import PoolLimits
from turnlock.functions.runner import Functions

__all__ = [
    "HOSTED",
    "Fault",
    "FaultKind",
    "FunctionArn",
    "Functions",
    "HostedFunction",
    "Invocation",
    "InvocationResult",
    "PoolLimits",
    "find_hosted",
    "redact",
]
