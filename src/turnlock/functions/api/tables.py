"""Lambda's tables. A row that decides anything keeps its whole value in `body` (JSON) under `mac`."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, Text

from turnlock.storage import Moment, metadata


def _home() -> tuple[Column[str], Column[str]]:
    return Column("account_id", String(12), primary_key=True), Column("region", String(32), primary_key=True)


def _kept() -> tuple[Column[str], Column[bytes]]:
    return Column("body", Text, nullable=False), Column("mac", LargeBinary, nullable=False)


functions = Table("functions", metadata, *_home(), Column("name", String(64), primary_key=True), *_kept())

function_versions = Table(
    "function_versions",
    metadata,
    *_home(),
    Column("name", String(64), primary_key=True),
    Column("version", String(16), primary_key=True),
    Column("code_id", String(64), nullable=False),
    *_kept(),
    Index("ix_function_versions_code", "account_id", "region", "code_id"),
)

function_aliases = Table(
    "function_aliases",
    metadata,
    *_home(),
    Column("name", String(64), primary_key=True),
    Column("alias", String(128), primary_key=True),
    *_kept(),
)

function_policies = Table(
    "function_policies",
    metadata,
    *_home(),
    Column("name", String(64), primary_key=True),
    Column("qualifier", String(128), primary_key=True),
    *_kept(),
)

function_code = Table(
    "function_code",
    metadata,
    *_home(),
    Column("code_id", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""Packages, each under its own hash: a changed one is not what a version names."""

function_events = Table(
    "function_events",
    metadata,
    *_home(),
    Column("event_id", String(36), primary_key=True),
    Column("sealed_event", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Moment, nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
)
"""Asynchronous invocations that were promised and are not done."""
