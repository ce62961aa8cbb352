"""Hosted rotation functions: one four-step skeleton, one small class per database engine.

They run as a user's own rotation function would: as strangers, with boto3's client, the endpoint and their role's
credentials; nothing here imports anything of Turnlock. They trust the endpoint and, of the secret, that it says where
the database is; of the database they believe only what a real login proves. They must never speak to a database
without TLS unless the secret says `"ssl": false`, send a clear-text password where the server takes a hash, put a secret's value into
an error or a log line, or change a password that they have not just confirmed to be wanted.

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
