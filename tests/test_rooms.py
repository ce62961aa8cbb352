"""The rooms' surfaces."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import turnlock

ROOMS = sorted(path.parent.name for path in Path(turnlock.__path__[0]).glob("*/__init__.py"))


@pytest.mark.parametrize("name", ROOMS)
def test_every_exported_name_is_there_in_order(name: str) -> None:
    room = importlib.import_module(f"turnlock.{name}")
    exported = getattr(room, "__all__", [])
    assert exported == sorted(exported, key=lambda one: (not one.isupper(), not one[0].isupper(), one))
    assert all(hasattr(room, one) for one in exported)
