"""Where a store that takes another one's place is made, and the moment in which neither lies there.

.NAME.appending/NAME    the successor of NAME: no part of it before it is complete and has its name
"""

from __future__ import annotations

from pathlib import Path


def beside(path: Path) -> Path:
    """Where the successor of a store is made. Its folder has the store's name, because the manifest tells it."""
    return path.parent / f".{path.name}.appending" / path.name


def between(path: Path) -> bool:
    """Whether a run died when the old store was set aside and its complete successor had not its name yet."""
    return (beside(path) / "manifest.json").is_file() and not path.exists()
