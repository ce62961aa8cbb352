"""Whether a rotation function may be used: by Secrets Manager, and by the caller who names it."""

from __future__ import annotations

from typing import Final

from turnlock import functions
from turnlock.core.arn import partition_of
from turnlock.core.call import Call
from turnlock.errors import AccessDeniedException
from turnlock.secrets import Secret
from turnlock.storage import Unit

REFUSAL: Final = (
    "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access"
    " to the principal secretsmanager.amazonaws.com."
)


def check_function(call: Call, unit: Unit, secret: Secret, function_arn: str) -> None:
    """Raise AccessDeniedException unless the function is there and may be called by Secrets Manager for this secret.

    A function of one's own must say so in its policy, and the caller must be allowed to invoke it (user guide,
    "Permissions for rotation"). Hosted functions are the service's own. Absent and forbidden get the same sentence, as on
    AWS (docs/aws-behaviour.md#permission-to-rotate).
    """
    home = f"arn:{partition_of(secret.region)}:lambda:{secret.region}:{secret.account_id}:function:"
    if not function_arn.startswith(home) or not may_invoke(unit, secret.account_id, secret.arn, function_arn):
        raise AccessDeniedException(REFUSAL)
    if functions.find_hosted(function_arn) is None:
        call.gate.require("lambda:Invoke", {"FunctionName": function_arn})


def may_invoke(unit: Unit, account_id: str, secret_arn: str, function_arn: str) -> bool:
    """Tell whether the function is there and lets Secrets Manager invoke it for a secret."""
    if functions.find_hosted(function_arn) is not None:
        return True
    there = functions.find_version(unit, function_arn) is not None
    return there and not refuses(unit, account_id, secret_arn, function_arn)


def refuses(unit: Unit, account_id: str, secret_arn: str, function_arn: str) -> bool:
    """Tell whether a function of one's own is there and does not let Secrets Manager invoke it (any more)."""
    found = functions.find_own(unit, function_arn)
    return found is not None and not functions.lets_service_invoke(
        unit,
        *found,
        service="secretsmanager.amazonaws.com",
        conditions={"aws:sourceaccount": [account_id], "aws:sourcearn": [secret_arn]},
    )
