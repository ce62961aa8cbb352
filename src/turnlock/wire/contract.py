"""A service's model, compiled: what its operations take and give, and which errors they know.

The models are the ones that botocore ships. The directories where a user can lay changed models are not looked at: what
is demanded of a request, and what is kept out of the trail, must not hang on a file in somebody's home.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

from turnlock.errors import ConfigurationError
from turnlock.wire.constraints import refuse
from turnlock.wire.shapes import Codec, ShapeCompiler

_NOTHING = StructureShape("Nothing", {"type": "structure", "members": {}})
"""Stands for the input or output of operations that have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a service."""

    name: str
    model: OperationModel = field(repr=False)
    """botocore's model of it, for protocols that must walk its shapes."""
    parse: Callable[[object], dict[str, Any]] = field(repr=False)
    """Document → request: typed, validated, without nulls and unknown members.

    Raises SerializationException for wrong types, else one ValidationException for everything else that is wrong.
    """
    serialise: Callable[[Mapping[str, Any]], dict[str, Any]] = field(repr=False)
    """Answer → what JSON can hold, without None members; raises AnswerMismatch when it does not fit the model."""
    redact_request: Callable[[Mapping[str, Any]], dict[str, Any]] = field(repr=False)
    """Request → requestParameters of the trail record: camelCase names, nothing sensitive, no bytes."""
    redact_answer: Callable[[Mapping[str, Any]], dict[str, Any]] = field(repr=False)
    """Answer → responseElements of the trail record, likewise."""
    is_plain: bool
    """True when every member of a request is a scalar that may be shown: what a body says may be kept in memory, and shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorShape:
    """One error that the model knows."""

    name: str
    """The shape's name, such as `NoSuchEntityException`; query services often have another code on the wire."""
    code: str
    status: int
    """The HTTP status: the model's own, else 500 for faults and 400 for the rest (docs/aws-behaviour.md#http-statuses)."""
    message_member: str | None
    """How the model spells the member that carries the message, `Message` or `message`; None where it names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One service, compiled."""

    service: str
    """The name of its model, such as `secretsmanager`."""
    signing_name: str
    """The service in the SigV4 scope."""
    protocol: str
    """The model's protocol: `json`, `query` or `rest-json`."""
    target_prefix: str
    """What stands before the dot in X-Amz-Target; empty for protocols without that header."""
    json_version: str
    """`1.0` or `1.1`; empty for protocols without it."""
    api_version: str
    """The date of the API, such as `2011-06-15`: the Version of the query protocol."""
    xml_namespace: str | None
    """The namespace of XML answers; None for protocols without it."""
    models: Callable[[], Iterable[OperationModel]] = field(repr=False)
    """Return botocore's models of all operations: what a protocol needs to tell them apart."""
    operations: Mapping[str, Operation] = field(repr=False)
    errors: Mapping[str, ErrorShape] = field(repr=False)
    """The modelled errors by their code on the wire."""

    @classmethod
    def load(cls, service: str) -> Contract:
        """Return the contract of `service`, compiled once per process; ConfigurationError when there is no such model."""
        return _load(service)

    def error_status(self, code: str) -> int | None:
        """Return the HTTP status of the modelled error `code`; None when the model does not know it."""
        shape = self.errors.get(code)
        return None if shape is None else shape.status


@cache
def _load(service: str) -> Contract:
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    try:
        description = loader.load_service_model(service, "service-2")
    except BotoCoreError as error:
        raise ConfigurationError(f"botocore has no model of the service {service!r}.") from error
    model = ServiceModel(description, service)
    return Contract(
        service=service,
        signing_name=model.signing_name,
        protocol=model.metadata["protocol"],
        target_prefix=model.metadata.get("targetPrefix", ""),
        json_version=model.metadata.get("jsonVersion", ""),
        api_version=model.metadata["apiVersion"],
        xml_namespace=model.metadata.get("xmlNamespace"),
        models=lambda: map(model.operation_model, model.operation_names),
        operations=_Operations(model),
        errors=_errors(model.error_shapes, description["shapes"]),
    )


class _Operations(Mapping[str, Operation]):
    """Operations by name, each compiled when it is first asked for: of a large model a server needs a small part."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._compiler = ShapeCompiler()
        self._compiled: dict[str, Operation] = {}

    def __getitem__(self, name: str) -> Operation:
        found = self._compiled.get(name)
        if found is None:
            if name not in self._model.operation_names:
                raise KeyError(name)
            found = self._compiled[name] = _operation(self._model.operation_model(name), self._compiler)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._model.operation_names)

    def __len__(self) -> int:
        return len(self._model.operation_names)


def _errors(
    shapes: Iterable[Shape], descriptions: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, ErrorShape]:
    """Return the modelled errors by code. Whether one is a fault is told by its raw description only."""
    errors = (
        _error(shape, fault=descriptions[shape.name].get("fault", False))
        for shape in shapes
        if isinstance(shape, StructureShape)
    )
    return MappingProxyType({error.code: error for error in errors})


def _error(shape: StructureShape, *, fault: bool) -> ErrorShape:
    declared = shape.metadata.get("error", {})
    return ErrorShape(
        name=shape.name,
        code=declared.get("code", shape.name),
        status=declared.get("httpStatusCode", 500 if fault else 400),
        message_member=next((name for name in shape.members if name.lower() == "message"), None),
    )


def _operation(model: OperationModel, compiler: ShapeCompiler) -> Operation:
    asked = model.input_shape or _NOTHING
    request = compiler.codec(asked)
    answer = compiler.codec(model.output_shape or _NOTHING)
    return Operation(
        name=model.name,
        model=model,
        parse=_parser(request),
        serialise=lambda value: answer.serialise(value, ""),
        redact_request=request.redact,
        redact_answer=answer.redact,
        is_plain=all(_is_plain(compiler.codec(member)) for member in asked.members.values()),
    )


def _is_plain(codec: Codec) -> bool:
    return codec.scalar is not None and not codec.hidden


def _parser(codec: Codec) -> Callable[[object], dict[str, Any]]:
    def parse(document: object) -> dict[str, Any]:
        broken: list[str] = []
        request: dict[str, Any] = codec.parse(document, "", broken)
        refuse(broken)
        return request

    return parse
