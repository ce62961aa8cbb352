"""IAM's policy simulator: what policies would decide, over the evaluator that decides calls.

SimulateCustomPolicy takes all policies from its request; SimulatePrincipalPolicy takes those that a user, group or role
holds, with what the request adds. The GetContextKeysFor… actions tell which condition keys such policies ask for. Keys of
the caller are known where there is a caller; everything else is what ContextEntries say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.arn import AccountId, Arn
from turnlock.core.call import Call, Principal, PrincipalKind, Session
from turnlock.errors import InvalidInputException, NoSuchEntityException
from turnlock.identity.attached import (
    Allowed,
    Cited,
    Group,
    Policies,
    PolicyKind,
    allowance,
    attach,
    denial,
)
from turnlock.identity.callers import NOBODY, caller_of
from turnlock.identity.compiled import Asked
from turnlock.identity.context import Context
from turnlock.identity.evaluation import Standing, weigh
from turnlock.identity.holdings import Holdings, holdings_of
from turnlock.identity.iam.model import Identity, Kind
from turnlock.identity.iam.pages import page
from turnlock.identity.iam.store import find_identity
from turnlock.identity.policy_reader import Form, read_policy
from turnlock.identity.principals import principal_of
from turnlock.storage import Unit

_OF_CALLER: Final = ("aws:principal", "aws:userid", "aws:username")
"""How the keys begin that are known of a caller without a request of its own."""

_VARIABLE: Final = re.compile(r"\$\{([^},]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a request asks to be simulated, whoever's policies they are."""

    policies: Policies
    context: Context | None
    """Of the caller; None where there is none."""
    entries: Mapping[str, Sequence[str]]
    """The ContextEntries, keys in lower case."""
    owner: str | None
    """The account of the resources that name none."""
    asked: set[str] = field(default_factory=set)
    """Keys that were asked for and absent, in lower case."""

    def lookup(self, key: str) -> Sequence[str]:
        """Return the values of a condition key."""
        found = self.entries.get(key, ())
        if not found and self.context is not None and key.startswith(_OF_CALLER):
            found = self.context.values(key)
        if not found:
            self.asked.add(key)
        return found


def simulate_custom_policy(call: Call, request: Request, _unit: object) -> Answer:
    """SimulateCustomPolicy: what these policies decide, for each action on each resource."""
    policies = _given(request)
    caller = _caller(request["CallerArn"]) if "CallerArn" in request else None
    return _simulated(call, request, policies, caller, Holdings())


def simulate_principal_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """SimulatePrincipalPolicy: what an identity's policies decide. Raises NoSuchEntityException for one that is not there."""
    identity = _source(call, request, unit)
    holdings = _held(unit, identity)
    own = tuple(attach(PolicyKind.IDENTITY, one.name, one.text) for one in holdings.policies)
    given = _given(request)
    boundary = holdings.boundary
    bound = () if boundary is None else (attach(PolicyKind.BOUNDARY, boundary.name, boundary.text),)
    policies = given._replace(identity=own + given.identity, boundary=given.boundary or bound)
    named = request.get("CallerArn")
    caller = principal_of(identity) if named is None else _caller(named)
    return _simulated(call, request, policies, caller, holdings if named is None else Holdings())


def get_context_keys_for_custom_policy(_call: Call, request: Request, _unit: object) -> Answer:
    """GetContextKeysForCustomPolicy: the condition keys that these policies ask for."""
    return {"ContextKeyNames": _keys_in(_documents(request, "PolicyInputList"))}


def get_context_keys_for_principal_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """GetContextKeysForPrincipalPolicy: the condition keys that an identity's policies ask for."""
    held = [one.text for one in _held(unit, _source(call, request, unit)).policies]
    return {"ContextKeyNames": _keys_in([*held, *_documents(request, "PolicyInputList")])}


