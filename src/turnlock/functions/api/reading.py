"""What can be asked of a function, its tags and its concurrency."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call
from turnlock.core.tags import TagRules
from turnlock.errors import InvalidParameterValueException, ResourceNotFoundException
from turnlock.functions.api import store
from turnlock.functions.api.answers import configuration
from turnlock.functions.api.hosted import SHOWN, as_version, hosted_configuration, hosted_named, or_hosted
from turnlock.functions.api.model import LATEST, FunctionVersion, OwnFunction
from turnlock.functions.api.names import PAGES, function_subject, named, require_function, require_version
from turnlock.storage import Unit

CONCURRENCY = 1000
"""What an account may run at once on Lambda; here the pool of processes is the limit."""


def _too_many_tags() -> InvalidParameterValueException:
    return InvalidParameterValueException("A function can have 50 tags.")


TAGS: Final = TagRules(too_many=_too_many_tags, reserved=(), is_reserved=_too_many_tags)


_RECURSION = {"RecursiveLoop": "Allow"}


def get_function(call: Call, request: Request, unit: Unit) -> Answer:
    """GetFunction; a package can be fetched from nowhere, so Code has no Location."""
    hosted = hosted_named(call, request, unit)
    if hosted is not None:
        return {"Configuration": hosted, "Code": {"RepositoryType": "S3"}}
    function, version = require_version(call, request, unit)
    reserved = function.concurrency
    return {
        "Configuration": configuration(unit, version, qualified=_by_version(call, request)),
        "Code": {"RepositoryType": "S3"},
        "Tags": dict(function.tags) or None,
        "Concurrency": None if reserved is None else {"ReservedConcurrentExecutions": reserved},
    }


def get_function_configuration(call: Call, request: Request, unit: Unit) -> Answer:
    """GetFunctionConfiguration."""
    hosted = hosted_named(call, request, unit)
    if hosted is not None:
        return hosted
    _, version = require_version(call, request, unit)
    return configuration(unit, version, qualified=_by_version(call, request))


def list_functions(call: Call, request: Request, unit: Unit) -> Answer:
    """ListFunctions: `$LATEST` of each, or with FunctionVersion=ALL every version; the hosted functions come last."""
    found: list[FunctionVersion | str] = []
    for function in store.functions_of(unit, call.account_id, call.region):
        versions = store.versions_of(unit, function)
        found += versions if request.get("FunctionVersion") == "ALL" else versions[:1]
    found += sorted(SHOWN)
    whole = request.get("FunctionVersion") == "ALL"

    def shown(one: FunctionVersion | str) -> dict[str, Any]:
        if isinstance(one, str):
            return hosted_configuration(call.account_id, call.region, SHOWN[one], qualified=whole)
        return configuration(unit, one, qualified=whole)

    return PAGES.numbered(request, found, "Functions", shown)


def list_nothing(member: str, _call: Call, _request: Request, _unit: Unit) -> Answer:
    """Return an empty list of what no function has here: tools ask for it before they go on."""
    return {member: []}


def list_tags(call: Call, request: Request, unit: Unit) -> Answer:
    """ListTags."""
    return {"Tags": dict(require_function(call, request, unit).tags)}


def tag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """TagResource."""
    function = require_function(call, request, unit)
    _save(unit, function, function.evolve(tags=TAGS.merged(function.tags, request["Tags"])))
    return {}


def untag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """UntagResource; keys that are not there are no error."""
    function = require_function(call, request, unit)
    _save(unit, function, function.evolve(tags=TAGS.without(function.tags, request["TagKeys"])))
    return {}


def put_function_concurrency(call: Call, request: Request, unit: Unit) -> Answer:
    """PutFunctionConcurrency: at 0 the function is not invoked; other numbers are kept, the pool's size is the limit."""
    function = require_function(call, request, unit)
    wanted = request["ReservedConcurrentExecutions"]
    _save(unit, function, function.evolve(concurrency=wanted))
    return {"ReservedConcurrentExecutions": wanted}


def get_function_concurrency(call: Call, request: Request, unit: Unit) -> Answer:
    """GetFunctionConcurrency."""
    return {"ReservedConcurrentExecutions": require_function(call, request, unit).concurrency}


