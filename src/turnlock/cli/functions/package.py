"""A directory as a package."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

from turnlock.errors import ConfigurationError

_LEFT_OUT: Final = frozenset({"__pycache__", ".git", ".venv", "node_modules/.cache"})


def package(directory: Path) -> bytes:
    """Return the directory's files as a zip file, hidden and compiled ones left out. Raises ConfigurationError for none."""
    made, count = io.BytesIO(), 0
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory)
            if path.is_file() and not _LEFT_OUT & {*name.parts} and not name.name.startswith("."):
                archive.write(path, str(name))
                count += 1
    if not count:
        raise ConfigurationError(f"{directory} holds no file.")
    return made.getvalue()
