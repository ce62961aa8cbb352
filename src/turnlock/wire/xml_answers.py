"""XML as AWS's query services answer it, written by walking a shape. Nothing here reads XML.

The names are the model's; what callers sent stands in text only, never in a name. Characters that XML 1.0 cannot hold
become U+FFFD; a carriage return, which readers of XML would turn into a line feed, is written as a reference.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from botocore.model import ListShape, MapShape, Shape, StructureShape

from turnlock.wire.scalars import to_epoch, to_iso8601, to_rfc822

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no Char of XML 1.0, section 2.2."""


def element(name: str, *content: str, namespace: str | None = None) -> str:
    """Return an element with `content`, which is XML already, and a default namespace where one is given."""
    attribute = "" if namespace is None else f" xmlns={quoteattr(namespace)}"
    return f"<{name}{attribute}>{''.join(content)}</{name}>"


def text(value: str) -> str:
    """Return `value` as XML text."""
    return escape(_NOT_IN_XML.sub("\ufffd", value), {"\r": "&#13;"})


def members(shape: StructureShape, value: Mapping[str, Any]) -> str:
    """Return one element for each member of `value` that is not None; `value` must fit `shape` (`Operation.serialise`)."""
    return _joined(
        _elements(member.serialization.get("name", name), member, value[name])
        for name, member in shape.members.items()
        if value.get(name) is not None
    )


def _elements(name: str, shape: Shape, value: Any) -> str:
    """Return the element called `name` that holds `value`; a flattened list or map is as many elements as it has entries."""
    if isinstance(shape, StructureShape):
        return element(name, members(shape, value))
    if isinstance(shape, ListShape):
        return _list(name, shape, value)
    if isinstance(shape, MapShape):
        return _map(name, shape, value)
    return element(name, _SCALARS.get(shape.type_name, _plain)(shape, value))


def _list(name: str, shape: ListShape, value: Iterable[Any]) -> str:
    flattened = shape.serialization.get("flattened", False)
    item = shape.member.serialization.get("name", name if flattened else "member")
    items = _joined(_elements(item, shape.member, each) for each in value)
    return items if flattened else element(name, items)


def _map(name: str, shape: MapShape, value: Mapping[str, Any]) -> str:
    flattened = shape.serialization.get("flattened", False)
    key = shape.key.serialization.get("name", "key")
    item = shape.value.serialization.get("name", "value")
    entries = _joined(
        element(
            name if flattened else "entry",
            _elements(key, shape.key, each),
            _elements(item, shape.value, content),
        )
        for each, content in value.items()
        if content is not None
    )
    return entries if flattened else element(name, entries)


def _joined(parts: Iterable[str]) -> str:
    return "".join(parts)


def _plain(_shape: Shape, value: object) -> str:
    return text(str(value))


def _boolean(_shape: Shape, value: object) -> str:
    return "true" if value else "false"


def _blob(_shape: Shape, value: bytes) -> str:
    return base64.b64encode(value).decode()


def _timestamp(shape: Shape, value: Any) -> str:
    return str(_MOMENTS[shape.serialization.get("timestampFormat", "iso8601")](value))


_MOMENTS: Mapping[str, Callable[[Any], str | float]] = MappingProxyType(
    {"iso8601": to_iso8601, "rfc822": to_rfc822, "unixTimestamp": to_epoch}
)
_SCALARS: Mapping[str, Callable[[Shape, Any], str]] = MappingProxyType(
    {"blob": _blob, "boolean": _boolean, "timestamp": _timestamp}
)
