"""A view that a later version made is told from a damaged one: nobody writes over it unasked."""

from __future__ import annotations

from pathlib import Path

from distillkit.errors import StoreError
from distillkit.system.atomic import parsed_json


def refuse_newer(file: Path, known: int) -> None:
    """StoreError where `file`, a view.json, is of a later version than the one that is `known`."""
    try:
        facts = parsed_json(file.read_bytes())
        newer = facts["format"] == "distillkit-view" and facts["version"] > known
    except (OSError, ValueError, KeyError, TypeError):  # none, or of no use
        return
    if newer:
        told = f"is a view of version {facts['version']}, which a newer distillkit made (here: {known})"
        raise StoreError(f"{file.parent}: {told}; use that one, name another place, or add --overwrite")
