"""BatchGetSecretValue: up to 20 values in one answer, each read as GetSecretValue would.

Each is a nested call of GetSecretValue: authorised for its secret, with a record of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call
from turnlock.errors import ApiError, InvalidParameterException
from turnlock.storage import Unit

DEFAULT_PAGE: Final = 20


def batch_get_secret_value(call: Call, request: Request, _unit: Unit) -> Answer:
    """BatchGetSecretValue: by a list of ids, or by filters (a page of ListSecrets, which the caller must be allowed).

    What cannot be read stands under Errors; the call itself succeeds. Raises InvalidParameterException unless exactly one
    of SecretIdList and Filters is given, and for paging without Filters.
    """
    by_list, by_filters = "SecretIdList" in request, bool(request.get("Filters"))
    if by_list == by_filters:
        raise InvalidParameterException("You must include either Filters or SecretIdList, but not both.")
    if by_list and ("MaxResults" in request or "NextToken" in request):
        raise InvalidParameterException("To use MaxResults or NextToken, you must also use Filters.")
    wanted, following = (request["SecretIdList"], None) if by_list else _page(call, request)
    return {**_read(call, wanted), "NextToken": following}


ACTIONS = (
    Action(name="BatchGetSecretValue", handler=batch_get_secret_value, subject=no_resource, mutates=False),
)


def _page(call: Call, request: Request) -> tuple[list[str], str | None]:
    """Return the ARNs of one page of what the filters find, and the token of the next."""
    asked = {"Filters": request["Filters"], "MaxResults": request.get("MaxResults", DEFAULT_PAGE)}
    if "NextToken" in request:
        asked["NextToken"] = request["NextToken"]
    answer = call.gate.nested("ListSecrets", asked)
    if isinstance(answer, ApiError):
        raise answer
    return [entry["ARN"] for entry in answer["SecretList"]], answer["NextToken"]


def _read(call: Call, wanted: Sequence[str]) -> dict[str, Any]:
    values: list[Answer] = []
    errors: list[dict[str, str]] = []
    for secret_id in wanted:
        outcome = call.gate.nested("GetSecretValue", {"SecretId": secret_id})
        if isinstance(outcome, ApiError):
            errors.append({"SecretId": secret_id, "ErrorCode": outcome.code, "Message": outcome.message})
        else:
            values.append(outcome)
    return {"SecretValues": values, "Errors": errors}
