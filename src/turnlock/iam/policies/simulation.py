"""IAM's policy simulator: what policies would decide, over the evaluator that decides calls.

SimulateCustomPolicy takes all policies from its request; SimulatePrincipalPolicy takes those that a user, group or role
holds, with what the request adds. The GetContextKeysFor… actions tell which condition keys such policies ask for. Keys of
the caller are known where there is a caller; everything else is what ContextEntries say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from msgspec.structs import replace

from turnlock.accounts import Identity, Kind, find_identity, holdings_of, principal_of
from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.arn import AccountId, Arn
from turnlock.core.call import Call, Principal, PrincipalKind, Session
from turnlock.core.work import Work, WorkSpent
from turnlock.errors import InvalidInputException, NoSuchEntityException, PolicyEvaluationException
from turnlock.iam.lookup import PAGES
from turnlock.policies import (
    NOBODY,
    TOO_MUCH_WORK,
    Allowed,
    Asked,
    Attached,
    Cited,
    Context,
    Form,
    Group,
    Holdings,
    Policies,
    PolicyKind,
    Standing,
    allowance,
    caller_of,
    denial,
    read_policy,
    reading,
    weigh,
)
from turnlock.storage import Unit

_OF_CALLER: Final = ("aws:principal", "aws:userid", "aws:username")
"""How the keys begin that are known of a caller without a request of its own."""

_PAIR: Final = 20
"""Units of work that an action on a resource takes beside what policies make of it, on this page or not."""

_RESULT: Final = 600
"""Units of work that a result takes beside what policies make of it, with its place in the answer."""

_VARIABLE: Final = re.compile(r"\$\{([^},]+)")


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What a request asks to be simulated, whoever's policies they are."""

    policies: Policies
    context: Context | None
    """Of the caller; None where there is none."""
    entries: Mapping[str, Sequence[str]]
    """The ContextEntries, keys in lower case."""
    owner: str | None
    """The account of the resources that name none."""
    work: Work
    asked: set[str] = field(default_factory=set)
    """Keys that were asked for and absent, in lower case."""

    @cached_property
    def spelled(self) -> Mapping[str, str]:
        """Return the keys of all conditions, by themselves in lower case, as some policy spells them."""
        return {
            condition.key.lower(): condition.key
            for attached in self.policies.all
            for statement in attached.statements
            for condition in statement.source.conditions
        }

    def lookup(self, key: str) -> Sequence[str]:
        """Return the values of a condition key."""
        found = self.entries.get(key, ())
        if not found and self.context is not None and key.startswith(_OF_CALLER):
            found = self.context.values(key)
        if not found:
            self.asked.add(key)
        return found


def simulate_custom_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """SimulateCustomPolicy: what these policies decide, for each action on each resource.

    Raises PolicyEvaluationException where one result takes more work than a request may cost; a page ends before that.
    """
    with _evaluated():
        policies = _given(request, unit.work)
        caller = _caller(request["CallerArn"]) if "CallerArn" in request else None
        return _simulated(call, request, policies, caller, Holdings(), work=unit.work)


def simulate_principal_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """SimulatePrincipalPolicy: what an identity's policies decide. Raises NoSuchEntityException for one that is not there.

    Raises PolicyEvaluationException as SimulateCustomPolicy does.
    """
    identity = _source(call, request, unit)
    holdings = _held(unit, identity)
    with _evaluated():
        own = tuple(Attached(PolicyKind.IDENTITY, one.name, one.text) for one in holdings.policies)
        given = _given(request, unit.work)
        boundary = holdings.boundary
        bound = () if boundary is None else (Attached(PolicyKind.BOUNDARY, boundary.name, boundary.text),)
        policies = given._replace(identity=own + given.identity, boundary=given.boundary or bound)
        named = request.get("CallerArn")
        caller = principal_of(identity) if named is None else _caller(named)
        whose = holdings if named is None else Holdings()
        return _simulated(call, request, policies, caller, whose, work=unit.work)


def get_context_keys_for_custom_policy(_call: Call, request: Request, unit: Unit) -> Answer:
    """GetContextKeysForCustomPolicy: the condition keys that these policies ask for.

    Raises InvalidInputException for more text than one request may have read.
    """
    return _context_keys(request, unit.work, ())