def delete_function_concurrency(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteFunctionConcurrency."""
    function = require_function(call, request, unit)
    _save(unit, function, function.evolve(concurrency=None))
    return {}


def get_function_code_signing_config(call: Call, request: Request, unit: Unit) -> Answer:
    """GetFunctionCodeSigningConfig: no function has one."""
    return _code_signing(require_function(call, request, unit).name)


def get_function_event_invoke_config(call: Call, request: Request, unit: Unit) -> Answer:
    """GetFunctionEventInvokeConfig: no function has one; what holds is Lambda's default."""
    function = require_function(call, request, unit)
    raise ResourceNotFoundException(f"The function {function.arn}:{LATEST} doesn't have an EventInvokeConfig")


def get_function_recursion_config(call: Call, request: Request, unit: Unit) -> Answer:
    """GetFunctionRecursionConfig: loops are bounded by the pool alone."""
    require_function(call, request, unit)
    return dict(_RECURSION)


def get_runtime_management_config(call: Call, request: Request, unit: Unit) -> Answer:
    """GetRuntimeManagementConfig: runtimes are the machine's own programs."""
    function, version = require_version(call, request, unit)
    return _runtime_management(f"{function.arn}:{version.version}")


def get_account_settings(call: Call, _request: Request, unit: Unit) -> Answer:
    """GetAccountSettings: the quotas that hold here, and what is used."""
    functions = store.functions_of(unit, call.account_id, call.region)
    sizes = [version.code_size for one in functions for version in store.versions_of(unit, one)]
    return {
        "AccountLimit": {"ConcurrentExecutions": CONCURRENCY, "UnreservedConcurrentExecutions": CONCURRENCY},
        "AccountUsage": {"TotalCodeSize": sum(sizes), "FunctionCount": len(functions)},
    }


def _code_signing(name: str) -> Answer:
    return {"FunctionName": name, "CodeSigningConfigArn": ""}


def _runtime_management(arn: str) -> Answer:
    return {"UpdateRuntimeOn": "Auto", "FunctionArn": arn}


def _by_version(call: Call, request: Request) -> bool:
    return named(call, request).qualifier is not None


def _save(unit: Unit, before: OwnFunction, after: OwnFunction) -> None:
    store.FUNCTIONS.replace(unit, before, after)


ACTIONS = (
    Action(
        name="ListEventSourceMappings",
        handler=partial(list_nothing, "EventSourceMappings"),
        subject=no_resource,
        mutates=False,
    ),
    Action(
        name="ListLayerVersions",
        handler=partial(list_nothing, "LayerVersions"),
        subject=no_resource,
        mutates=False,
    ),
    Action(name="ListLayers", handler=partial(list_nothing, "Layers"), subject=no_resource, mutates=False),
    Action(name="GetFunction", handler=get_function, subject=function_subject, mutates=False),
    Action(
        name="GetFunctionConfiguration",
        handler=get_function_configuration,
        subject=function_subject,
        mutates=False,
    ),
    Action(name="ListFunctions", handler=list_functions, subject=no_resource, mutates=False),
    Action(
        name="ListTags",
        handler=or_hosted(list_tags, lambda _: {"Tags": {}}),
        subject=function_subject,
        mutates=False,
    ),
    Action(name="TagResource", handler=tag_resource, subject=function_subject, mutates=True),
    Action(name="UntagResource", handler=untag_resource, subject=function_subject, mutates=True),
    Action(
        name="PutFunctionConcurrency",
        handler=put_function_concurrency,
        subject=function_subject,
        mutates=True,
    ),
    Action(
        name="GetFunctionConcurrency",
        handler=or_hosted(get_function_concurrency, lambda _: {}),
        subject=function_subject,
        mutates=False,
    ),
    Action(
        name="DeleteFunctionConcurrency",
        handler=delete_function_concurrency,
        subject=function_subject,
        mutates=True,
    ),
    Action(
        name="GetFunctionCodeSigningConfig",
        handler=or_hosted(
            get_function_code_signing_config, lambda hosted: _code_signing(hosted["FunctionName"])
        ),
        subject=function_subject,
        mutates=False,
    ),
    Action(
        name="GetFunctionEventInvokeConfig",
        handler=get_function_event_invoke_config,
        subject=function_subject,
        mutates=False,
    ),
    Action(
        name="GetFunctionRecursionConfig",
        handler=or_hosted(get_function_recursion_config, lambda _: dict(_RECURSION)),
        subject=function_subject,
        mutates=False,
    ),
    Action(
        name="GetRuntimeManagementConfig",
        handler=or_hosted(
            get_runtime_management_config,
            lambda hosted: _runtime_management(as_version(hosted)["FunctionArn"]),
        ),
        subject=function_subject,
        mutates=False,
    ),
    Action(name="GetAccountSettings", handler=get_account_settings, subject=no_resource, mutates=False),
)
