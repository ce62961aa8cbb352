"""Whether a rotation function may be used: by Secrets Manager, and by the caller who names it."""

from __future__ import annotations

from turnlock import functions
from turnlock.core.arn import partition_of
from turnlock.errors import AccessDeniedException
from turnlock.secrets import Secret
from turnlock.storage import Unit


def check_function(unit: Unit, secret: Secret, function_arn: str) -> None:
    """Raise AccessDeniedException unless the function is there and may be called by Secrets Manager for this secret.

    A function of one's own must say so in its policy, and the caller must be allowed to invoke it (user guide,
    "Permissions for rotation"). Hosted functions are the service's own. Absent and forbidden get the same sentence, as on
    AWS (BEHAVIOUR 3.3).
    """
    home = f"arn:{partition_of(secret.region)}:lambda:{secret.region}:{secret.account_id}:function:"
    if not function_arn.startswith(home):
        raise _refusal()
    if functions.find_hosted(function_arn) is not None:
        return
    found = functions.find_own(unit, function_arn)
    if found is None or functions.find_version(unit, function_arn) is None:
        raise _refusal()
    admitted = functions.lets_service_invoke(
        unit,
        *found,
        service="secretsmanager.amazonaws.com",
        conditions={"aws:sourceaccount": [secret.account_id], "aws:sourcearn": [secret.arn]},
    )
    if not admitted:
        raise _refusal()
    unit.require("lambda:Invoke", {"FunctionName": function_arn})


def _refusal() -> AccessDeniedException:
    return AccessDeniedException(
        "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access"
        " to the principal secretsmanager.amazonaws.com."
    )
