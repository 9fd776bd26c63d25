"""Lines for people name a store of a bucket by its URL, never by the folder that stands for it on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from distillkit.errors import NoHome, StoreError
from distillkit.store.bucket.cache import folder
from distillkit.store.bucket.remote import shown


def by_url(line: str) -> str:
    """`line` with the URLs of stores in place of their folders here. Single files below keep their paths: what is said
    of one is of the file that lies here.
    """
    if "/remote/" not in line:
        return line
    try:
        ours = re.escape(f"{folder()}/")
    except NoHome:
        return line  # without a cache nothing is in it
    return re.sub(rf"{ours}[^\s'\":;,()]+", lambda found: _shown(found[0]), line)


def _shown(place: str) -> str:
    try:
        return shown(Path(place)) if Path(place).is_dir() else place
    except (OSError, StoreError):  # the line may be about just that
        return place
