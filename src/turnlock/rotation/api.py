"""RotateSecret and CancelRotateSecret, and the first schedule of secrets that another service owns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.errors import InvalidParameterException, InvalidRequestException
from turnlock.functions import find_hosted
from turnlock.rotation.managed import function_of
from turnlock.rotation.masters import allow_master, note_master
from turnlock.rotation.plan.schedule import RotationRules, immediate_window, parse
from turnlock.rotation.plan.states import PlanState, Purpose
from turnlock.rotation.plans import begin_plan, end_plan, give_way, schedule_of, scheduled, supersede_finished
from turnlock.rotation.runner.invocable import check_function
from turnlock.rotation.store import find_unfinished, last_plan
from turnlock.secrets import (
    AWSCURRENT,
    AWSPENDING,
    Rotation,
    Secret,
    find_version,
    refuse_external_rotation,
    refuse_managed,
    require_token,
    require_writable,
    secret_subject,
    stages_of,
    update_secret,
)
from turnlock.storage import Unit


def rotate_secret(call: Call, request: Request, unit: Unit) -> Answer:
    """RotateSecret: store the configuration in the request, then rotate now or check the configuration.

    It answers at once; a node's scheduler carries the rotation out. A repeated ClientRequestToken begins nothing.
    """
    token = require_token(request, InvalidParameterException)
    secret = require_writable(call, request, unit)
    refuse_external_rotation(secret, request)
    if "RotationLambdaARN" in request:
        refuse_managed(call, secret)
    if _begun_before(unit, secret, token):
        return _answer(secret, token)
    secret, exposed = supersede_finished(unit, secret)
    give_way(unit, secret)
    immediately = request.get("RotateImmediately", True)
    if not (immediately and _resumes(unit, secret, token)):
        _refuse_unfinished(unit, secret)
        if find_version(unit, secret, token) is not None:
            raise InvalidParameterException(
                f"The ClientRequestToken {token} is the id of a version of this secret."
            )
    configured = _configure(call, unit, secret, request)
    begin_plan(
        unit,
        configured,
        token=token,
        purpose=Purpose.ROTATE if immediately else Purpose.TEST,
        window=immediate_window(schedule_of(configured.rotation), now=unit.now),
        starts_at=unit.now,
        exposed=exposed,
    )
    return _answer(secret, token)


def cancel_rotate_secret(call: Call, request: Request, unit: Unit) -> Answer:
    """CancelRotateSecret: turn rotation off. One in progress ends where it is, and AWSPENDING stays on its version.

    A secret that never had rotation stays as it is.
    """
    secret = require_writable(call, request, unit)
    refuse_managed(call, secret)
    row = find_unfinished(unit, secret)
    if secret.rotation.enabled is not None:
        kept = Rotation(enabled=False, function_arn=secret.rotation.function_arn, rules=secret.rotation.rules)
        secret = secret.evolve(rotation=kept, last_changed_at=unit.now)
        update_secret(unit, secret)
    plan = None if row is None else end_plan(unit, secret, row)
    return _answer(secret, plan.token if plan is not None and plan.purpose is Purpose.ROTATE else None)


ACTIONS = (
    Action(name="CancelRotateSecret", handler=cancel_rotate_secret, subject=secret_subject, mutates=True),
    Action(name="RotateSecret", handler=rotate_secret, subject=secret_subject, mutates=True),
)


def manage(unit: Unit, secret: Secret, rules: Mapping[str, Any]) -> Secret:
    """Turn rotation on for a secret that a service owns, the first one a whole period from now; return the secret."""
    rotation = Rotation(enabled=True, rules=rules)
    managed = scheduled(unit, secret.evolve(rotation=rotation), last=unit.now, now=unit.now)
    update_secret(unit, managed)
    return managed


def _configure(call: Call, unit: Unit, secret: Secret, request: Request) -> Secret:
    """Return the secret with rotation on; what the request leaves out stays as it is stored."""
    function_arn = request.get("RotationLambdaARN") or secret.rotation.function_arn
    if function_arn is not None:
        check_function(call, unit, secret, function_arn)
    elif function_of(secret) is None:
        raise InvalidRequestException("No Lambda rotation function ARN is associated with this secret.")
    if function_arn is None or find_hosted(function_arn) is not None:
        allow_master(call, unit, secret)
    else:
        note_master(call, unit, secret)
    rules = _rules(secret, request.get("RotationRules"))
    rotation = replace(secret.rotation, enabled=True, function_arn=function_arn, rules=rules)
    configured = secret.evolve(rotation=rotation, last_changed_at=unit.now)
    return scheduled(unit, configured, last=unit.now, now=unit.now)


def _rules(secret: Secret, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not given:
        return secret.rotation.rules
    rules = RotationRules.from_request(given)
    parse(rules)
    return rules.as_answer()


def _begun_before(unit: Unit, secret: Secret, token: str) -> bool:
    """Tell whether this token's rotation is running or has succeeded: a repeated request gets the same answer."""
    row = last_plan(unit, secret, token)
    return row is not None and (not row.plan.finished or row.plan.state is PlanState.SUCCEEDED)


def _resumes(unit: Unit, secret: Secret, token: str) -> bool:
    """Tell whether this token's version was left by a rotation that ended without success, and AWSPENDING is on no newer one.

    Then a RotateSecret with the same token continues: after CancelRotateSecret, or after somebody took AWSPENDING from
    it.
    """
    if find_unfinished(unit, secret) is not None:
        return False
    pending = secret.labels.get(AWSPENDING)
    stages = stages_of(secret.labels, token)
    if AWSPENDING in stages:
        return AWSCURRENT not in stages
    row = last_plan(unit, secret, token)
    left = row is not None and row.plan.purpose is Purpose.ROTATE
    return left and not stages and pending in (None, secret.labels.get(AWSCURRENT))


def _refuse_unfinished(unit: Unit, secret: Secret) -> None:
    pending = secret.labels.get(AWSPENDING)
    stuck = pending is not None and pending != secret.labels.get(AWSCURRENT)
    if stuck or find_unfinished(unit, secret) is not None:
        raise InvalidRequestException(
            "A previous rotation isn't complete. That rotation will be reattempted."
        )


def _answer(secret: Secret, token: str | None) -> Answer:
    return {"ARN": secret.arn, "Name": secret.name, "VersionId": token}
