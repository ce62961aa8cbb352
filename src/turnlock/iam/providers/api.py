"""OpenID Connect providers: which issuers of web identity tokens an account trusts."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.call import Call
from turnlock.errors import (
    EntityAlreadyExistsException,
    InvalidInputException,
    LimitExceededException,
    NoSuchEntityException,
)
from turnlock.iam.lookup import PAGES, RULES, conditions, tags_in
from turnlock.iam.providers.store import PROVIDERS, KeysWanted, OidcProvider, find_provider, providers_of
from turnlock.iam.shown import tag_members
from turnlock.storage import Unit

MOST_CLIENTS: Final = 100
"""Client ids of one provider (IAM API reference, CreateOpenIDConnectProvider)."""
MOST_THUMBPRINTS: Final = 5
_HOST_AND_PATH: Final = re.compile(r"[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_THUMBPRINT: Final = re.compile(r"[0-9A-Fa-f]{40}")


def create_provider(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateOpenIDConnectProvider: its keys are fetched as soon as it is committed.

    Raises InvalidInputException for an address that is not https or has a query, EntityAlreadyExistsException.
    """
    provider = OidcProvider(
        account_id=call.account_id,
        url=_url(request["Url"]),
        client_ids=tuple(dict.fromkeys(request.get("ClientIDList", ()))),
        thumbprints=_thumbprints(request),
        created_at=unit.now,
        tags=tags_in(request),
    )
    _check_clients(provider)
    taken = EntityAlreadyExistsException(f"Provider with url https://{provider.url} already exists.")
    PROVIDERS.insert(unit, provider, taken=taken)
    unit.announce(KeysWanted(account_id=provider.account_id, url=provider.url))
    return {
        "OpenIDConnectProviderArn": provider.arn,
        "Tags": tag_members(provider.tags) or None,
    }


def get_provider(call: Call, request: Request, unit: Unit) -> Answer:
    """GetOpenIDConnectProvider."""
    provider = _provider(call, request, unit)
    return {
        "Url": provider.url,
        "ClientIDList": list(provider.client_ids),
        "ThumbprintList": list(provider.thumbprints),
        "CreateDate": provider.created_at,
        "Tags": tag_members(provider.tags),
    }


def list_providers(call: Call, _request: Request, unit: Unit) -> Answer:
    """ListOpenIDConnectProviders: the ARNs."""
    return {"OpenIDConnectProviderList": [{"Arn": one.arn} for one in providers_of(unit, call.account_id)]}


