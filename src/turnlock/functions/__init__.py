"""Lambda and CloudWatch Logs: functions, the processes in which they run, and their output.

What it does: gives an event to a function and returns its answer, or the reason why there is none. A function runs in a
process of its own, under the official `awslambdaric` client, against a Runtime API listener that only it can use, with
a cleared environment, confined by the kernel (room `confinement`), and with temporary credentials. A warm process is
reused for the same function and the same secret only.

What it trusts: its caller, for the credentials and for the list of values that no log may show. It trusts nothing that
a function says: answers are bounded and parsed strictly, errors and output are redacted and escaped.

What it must never do: run a user's function unconfined unless the operator allowed it, leave a process behind when it
is closed or killed, let an invocation outlive its deadline or its lease, or log a value that it was told to redact.
"""

from turnlock.functions.api.actions import ACTIONS_AT_REST
from turnlock.functions.api.permissions import lets_service_invoke
from turnlock.functions.api.store import MACS as OWN_MACS
from turnlock.functions.code.catalogue import find_own, find_version, role_credentials
from turnlock.functions.logs.api import ACTIONS as LOGS_ACTIONS
from turnlock.functions.logs.groups import MACS as LOGS_MACS
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
from turnlock.functions.runtime.confining import refuse_in_sight, settle_confinement
from turnlock.functions.runtime.pool import PoolLimits
from turnlock.functions.runtime.runner import Functions
from turnlock.functions.service import LambdaService

MACS = (*OWN_MACS, *LOGS_MACS)
"""What a rotation of the root key writes anew."""

__all__ = [
    "ACTIONS_AT_REST",
    "HOSTED",
    "LOGS_ACTIONS",
    "MACS",
    "Fault",
    "FaultKind",
    "FunctionArn",
    "Functions",
    "HostedFunction",
    "Invocation",
    "InvocationResult",
    "LambdaService",
    "PoolLimits",
    "find_hosted",
    "find_own",
    "find_version",
    "lets_service_invoke",
    "redact",
    "refuse_in_sight",
    "role_credentials",
    "settle_confinement",
]
