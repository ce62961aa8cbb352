"""What CreateFunction and UpdateFunctionConfiguration set: checked, and laid over what there was."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any, Final

from turnlock import iam
from turnlock.core.action import Request
from turnlock.core.call import Call
from turnlock.errors import InvalidParameterValueException
from turnlock.functions.api.answers import sealed_environment
from turnlock.functions.api.model import FunctionVersion, OwnFunction
from turnlock.functions.code import runtimes
from turnlock.storage import Unit

LONGEST_TIMEOUT: Final = 900
LARGEST_ENVIRONMENT: Final = 4096
"""Bytes of all names and values (Lambda quotas)."""
SHOWN: Final = ("VpcConfig", "DeadLetterConfig", "TracingConfig", "Architectures")
"""Kept and shown, without effect: functions run on the server's own machine and in its network."""
NOT_SERVED: Final[Mapping[str, str]] = {
    "Layers": "put what a layer holds into the package",
    "FileSystemConfigs": "there is no EFS",
    "ImageConfig": "container images are not run",
    "KMSKeyArn": "variables are sealed under the account's own key",
    "CodeSigningConfigArn": "packages are not signed",
    "CapacityProviderConfig": "functions run on this machine",
    "DurableConfig": "durable executions are not served",
    "TenancyConfig": "tenants are not served",
    "RuntimeConfig": "runtimes have no settings here",
    "AcceleratorConfig": "there are no accelerators",
}
"""Settings that change what a function is, with the reason why they are refused."""
LONGEST_LOG_GROUP: Final = 128
"""Characters; CloudWatch Logs itself would allow 512."""
_LAMBDA: Final = "lambda.amazonaws.com"
MACHINE: Final = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def changed(
    call: Call, request: Request, unit: Unit, function: OwnFunction, version: FunctionVersion
) -> FunctionVersion:
    """Return the version with what the request sets. Raises InvalidParameterValueException, AccessDeniedException."""
    refuse_not_served(request)
    check_architectures(request, request.get("Runtime", version.runtime))
    if "Runtime" in request:
        try:
            runtimes.check(request["Runtime"])
        except runtimes.NoRuntime as error:
            raise InvalidParameterValueException(str(error)) from None
    if "Role" in request:
        _check_role(call, unit, request["Role"])
    if request.get("Timeout", 0) > LONGEST_TIMEOUT:
        raise InvalidParameterValueException(f"Timeout must be at most {LONGEST_TIMEOUT} seconds.")
    plain = {
        "Runtime": "runtime",
        "Role": "role",
        "Handler": "handler",
        "Description": "description",
        "Timeout": "timeout",
        "MemorySize": "memory",
    }
    changes: dict[str, Any] = {field: request[name] for name, field in plain.items() if name in request}
    if "EphemeralStorage" in request:
        changes["disk"] = request["EphemeralStorage"]["Size"]
    if "Environment" in request:
        variables = request["Environment"].get("Variables", {})
        _check_environment(variables)
        changes["sealed_environment"] = sealed_environment(unit, function, variables)
    if "LoggingConfig" in request:
        changes["logging"] = _logging(version, request["LoggingConfig"])
    shown = {name: request[name] for name in SHOWN if name in request}
    return version.evolve(**changes, shown={**version.shown, **shown})


def _logging(version: FunctionVersion, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the LoggingConfig with what is wanted of it. Raises InvalidParameterValueException for levels without JSON.

    (Lambda Developer Guide, "Configuring advanced logging controls": levels are of JSON logs alone.)
    """
    if len(wanted.get("LogGroup", "")) > LONGEST_LOG_GROUP:
        raise InvalidParameterValueException(
            f"LogGroup: a name of more than {LONGEST_LOG_GROUP} characters is not supported."
        )
    logging = {**version.logging, **wanted}
    if logging.get("LogFormat", "Text") == "Text":
        if "ApplicationLogLevel" in wanted or "SystemLogLevel" in wanted:
            raise InvalidParameterValueException(
                'Log Level is not supported when LogFormat is set to "Text". Remove log level from your request or'
                ' change the LogFormat to "JSON" and try again.'
            )
        return {name: value for name, value in logging.items() if not name.endswith("Level")}
    return {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **logging}


def refuse_not_served(request: Request) -> None:
    """Raise InvalidParameterValueException for a setting that would make another function of it than can be run."""
    for name, reason in NOT_SERVED.items():
        if request.get(name):
            raise InvalidParameterValueException(f"{name} is not supported: {reason}.")
    if request.get("PackageType", "Zip") != "Zip":
        raise InvalidParameterValueException("PackageType must be Zip: container images are not run.")
    if request.get("SnapStart", {}).get("ApplyOn", "None") != "None":
        raise InvalidParameterValueException("SnapStart is not supported.")


def check_architectures(request: Request, runtime: str) -> None:
    """Raise InvalidParameterValueException for an architecture that this machine is not, unless the runtime is interpreted.

    What Python and JavaScript mean is the same on both, and x86_64 is what a request means that says nothing.
    """
    here = MACHINE.get(platform.machine())
    wanted = request.get("Architectures", [])
    if any(one != here for one in wanted) and wanted != ["x86_64"] and not runtimes.is_interpreted(runtime):
        raise InvalidParameterValueException(f"Architectures: this machine is {here}.")


def _check_environment(variables: Mapping[str, str]) -> None:
    reserved = sorted(name for name in variables if name in RESERVED or name.startswith("AWS_LAMBDA_"))
    if reserved:
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have"
            f" provided contains reserved keys that are currently not supported for modification. Reserved keys used in"
            f" this request: {', '.join(reserved)}"
        )
    if len(json.dumps(variables).encode()) > LARGEST_ENVIRONMENT:
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have"
            f" provided exceeded the {LARGEST_ENVIRONMENT // 1024}KB limit."
        )


RESERVED: Final = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SECRET_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
"""Names that are the runtime's own (Lambda Developer Guide, "Defined runtime environment variables")."""


def _check_role(call: Call, unit: Unit, role_arn: str) -> None:
    """Raise unless the caller may pass the role to Lambda, and its trust policy lets Lambda assume it."""
    iam.require_pass_role(unit, call, role_arn, _LAMBDA)
    trusts = iam.service_may_assume(unit, role_arn, _LAMBDA, source_account=call.account_id)
    if not trusts:
        raise InvalidParameterValueException("The role defined for the function cannot be assumed by Lambda.")
