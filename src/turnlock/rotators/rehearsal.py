"""The step `rehearse`: what the next rotation would meet, found out by looking and by nothing else.

It logs in with the versions that there are, asks the database who it takes us for and what that user may do, and compares what
it demands of passwords with those that would be made. It stores no version, moves no label, and sends only statements that read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from turnlock.rotators.endpoint import Stage
from turnlock.rotators.engines.engine import (
    C,
    Credential,
    DatabaseFailed,
    Engine,
    LoginFailed,
    NoWayIn,
    Refused,
    Twin,
    credential_of,
)
from turnlock.rotators.passwords import PasswordRules
from turnlock.rotators.strategies.alternating_users import AlternatingUsers
from turnlock.rotators.strategies.master import Proof, connect_as_master, strangers
from turnlock.rotators.strategies.rotation import LOGIN_TIMEOUT, Candidate, Rotation, Strategy, told
from turnlock.rotators.strategies.single_user import SingleUser


class Outcome(Enum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    """The rotation would go through, and somebody should look."""
    PROBLEM = "problem"
    """The rotation would fail."""


class Finding(NamedTuple):
    """One thing that was looked at. The words hold no password."""

    check: str
    outcome: Outcome
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the rotation would do."""

    username: str
    """The user who would get the new password."""
    rules: PasswordRules
    keeps_old: bool
    """The old password would stay valid beside the new one."""
    twin: Twin | None
    """Alternating users: the one whose turn it is (its password is empty)."""


@runtime_checkable
class RehearsingEngine(Engine[C], Protocol[C]):
    """A kind of database that can be asked beforehand."""

    def rehearse(self, connection: C, change: Change, *, by_master: bool) -> Iterable[Finding]:
        """Look whether the session could make the change, by reading alone; DatabaseFailed when it cannot be asked."""
        ...


def rehearse(rotation: Rotation, choose: Callable[[Mapping[str, Any]], Strategy]) -> dict[str, Any]:
    """Rehearse by the strategy that `choose` finds for the secret's value.

    Return {"findings": [{"check", "outcome", "words"}], "would": a sentence}: JSON, to be shown to the operator.
    """
    findings, would = list[Finding](), "Nothing: the rotation would fail before it changes anything."
    try:
        current = rotation.required(Stage.CURRENT)
        credential = credential_of(current, rotation.engine)
        strategy = choose(current)
        change = _change(rotation, strategy, current)
    except (KeyError, ValueError) as error:
        findings.append(Finding("secret", Outcome.PROBLEM, str(error.args[0])))
    else:
        findings.append(Finding("secret", Outcome.OK, f"a credential of {credential.username}"))
        findings += _in_database(rotation, strategy, current, credential, change)
        if all(finding.outcome is not Outcome.PROBLEM for finding in findings):
            would = _sentence(change, by_master=_by_master(strategy, current))
    shown = [{**finding._asdict(), "outcome": finding.outcome.value} for finding in findings]
    return {"findings": shown, "would": would}


def _change(rotation: Rotation, strategy: Strategy, current: Mapping[str, Any]) -> Change:
    """Return what would be done; KeyError or ValueError when the secret or the function's environment does not allow it."""
    following = strategy.next_value(rotation, current)
    return Change(
        username=str(following["username"]),
        rules=PasswordRules.from_environment(os.environ),
        keeps_old=not isinstance(strategy, SingleUser),
        twin=None,
    )


def _by_master(strategy: Strategy, current: Mapping[str, Any]) -> bool:
    return not isinstance(strategy, SingleUser) and "masterarn" in current


def _in_database(
    rotation: Rotation,
    strategy: Strategy,
    current: Mapping[str, Any],
    credential: Credential,
    change: Change,
) -> Iterator[Finding]:
    """Look at the server: as the user itself, then as whoever would make the change."""
    try:
        connection = rotation.engine.connect(credential, LOGIN_TIMEOUT)
    except LoginFailed as failure:
        yield from _refused(rotation, current, failure)
        return
    with closing(connection):
        yield Finding("login", Outcome.OK, "AWSCURRENT logs in")
        yield _encryption(credential)
        try:
            account = rotation.engine.account(connection)
            if not _by_master(strategy, current):
                yield from _asked(rotation.engine, connection, change, by_master=False)
                return
            found = strangers(rotation.engine, connection)
        except DatabaseFailed as failure:
            yield Finding("privileges", Outcome.PROBLEM, str(failure))
            return
    candidate = Candidate(name="current", credential=credential)
    proof = Proof(candidate=candidate, credential=credential, account=account, strangers=found)
    yield from _as_master(rotation, strategy, current, proof, change)


def _refused(rotation: Rotation, current: Mapping[str, Any], failure: LoginFailed) -> Iterator[Finding]:
    """Say why AWSCURRENT does not log in, and whether AWSPREVIOUS does: then a rotation would repair it."""
    words = told("AWSCURRENT", failure)
    previous = rotation.previous(current)
    if isinstance(failure, Refused) and previous.credential is not None:
        try:
            rotation.engine.connect(previous.credential, LOGIN_TIMEOUT).close()
        except LoginFailed as other:
            words += f"; {told('AWSPREVIOUS', other)}"
        else:
            yield Finding("login", Outcome.WARNING, f"{words}; AWSPREVIOUS logs in and would be used")
            return
    yield Finding("login", Outcome.PROBLEM, words)


def _encryption(credential: Credential) -> Finding:
    if credential.tls:
        return Finding("tls", Outcome.OK, "the certificate is verified for the secret's host")
    return Finding("tls", Outcome.WARNING, 'not encrypted: the secret says "ssl": false')


def _as_master(
    rotation: Rotation, strategy: Strategy, current: Mapping[str, Any], proof: Proof, change: Change
) -> Iterator[Finding]:
    try:
        if isinstance(strategy, AlternatingUsers):
            twin = strategy.twin(rotation, current, proof.account, change.username, "")
            change = Change(
                username=change.username, rules=change.rules, keeps_old=change.keeps_old, twin=twin
            )
        connection = connect_as_master(rotation, current, proof)
    except (KeyError, ValueError, NoWayIn) as error:
        yield Finding("master", Outcome.PROBLEM, str(error.args[0]))
        return
    except DatabaseFailed as failure:
        yield Finding("code of others", Outcome.PROBLEM, str(failure))
        return
    with closing(connection):
        yield Finding("master", Outcome.OK, "the master user logs in")
        try:
            yield from _asked(rotation.engine, connection, change, by_master=True)
        except DatabaseFailed as failure:
            yield Finding("privileges", Outcome.PROBLEM, str(failure))


def _asked(engine: Engine[C], connection: C, change: Change, *, by_master: bool) -> Iterable[Finding]:
    if isinstance(engine, RehearsingEngine):
        return engine.rehearse(connection, change, by_master=by_master)
    return [Finding("privileges", Outcome.WARNING, "this kind of database cannot be asked beforehand")]


def _sentence(change: Change, *, by_master: bool) -> str:
    who = "the master user" if by_master else "the user itself"
    rest = "AWSCURRENT's stays valid." if change.keeps_old else "AWSCURRENT's is refused from then on."
    length = change.rules.length
    return f"A password of {length} characters would be given to {change.username} by {who}; {rest}"
