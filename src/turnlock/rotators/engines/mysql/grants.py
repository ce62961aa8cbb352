"""What SHOW GRANTS says of one account of MySQL's family, read into values, and statements made of such values.

A row holds the names of databases, tables, columns, routines and roles that others chose, in the server's own quoting. No row is
sent back: each is split into tokens, read by the grammar below, and what comes of it is quoted anew. A row that does not fit the
grammar is an error. `GRANT PROXY` is not read from here at all: MariaDB writes the names in it unescaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

_TOKEN = re.compile(
    r"\s*(?:(?P<name>`(?:[^`]|``)*`)|(?P<text>'(?:[^'\\]|\\.|'')*')|(?P<word>[A-Za-z0-9_]+)|(?P<mark>[.,()*@<>]))",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)|''", re.DOTALL)
_ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "Z": "\x1a"}
_OBJECTS = frozenset({"TABLE", "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY", "LIBRARY"})
_PROXY = "GRANT PROXY ON "
_OPTION = re.compile(r"\s*(WITH (?:GRANT|ADMIN) OPTION)?")
_ALL = "ALL PRIVILEGES"
_NOTHING = "USAGE"

T = TypeVar("T")

Place = tuple[str, ...]
"""What a right is on: () is everything, (database,), or (database, object). A database alone is a pattern (`%`, `_`)."""

Name = tuple[str, ...]
"""An account's or a role's name: (user, host), or for a role of MariaDB (role,)."""


class UnreadableGrant(ValueError):
    """A row of SHOW GRANTS does not fit the grammar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One privilege on one place."""

    privilege: str
    """In upper case, as the server writes it: `SELECT`, `ALL PRIVILEGES`, `BINLOG ADMIN`."""
    place: Place
    column: str | None = None
    kind: str = ""
    """`FUNCTION`, `PROCEDURE` and so on; empty for tables."""
    option: bool = False
    """It may be handed on."""

    @property
    def words(self) -> str:
        """Return it as a GRANT statement would say it."""
        return f"{_said([self])} ON {_placed(self.kind, self.place)}" + " WITH GRANT OPTION" * self.option


@dataclass(slots=True)
class Grants:
    """All that one account was granted."""

    rights: set[Right] = field(default_factory=set)
    withheld: set[Right] = field(default_factory=set)
    """MySQL's partial revokes: what a privilege on everything does not cover."""
    roles: set[tuple[Name, bool]] = field(default_factory=set)
    """Roles, and whether each may be handed on."""
    proxied: set[tuple[Name, bool]] = field(default_factory=set)
    """Accounts that it may act as (GRANT PROXY), and whether it may let others do so."""
    default_role: Name | None = None
    """MariaDB's."""


def read(rows: Iterable[str], account: Name, *, hands_on: bool) -> Grants:
    """Read the rows about `account`; those about roles and others are left out. UnreadableGrant when a row does not fit.

    `hands_on`: it has GRANT OPTION on `*.*`. MariaDB's row for `*.*` goes on with texts that it does not escape, and is not read
    that far.
    """
    grants, about = Grants(), 0
    for row in rows:
        if not row.startswith(_PROXY):
            about += _Row(row, hands_on=hands_on).into(grants, account)
    if not about:
        raise UnreadableGrant("SHOW GRANTS says nothing of the account")
    return grants


def read_all(rows: Iterable[str]) -> set[Right]:
    """Return the rights in rows about whomever: of a session, its active roles' too."""
    grants = Grants()
    for row in rows:
        if not row.startswith(_PROXY):
            _Row(row, hands_on=" WITH GRANT OPTION" in row).into(grants, None)
    return grants.rights


def words_of(text: str) -> list[str]:
    """Return the bare words of the server's text, without names, texts and marks. UnreadableGrant when it cannot be read."""
    line, words = _Line(text), list[str]()
    while found := line.look():
        words += [found[1]] if found[0] == "word" else []
        line.skip()
    return words


