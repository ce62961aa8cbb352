"""The master credential: the secret that `masterarn` names, and when it may be used on behalf of another secret."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from turnlock.rotators.endpoint import Stage
from turnlock.rotators.engines.engine import (
    Account,
    C,
    Credential,
    DatabaseFailed,
    Engine,
    LoginFailed,
    NoWayIn,
    Unreachable,
    WaryEngine,
    credential_of,
)
from turnlock.rotators.registry import lacks_location, locate, rds_client
from turnlock.rotators.strategies.rotation import LOGIN_TIMEOUT, Candidate, Rotation, told


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A version that logged in just now: only for somebody who holds a valid credential is the master's used."""

    candidate: Candidate
    credential: Credential
    account: Account
    """The server's own name for who logged in."""
    strangers: Mapping[str, str]
    """What would run in the database when a master user logs in, to the user it belongs to."""


def master_arn(secret: Mapping[str, Any]) -> str:
    """Return the master secret's ARN; KeyError when the secret names none."""
    arn = secret.get("masterarn")
    if not isinstance(arn, str) or not arn:
        raise KeyError("masterarn is missing from the secret's JSON")
    return arn


def proof_to_change(rotation: Rotation, current: Mapping[str, Any], target: Candidate) -> Proof | None:
    """Log in with the version that readers use (for a version to be restored: the one before) and say who that is.

    None when the database accepts the target already. NoWayIn when it accepts neither: the master's rights are lent to nobody
    who cannot log in, or the writer of a secret could have any user's password changed (the confused deputy; AWS's functions
    check the same). What is most likely right comes first, and the target is not tried where a refused login counts towards
    a lock of the account: to set its password once more costs nothing.
    """
    try:
        proof = prove(rotation, rotation.ways_in(current)[0])
    except NoWayIn as failure:
        words = already_valid(rotation, target)
        if words is None:
            return None
        raise NoWayIn(f"{str(failure).removesuffix('.')}; {words}.") from None
    if proof.account.locks_after is None and already_valid(rotation, target) is None:
        return None
    return proof


def prove(rotation: Rotation, candidate: Candidate) -> Proof:
    """Log in with one version and say who that is; NoWayIn when it is not let in."""
    words = f"{candidate.name} absent"
    if candidate.credential is not None:
        try:
            connection = rotation.engine.connect(candidate.credential, LOGIN_TIMEOUT)
        except LoginFailed as failure:
            words = told(candidate.name, failure)
        else:
            with closing(connection):
                return Proof(
                    candidate=candidate,
                    credential=candidate.credential,
                    account=rotation.engine.account(connection),
                    strangers=strangers(rotation.engine, connection),
                )
    raise NoWayIn(f"Unable to log in to the database: {words}.")


def master_credential(rotation: Rotation, secret: Mapping[str, Any], proof: Proof) -> Credential:
    """Return the master's credential for the database that `proof` logged in to.

    ValueError when the master secret is for another host, or says no host: the master's password goes only where its own
    secret sends it, or, for a secret that RDS manages, where RDS's registry does. KeyError as `credential_of`.
    """
    endpoint = rotation.endpoint.of(master_arn(secret))
    value = endpoint.value(Stage.CURRENT)
    if value is None:
        raise ValueError("The master secret has no AWSCURRENT value.")
    if lacks_location(value):
        value |= locate(endpoint.describe().tags, rds_client()).members
    try:
        master = credential_of(value, rotation.engine)
    except (KeyError, ValueError) as error:
        raise type(error)(f"In the master secret: {error.args[0]}") from None
    if not same_server(master, proof.credential):
        raise ValueError("The master secret is for another host than the secret.")
    return replace(master, dbname=proof.credential.dbname)


def same_server(master: Credential, other: Credential) -> bool:
    """Tell whether two credentials are for one server."""
    return (master.host.lower(), master.port) == (other.host.lower(), other.port)


def connect_as_master(rotation: Rotation, secret: Mapping[str, Any], proof: Proof) -> Any:
    """Log in as the master; NoWayIn with the database's words when it is not let in.

    DatabaseFailed, before that, where the database would run code of others with the master's rights.
    """
    credential = master_credential(rotation, secret, proof)
    for thing, owner in proof.strangers.items():
        if owner != credential.username:
            raise DatabaseFailed(
                f"The {thing} would run a function of {owner} with the master user's rights."
            )
    try:
        return rotation.engine.connect(credential, LOGIN_TIMEOUT)
    except LoginFailed as failure:
        raise NoWayIn(f"Unable to log in to the database: {told('master', failure)}.") from None


def strangers(engine: Engine[C], connection: C) -> Mapping[str, str]:
    """Return what `WaryEngine.strangers` says, or nothing where no code of others runs."""
    return engine.strangers(connection) if isinstance(engine, WaryEngine) else {}


def already_valid(rotation: Rotation, target: Candidate) -> str | None:
    """Return None when the database accepts the target already, else its words; NoWayIn when it is unreachable."""
    assert target.credential is not None
    try:
        rotation.engine.connect(target.credential, LOGIN_TIMEOUT).close()
    except LoginFailed as failure:
        words = told(target.name, failure)
        if isinstance(failure, Unreachable):
            raise NoWayIn(f"Unable to log in to the database: {words}.") from None
        return words
    return None
