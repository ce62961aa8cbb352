"""Tags as condition keys, for every service (IAM user guide, "Controlling access to AWS resources using tags").

Condition keys are compared without regard to case, and the tag's key is a part of them. Tags whose keys differ in case alone
are one condition key with several values: a Deny holds where any of them matches, an Allow where all do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Pairs = Iterable[tuple[str, str]]
"""Keys with values, in the order of the request; a key may come more than once."""


def tag_keys(prefix: str, tags: Mapping[str, str] | Pairs) -> dict[str, list[str]]:
    """Return the condition keys of tags, such as `aws:resourcetag/team`; `prefix` is in lower case."""
    keys: dict[str, list[str]] = {}
    for key, value in tags.items() if isinstance(tags, Mapping) else tags:
        keys.setdefault(prefix + key.lower(), []).append(value)
    return keys


def request_tag_keys(
    given: Mapping[str, str] | Pairs, taken: Sequence[str] = (), *prefixes: str
) -> dict[str, Sequence[str]]:
    """Return `aws:requesttag/…` of the tags that a request gives, and `aws:tagkeys` of these and those that it takes away.

    `prefixes` are further names of `aws:requesttag/`, such as `rds:req-tag/`. Without tags there are no keys.
    """
    pairs = list(given.items() if isinstance(given, Mapping) else given)
    found: dict[str, Sequence[str]] = {}
    for prefix in ("aws:requesttag/", *prefixes):
        found |= tag_keys(prefix, pairs)
    if pairs or taken:
        found["aws:tagkeys"] = [*(key for key, _ in pairs), *taken]
    return found
