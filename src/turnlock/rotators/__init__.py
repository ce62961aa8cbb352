"""Hosted rotation functions: one skeleton of four steps, one small class for each database engine.

They run like a user's own rotation function: with boto3's client, the endpoint and temporary credentials. Nothing here
imports anything of Turnlock. They trust the endpoint, and the secret for where the database is; what the database
accepts, they learn by real logins. They must never connect without TLS unless the secret says `"ssl": false`, send a
clear-text password where the server takes a hash, put a secret's value into an error or a log line, or change a
password before they have confirmed that its version is still pending.

To add a hosted function for another engine, write an `Engine` and a module with a `lambda_handler` that passes it to
`handle`.
"""

from turnlock.rotators.engines.engine import (
    Credential,
    DatabaseFailed,
    Engine,
    NoWayIn,
    Refused,
    RotationError,
    Superseded,
    Unreachable,
    Verdict,
)
from turnlock.rotators.skeleton import handle

__all__ = [
    "Credential",
    "DatabaseFailed",
    "Engine",
    "NoWayIn",
    "Refused",
    "RotationError",
    "Superseded",
    "Unreachable",
    "Verdict",
    "handle",
]