def delete_provider(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteOpenIDConnectProvider: from the commit on its tokens open nothing; one that is gone is no error."""
    provider = find_provider(unit, call.account_id, _named(request))
    if provider is not None:
        PROVIDERS.delete(unit, provider)
    return {}


def add_client(call: Call, request: Request, unit: Unit) -> Answer:
    """AddClientIDToOpenIDConnectProvider; one that is there is no error."""
    provider = _provider(call, request, unit)
    clients = tuple(dict.fromkeys((*provider.client_ids, request["ClientID"])))
    _save(unit, provider, client_ids=clients)
    return {}


def remove_client(call: Call, request: Request, unit: Unit) -> Answer:
    """RemoveClientIDFromOpenIDConnectProvider; one that is not there is no error."""
    provider = _provider(call, request, unit)
    clients = tuple(one for one in provider.client_ids if one != request["ClientID"])
    _save(unit, provider, client_ids=clients)
    return {}


def update_thumbprints(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateOpenIDConnectProviderThumbprint: this list instead of the one that was there."""
    _save(unit, _provider(call, request, unit), thumbprints=_thumbprints(request))
    return {}


def tag_provider(call: Call, request: Request, unit: Unit) -> Answer:
    """TagOpenIDConnectProvider."""
    provider = _provider(call, request, unit)
    _save(unit, provider, tags=tags_in(request, provider.tags))
    return {}


def untag_provider(call: Call, request: Request, unit: Unit) -> Answer:
    """UntagOpenIDConnectProvider."""
    provider = _provider(call, request, unit)
    _save(unit, provider, tags=RULES.without(provider.tags, request["TagKeys"]))
    return {}


def list_provider_tags(call: Call, request: Request, unit: Unit) -> Answer:
    """ListOpenIDConnectProviderTags."""
    tags = tag_members(_provider(call, request, unit).tags)
    return PAGES.page(request, tags, lambda one: one["Key"], "Tags", dict)


def _save(unit: Unit, provider: OidcProvider, **changes: Any) -> None:
    changed = provider.evolve(**changes)
    _check_clients(changed)
    PROVIDERS.replace(unit, provider, changed)


def _check_clients(provider: OidcProvider) -> None:
    if len(provider.client_ids) > MOST_CLIENTS:
        raise LimitExceededException(
            f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {MOST_CLIENTS}"
        )


def _url(text: str) -> str:
    """Return an issuer's address without its scheme. Raises InvalidInputException unless it is https, host and path."""
    scheme, _, rest = text.partition("://")
    if scheme != "https" or not _HOST_AND_PATH.fullmatch(rest):
        raise InvalidInputException("Invalid Open ID Connect Provider URL")
    host, slash, path = rest.partition("/")
    return f"{host}{slash}{path}" if path else host


def _thumbprints(request: Request) -> tuple[str, ...]:
    given = request.get("ThumbprintList", ())
    if len(given) > MOST_THUMBPRINTS:
        raise LimitExceededException(
            f"Cannot exceed quota for ThumbprintsPerOpenIdConnectProvider: {MOST_THUMBPRINTS}"
        )
    if not all(_THUMBPRINT.fullmatch(one) for one in given):
        raise InvalidInputException("A thumbprint is 40 hexadecimal digits.")
    return tuple(dict.fromkeys(one.lower() for one in given))


def _named(request: Request) -> str:
    return str(request["OpenIDConnectProviderArn"]).partition(":oidc-provider/")[2]


def _provider(call: Call, request: Request, unit: Unit) -> OidcProvider:
    provider = find_provider(unit, call.account_id, _named(request))
    if provider is None or provider.arn != request["OpenIDConnectProviderArn"]:
        raise NoSuchEntityException(
            f"OpenIDConnect Provider not found for arn {request['OpenIDConnectProviderArn']}"
        )
    return provider


def _subject(call: Call, request: Request, unit: Unit) -> Subject:
    arn = request["OpenIDConnectProviderArn"]
    provider = find_provider(unit, call.account_id, _named(request))
    tags = {} if provider is None else provider.tags
    return Subject(arn=arn, named=arn, conditions=lambda: conditions(request, tags))


def _new_subject(call: Call, request: Request, _unit: Unit) -> Subject:
    arn = f"arn:aws:iam::{call.account_id}:oidc-provider/{request['Url'].removeprefix('https://')}"
    return Subject(arn=arn, named=arn, conditions=lambda: conditions(request))


_NOUN: Final = "OpenIDConnectProvider"
_of_provider = partial(Action, subject=_subject)

ACTIONS: Final = (
    _of_provider(name=f"AddClientIDTo{_NOUN}", handler=add_client, mutates=True),
    Action(name=f"Create{_NOUN}", handler=create_provider, subject=_new_subject, mutates=True),
    _of_provider(name=f"Delete{_NOUN}", handler=delete_provider, mutates=True),
    _of_provider(name=f"Get{_NOUN}", handler=get_provider, mutates=False),
    _of_provider(name=f"List{_NOUN}Tags", handler=list_provider_tags, mutates=False),
    Action(name=f"List{_NOUN}s", handler=list_providers, subject=no_resource, mutates=False),
    _of_provider(name=f"RemoveClientIDFrom{_NOUN}", handler=remove_client, mutates=True),
    _of_provider(name=f"Tag{_NOUN}", handler=tag_provider, mutates=True),
    _of_provider(name=f"Untag{_NOUN}", handler=untag_provider, mutates=True),
    _of_provider(name=f"Update{_NOUN}Thumbprint", handler=update_thumbprints, mutates=True),
)
