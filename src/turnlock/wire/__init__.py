"""AWS's wire: requests in, responses out, signatures verified; everything by botocore's public service models.

What it does. `read_claim`, `signing_key` and `verify` prove who signed a request. `Contract` compiles a service's model into
functions that parse and validate requests, serialise answers and leave out what a trail record must not show. `JsonProtocol`,
`QueryProtocol` and `RestJsonProtocol` read and write AWS's protocols over them; `PROTOCOLS` says which model is for which. `as_api_error` is where any exception becomes what a caller may learn.

What it trusts. The models that botocore ships, and the server that made the HttpRequest: header names in lower case, values
in Latin-1, the path decoded once, the query untouched. Nothing that a caller sent. Until `verify` returned, a claim is only words.

What it must never do. Look up secrets or permissions, keep anything of a request, or let a sensitive value into an error, a
repr or a redacted record.

How other protocols come in. A sibling of `json_protocol` implements `WireProtocol` and leaves the shapes alone. It turns its
own spelling (`query_protocol`'s flat parameters, rest-json's path, query and headers) into the same document that JSON gives
(dicts by the members' wire names, lists, text, numbers, booleans; bytes and aware datetimes are taken too) by walking
`operation.model.input_shape`, and hands that to `operation.parse`. An XML answer is written by walking
`operation.model.output_shape`. Its faults take code and status from the error and the contract as `JsonProtocol.fault` does,
or from a table of its own as `QueryProtocol.fault` does. Then it gets its row in `PROTOCOLS`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from turnlock.wire.contract import Contract, ErrorShape, Operation
from turnlock.wire.http import Headers, HttpRequest, HttpResponse
from turnlock.wire.json_protocol import MAX_DEPTH, JsonProtocol
from turnlock.wire.protocols import WireProtocol, as_api_error
from turnlock.wire.query_protocol import QueryProtocol
from turnlock.wire.rest_json_protocol import RestJsonProtocol
from turnlock.wire.sigv4 import (
    ALGORITHM,
    MAX_PRESIGNED_SECONDS,
    MAX_SKEW,
    Claim,
    read_claim,
    signing_key,
    verify,
)
from turnlock.wire.unserved import refusal as unserved_refusal

__all__ = [
    "ALGORITHM",
    "MAX_DEPTH",
    "MAX_PRESIGNED_SECONDS",
    "MAX_SKEW",
    "PROTOCOLS",
    "Claim",
    "Contract",
    "ErrorShape",
    "Headers",
    "HttpRequest",
    "HttpResponse",
    "JsonProtocol",
    "Operation",
    "QueryProtocol",
    "RestJsonProtocol",
    "WireProtocol",
    "as_api_error",
    "read_claim",
    "signing_key",
    "unserved_refusal",
    "verify",
]

PROTOCOLS: Mapping[str, Callable[[Contract], WireProtocol]] = MappingProxyType(
    {"json": JsonProtocol, "query": QueryProtocol, "rest-json": RestJsonProtocol}
)
"""By a contract's `protocol`: what reads and writes it."""
