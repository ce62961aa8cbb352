"""The benchmark lies beside the package, not in it: the project's directory must be on the path."""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = str(Path(__file__).parents[2])

if PROJECT not in sys.path:
    sys.path.append(PROJECT)