class _Line:
    """Text of the server's, split into tokens as it is read: names and texts (both without their quotes), words and marks."""

    def __init__(self, text: str) -> None:
        self._text = text.rstrip()
        self._at = 0
        self._found: tuple[str, str, int] | None = None

    @property
    def rest(self) -> str:
        """What was not read."""
        return self._text[self._at :]

    def look(self) -> tuple[str, str] | None:
        """Return the next token's kind and value; None at the end."""
        if self._at == len(self._text):
            return None
        if self._found is None:
            found = _TOKEN.match(self._text, self._at)
            if found is None or found.lastgroup is None:
                raise UnreadableGrant("the server's words could not be read")
            self._found = (found.lastgroup, _plain(found.lastgroup, found[found.lastgroup]), found.end())
        return self._found[:2]

    def skip(self) -> None:
        """Go behind the token that was looked at."""
        assert self._found is not None
        self._at, self._found = self._found[2], None


def _plain(kind: str, value: str) -> str:
    if kind == "name":
        return value[1:-1].replace("``", "`")
    if kind == "text":
        return _ESCAPED.sub(lambda one: _ESCAPES.get(one[1], one[1]) if one[1] else "'", value[1:-1])
    return value


class _Row:
    """One row, read from left to right."""

    def __init__(self, row: str, *, hands_on: bool) -> None:
        self._line = _Line(row)
        self._hands_on = hands_on

    def into(self, grants: Grants, account: Name | None) -> bool:
        """Add what the row says of `account` (None: of anybody); False when it is about somebody else."""
        add = self._statement(grants)
        if account not in (None, self._name()):
            return False
        option = _OPTION.fullmatch(self._line.rest)
        add(self._hands_on if option is None else bool(option[1]))
        return True

    def _statement(self, grants: Grants) -> Callable[[bool], None]:
        """Read up to the account's name; return what takes the rest of the row's meaning: whether it may be handed on."""
        verb = self._word("GRANT", "REVOKE", "SET")
        if verb == "SET":
            self._word("DEFAULT")
            self._word("ROLE")
            role = self._name()
            self._word("FOR")
            return lambda _option: setattr(grants, "default_role", role)
        if self._next("name", "text"):
            roles = list(self._listed(self._name))
            self._word("TO")
            return lambda option: grants.roles.update((role, option) for role in roles)
        privileges = [one for several in self._listed(self._privilege) for one in several]
        self._word("ON")
        kind, place = self._object()
        into = grants.rights if self._word("TO", "FROM") == "TO" else grants.withheld
        return lambda option: into.update(
            Right(privilege=privilege, column=column, kind=kind, place=place, option=option)
            for privilege, column in privileges
            if privilege != _NOTHING or option
        )

    def _privilege(self) -> list[tuple[str, str | None]]:
        words = []
        while not self._next("word", value="ON") and self._next("word"):
            words.append(self._take("word"))
        privilege = " ".join(words)
        if not privilege:
            raise UnreadableGrant("a row of SHOW GRANTS names no privilege")
        if not self._next("mark", value="("):
            return [(privilege, None)]
        self._take("mark")
        columns = list(self._listed(lambda: self._take("name")))
        self._take("mark", value=")")
        return [(privilege, column) for column in columns]

    def _object(self) -> tuple[str, Place]:
        words = []
        while self._next("word"):
            words.append(self._take("word"))
        kind = " ".join(words)
        if kind and kind not in _OBJECTS:
            raise UnreadableGrant("a row of SHOW GRANTS names an unknown kind of object")
        halves = [self._part()]
        self._take("mark", value=".")
        halves.append(self._part())
        if halves[0] is None and halves[1] is not None:
            raise UnreadableGrant("a row of SHOW GRANTS names an object of no database")
        return kind.removeprefix("TABLE"), tuple(half for half in halves if half is not None)

    def _part(self) -> str | None:
        if self._next("name"):
            return self._take("name")
        self._take("mark", value="*")
        return None

    def _name(self) -> Name:
        halves = [self._quoted()]
        if self._next("mark", value="@"):
            self._take("mark")
            halves.append(self._quoted())
        return tuple(halves)

    def _quoted(self) -> str:
        return self._take("name" if self._next("name") else "text")

    def _listed(self, one: Callable[[], T]) -> Iterator[T]:
        yield one()
        while self._next("mark", value=","):
            self._take("mark")
            yield one()

    def _word(self, *allowed: str) -> str:
        word = self._take("word")
        if word not in allowed:
            raise UnreadableGrant("a row of SHOW GRANTS has another form than was expected")
        return word

    def _next(self, *kinds: str, value: str | None = None) -> bool:
        found = self._line.look()
        return found is not None and found[0] in kinds and value in (None, found[1])

    def _take(self, kind: str, value: str | None = None) -> str:
        if not self._next(kind, value=value):
            raise UnreadableGrant("a row of SHOW GRANTS has another form than was expected")
        found = self._line.look()
        assert found is not None
        self._line.skip()
        return found[1]