def _source_subject(_call: Call, request: Request, _unit: object) -> Subject:
    arn = request["PolicySourceArn"]
    return Subject(arn=arn, named=arn)


SIMULATE_ACTIONS: Final = (
    Action(
        name="GetContextKeysForCustomPolicy",
        handler=get_context_keys_for_custom_policy,
        subject=no_resource,
        mutates=False,
    ),
    Action(
        name="GetContextKeysForPrincipalPolicy",
        handler=get_context_keys_for_principal_policy,
        subject=_source_subject,
        mutates=False,
    ),
    Action(name="SimulateCustomPolicy", handler=simulate_custom_policy, subject=no_resource, mutates=False),
    Action(
        name="SimulatePrincipalPolicy",
        handler=simulate_principal_policy,
        subject=_source_subject,
        mutates=False,
    ),
)


def _simulated(
    call: Call, request: Request, policies: Policies, caller: Principal | None, holdings: Holdings
) -> Answer:
    if policies.resource and caller is None:
        raise InvalidInputException("A ResourcePolicy needs a CallerArn.")
    context = None
    if caller is not None:
        made = replace(call, principal=caller, account_id=caller.account_id, session=Session())
        context = Context(call=made, holdings=holdings, subject=Subject(arn=None, named="*"))
    simulation = Simulation(
        policies=policies,
        context=context,
        entries=_entries(request),
        owner=_owner(request),
    )
    asked = [
        (action, resource)
        for action in request["ActionNames"]
        for resource in request.get("ResourceArns") or ["*"]
    ]
    numbered = {f"{number:06}": pair for number, pair in enumerate(asked)}
    return page(
        request, numbered, str, "EvaluationResults", lambda key: _result(simulation, caller, *numbered[key])
    )


def _result(simulation: Simulation, caller: Principal | None, action: str, resource: str) -> dict[str, Any]:
    simulation.asked.clear()
    role = simulation.context.holdings.role_arn if simulation.context is not None else None
    asked = Asked(
        action=action.lower(),
        resource=resource,
        lookup=simulation.lookup,
        caller=NOBODY if caller is None else caller_of(caller, role),
    )
    standing = Standing(across=_across(simulation, caller, resource))
    weighed = weigh(asked, simulation.policies, standing)
    cited = weighed.by if isinstance(weighed, Allowed) else weighed if isinstance(weighed, Cited) else None
    boundary = simulation.policies.boundary
    return {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": _decision(weighed),
        "MatchedStatements": [] if cited is None else [_matched(cited)],
        "MissingContextValues": sorted(_spelled(simulation, simulation.asked)),
        "PermissionsBoundaryDecisionDetail": None
        if not boundary
        else {"AllowedByPermissionsBoundary": _allows(boundary, asked)},
    }


def _allows(boundary: Group, asked: Asked) -> bool:
    return denial(boundary, asked) is None and allowance(boundary, asked)[0] is not None


def _decision(weighed: Allowed | Cited | PolicyKind) -> str:
    if isinstance(weighed, Allowed):
        return "allowed"
    return "explicitDeny" if isinstance(weighed, Cited) else "implicitDeny"


def _matched(cited: Cited) -> dict[str, str]:
    kind = "Resource Policy" if cited.kind is PolicyKind.RESOURCE else "IAM Policy"
    return {"SourcePolicyId": cited.policy, "SourcePolicyType": kind}


def _across(simulation: Simulation, caller: Principal | None, resource: str) -> bool:
    if caller is None:
        return False
    try:
        account = Arn.parse(resource).account_id
    except ValueError:
        account = ""
    owner = account or simulation.owner
    return bool(owner) and owner != caller.account_id


