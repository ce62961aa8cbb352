"""The surface of the room."""

from __future__ import annotations

from turnlock import identity


def test_every_exported_name_is_there_in_order() -> None:
    assert identity.__all__ == sorted(identity.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(identity, name) for name in identity.__all__)
