from __future__ import annotations

from turnlock import functions


def test_the_surface_names_what_exists_once() -> None:
    assert len(set(functions.__all__)) == len(functions.__all__)
    assert all(hasattr(functions, name) for name in functions.__all__)