def missing(model: set[Right], held: set[Right]) -> set[Right]:
    """Return what the model has and the other lacks on the very same place."""
    return {right for right in model if not any(_covers(one, right) for one in held)}


def excess(model: Grants, held: Grants) -> list[str]:
    """Return, in words, what the other may do and the model may not, at this place or a wider one."""
    places = {right.place for right in model.withheld}
    wide = {one for one in model.rights if one.place or not places}
    known = [wide | model.rights & {right} for right in held.rights]
    found = sorted(
        right.words
        for right, among in zip(held.rights, known, strict=True)
        if not any(_reaches(one, right) for one in among)
    )
    everywhere = {right.privilege for right in held.rights if not right.place}
    found += sorted(one.words for one in model.withheld - held.withheld if one.privilege in everywhere)
    for mine, theirs, what in (
        (model.roles, held.roles, "the role"),
        (model.proxied, held.proxied, "PROXY ON"),
    ):
        found += [
            f"{what} {quoted(name)}" + " with its option" * option
            for name, option in sorted(theirs)
            if (name, True) not in mine and (name, option) not in mine
        ]
    return found


def _covers(one: Right, right: Right) -> bool:
    same = (one.place, one.kind) == (right.place, right.kind) and (one.option or not right.option)
    whole = one.privilege == _ALL and one.column is None
    return same and (whole or (one.privilege, one.column) == (right.privilege, right.column))


def _reaches(one: Right, right: Right) -> bool:
    """Tell whether `one` allows what `right` does, be it on a wider place. `*.*` holds no dynamic privilege of another name."""
    wider = one.place == right.place[: len(one.place)] and one.kind in {"", right.kind}
    named = one.privilege in {right.privilege, _ALL} or right.privilege == _NOTHING
    return wider and named and one.column in {None, right.column} and (one.option or not right.option)


def granting(rights: Iterable[Right], account: Name) -> Iterator[tuple[str, list[Right]]]:
    """Yield the statements that grant them to an account, one for each place, and what each of them grants."""
    groups: dict[tuple[Place, str, bool], list[Right]] = {}
    for right in sorted(rights, key=_order):
        groups.setdefault((right.place, right.kind, right.option), []).append(right)
    for (place, kind, option), group in groups.items():
        suffix = " WITH GRANT OPTION" if option else ""
        yield f"GRANT {_said(group)} ON {_placed(kind, place)} TO {quoted(account)}{suffix}", group


def withholding(rights: Iterable[Right], account: Name) -> Iterator[str]:
    """Yield the statements of partial revokes."""
    for right in sorted(rights, key=_order):
        yield f"REVOKE {_said([right])} ON {_placed(right.kind, right.place)} FROM {quoted(account)}"


def quoted(name: Sequence[str]) -> str:
    """Return a name, or the halves of one, as identifiers in backticks."""
    return "@".join(identifier(part) for part in name)


def identifier(name: str) -> str:
    """Return one identifier in backticks."""
    return "`{}`".format(name.replace("`", "``"))


def _order(right: Right) -> tuple[Place, str, str, str, bool]:
    return right.place, right.kind, right.privilege, right.column or "", right.option


def _said(group: Sequence[Right]) -> str:
    whole = {right.privilege for right in group if right.column is None}
    columns: dict[str, list[str]] = {right.privilege: [] for right in group}
    for right in group:
        if right.column is not None and right.privilege not in whole:
            columns[right.privilege].append(identifier(right.column))
    return ", ".join(
        privilege + (f" ({', '.join(named)})" if named else "") for privilege, named in columns.items()
    )


def _placed(kind: str, place: Place) -> str:
    parts = [identifier(part) for part in place] + ["*"] * (2 - len(place))
    return f"{kind} " * bool(kind) + ".".join(parts)