def get_context_keys_for_principal_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """GetContextKeysForPrincipalPolicy: the condition keys that an identity's policies ask for.

    Raises as GetContextKeysForCustomPolicy does.
    """
    held = [one.text for one in _held(unit, _source(call, request, unit)).policies]
    return _context_keys(request, unit.work, held)


def _context_keys(request: Request, work: Work, held: Sequence[str]) -> Answer:
    try:
        work.charge(sum(map(reading, held)))
        return {"ContextKeyNames": _keys_in([*held, *_documents(request, "PolicyInputList", work)])}
    except WorkSpent:
        raise InvalidInputException(f"The policies are too large: {TOO_MUCH_WORK}.") from None


@contextmanager
def _evaluated() -> Iterator[None]:
    """Raise AWS's error where policies cannot be evaluated at a bounded cost."""
    try:
        yield
    except WorkSpent:
        raise PolicyEvaluationException(f"The policies cannot be evaluated: {TOO_MUCH_WORK}.") from None


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
    call: Call,
    request: Request,
    policies: Policies,
    caller: Principal | None,
    holdings: Holdings,
    *,
    work: Work,
) -> Answer:
    """Return one page of results. It ends early where the next result would cost more than the request may. Raises WorkSpent."""
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
        work=work,
    )
    actions, resources = request["ActionNames"], request.get("ResourceArns") or ["*"]
    work.charge(_PAIR * len(actions) * len(resources))
    asked = [(action, resource) for action in actions for resource in resources]
    numbered = {f"{number:06}": pair for number, pair in enumerate(asked)}
    results: dict[str, dict[str, Any]] = {}

    def show(key: str) -> dict[str, Any]:
        if key not in results:
            results[key] = _result(simulation, caller, *numbered[key])
        return results[key]

    try:
        return PAGES.page(request, numbered, str, "EvaluationResults", show)
    except WorkSpent:
        if not results:
            raise
        return PAGES.page({**request, "MaxItems": len(results)}, numbered, str, "EvaluationResults", show)


def _result(simulation: Simulation, caller: Principal | None, action: str, resource: str) -> dict[str, Any]:
    simulation.work.charge(_RESULT)
    simulation.asked.clear()
    role = simulation.context.holdings.role_arn if simulation.context is not None else None
    asked = Asked(
        action=action.lower(),
        resource=resource,
        lookup=simulation.lookup,
        caller=NOBODY if caller is None else caller_of(caller, role),
        work=simulation.work,
        remembered=False,
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
        "MissingContextValues": sorted(simulation.spelled.get(key, key) for key in simulation.asked),
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


def _given(request: Request, work: Work) -> Policies:
    """Return the policies of a request. Raises InvalidInputException for a text that is none, and WorkSpent."""
    boundaries = _documents(request, "PermissionsBoundaryPolicyInputList", work)
    if len(boundaries) > 1:
        raise InvalidInputException("Only one permissions boundary can be given.")
    policy = request.get("ResourcePolicy")
    if policy is not None:
        _check(policy, Form.RESOURCE, work)
    return Policies(
        resource=() if policy is None else (Attached(PolicyKind.RESOURCE, "ResourcePolicy", policy),),
        identity=tuple(
            Attached(PolicyKind.IDENTITY, f"PolicyInputList.{number}", text)
            for number, text in enumerate(_documents(request, "PolicyInputList", work), 1)
        ),
        boundary=tuple(
            Attached(PolicyKind.BOUNDARY, "PermissionsBoundaryPolicyInputList.1", text) for text in boundaries
        ),
    )


def _documents(request: Request, member: str, work: Work) -> Sequence[str]:
    texts: Sequence[str] = request.get(member, ())
    for text in texts:
        _check(text, Form.IDENTITY, work)
    return texts


def _check(text: str, form: Form, work: Work) -> None:
    work.charge(reading(text))
    try:
        read_policy(text, form)
    except ValueError as error:
        raise InvalidInputException(f"Syntax errors in policy. {error}") from None


def _entries(request: Request) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for entry in request.get("ContextEntries", ()):
        if "ContextKeyName" in entry:
            found.setdefault(entry["ContextKeyName"].lower(), []).extend(entry.get("ContextKeyValues", ()))
    return found


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
