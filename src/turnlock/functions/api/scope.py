"""What of Lambda's model this server does not do, each with the reason: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

BY_WORD: Final[Mapping[str, str]] = {
    "CapacityProvider": "functions run on the server's own machines",
    "CodeSigningConfig": "packages are not signed; what is kept is named by its hash under a MAC",
    "DurableExecution": "durable executions keep their progress in a service that is not served",
    "EventInvokeConfig": "asynchronous events are tried three times, as on Lambda where nothing is configured",
    "EventSourceMapping": "there are no streams or queues to read from",
    "FunctionScalingConfig": "functions run on the server's own machines",
    "FunctionUrlConfig": "functions are called through Invoke only",
    "Layer": "what a layer holds goes into the package",
    "ProvisionedConcurrency": "processes are kept warm after each use, and are not started before",
    "RecursionConfig": "loops through other services cannot be told here",
    "RuntimeManagementConfig": "runtimes are the machine's own programs",
}
"""Reasons that hold for all operations about one noun."""
BY_NAME: Final[Mapping[str, str]] = {
    "DeleteResourcePolicy": "AddPermission and RemovePermission write the policy",
    "GetResourcePolicy": "GetPolicy reads the policy",
    "InvokeAsync": "deprecated since 2014: Invoke with InvocationType=Event does it",
    "InvokeWithResponseStream": "answers are not streamed",
    "PutResourcePolicy": "AddPermission and RemovePermission write the policy",
}


def reasons(missing: Iterable[str]) -> dict[str, str | None]:
    """Return the reason for each operation without a handler; None where there is none, which a test refuses."""
    return {name: BY_NAME.get(name) or _by_word(name) for name in missing}


def _by_word(name: str) -> str | None:
    return next((reason for word, reason in BY_WORD.items() if word in name), None)
