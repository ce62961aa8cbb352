"""The surface of the room."""

from __future__ import annotations

from turnlock import keys


def test_every_exported_name_is_there_in_order() -> None:
    assert keys.__all__ == sorted(keys.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(keys, name) for name in keys.__all__)