def _given(request: Request) -> Policies:
    """Return the policies of a request. Raises InvalidInputException for a text that is none."""
    boundaries = _documents(request, "PermissionsBoundaryPolicyInputList")
    if len(boundaries) > 1:
        raise InvalidInputException("Only one permissions boundary can be given.")
    policy = request.get("ResourcePolicy")
    if policy is not None:
        _check(policy, Form.RESOURCE)
    return Policies(
        resource=() if policy is None else (attach(PolicyKind.RESOURCE, "ResourcePolicy", policy),),
        identity=tuple(
            attach(PolicyKind.IDENTITY, f"PolicyInputList.{number}", text)
            for number, text in enumerate(_documents(request, "PolicyInputList"), 1)
        ),
        boundary=tuple(
            attach(PolicyKind.BOUNDARY, "PermissionsBoundaryPolicyInputList.1", text) for text in boundaries
        ),
    )


def _documents(request: Request, member: str) -> Sequence[str]:
    texts: Sequence[str] = request.get(member, ())
    for text in texts:
        _check(text, Form.IDENTITY)
    return texts


def _check(text: str, form: Form) -> None:
    try:
        read_policy(text, form)
    except ValueError as error:
        raise InvalidInputException(f"Syntax errors in policy. {error}") from None


def _entries(request: Request) -> dict[str, Sequence[str]]:
    return {
        entry["ContextKeyName"].lower(): entry.get("ContextKeyValues", ())
        for entry in request.get("ContextEntries", ())
        if "ContextKeyName" in entry
    }


def _owner(request: Request) -> str | None:
    """Return the account of ResourceOwner, which is an account's id or an ARN in it."""
    owner = request.get("ResourceOwner")
    if owner is None:
        return None
    try:
        return Arn.parse(owner).account_id
    except ValueError:
        return str(owner)


def _source(call: Call, request: Request, unit: Unit) -> Identity:
    """Return the identity that PolicySourceArn names, of the caller's own account."""
    arn = request["PolicySourceArn"]
    noun, _, name = arn.rpartition(":")[2].partition("/")
    kind = {one.noun: one for one in Kind}.get(noun)
    found = None if kind is None else find_identity(unit, call.account_id, kind, name.rpartition("/")[2])
    if found is None or found.arn != arn:
        raise NoSuchEntityException(f"{arn} was not found.")
    return found


def _held(unit: Unit, identity: Identity) -> Holdings:
    return holdings_of(unit, principal_of(identity))


def _caller(arn: str) -> Principal:
    """Return the user that CallerArn names, there or not. Raises InvalidInputException for another ARN."""
    try:
        parsed = Arn.parse(arn)
    except ValueError:
        raise InvalidInputException(f"{arn} is no ARN.") from None
    if parsed.service != "iam" or not parsed.resource.startswith("user/"):
        raise InvalidInputException("CallerArn must be the ARN of a user.")
    return Principal(
        kind=PrincipalKind.USER, arn=arn, account_id=AccountId(parsed.account_id), principal_id=arn
    )


def _keys_in(texts: Sequence[str]) -> list[str]:
    """Return the condition keys that documents ask for, in conditions and as variables, as they are spelled first."""
    found: dict[str, str] = {}
    for text in texts:
        for key in _keys_of(text):
            found.setdefault(key.lower(), key)
    return sorted(found.values())


def _keys_of(text: str) -> Iterator[str]:
    for statement in read_policy(text, Form.IDENTITY).statements:
        for condition in statement.conditions:
            yield condition.key
            for value in condition.values:
                yield from _variables_in(value)
        for resource in statement.resources.texts:
            yield from _variables_in(resource)


def _variables_in(text: str) -> Iterator[str]:
    return (key.strip() for key in _VARIABLE.findall(text) if key not in ("*", "?", "$"))


def _spelled(simulation: Simulation, keys: set[str]) -> Iterator[str]:
    """Return keys as some policy of the simulation spells them."""
    spelled = {
        condition.key.lower(): condition.key
        for attached in simulation.policies.all
        for statement in attached.statements
        for condition in statement.source.conditions
    }
    return (spelled.get(key, key) for key in keys)
