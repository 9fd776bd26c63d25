"""Whether a kept index is the one that was written: FAISS follows whatever a file says, be it out of its memory.

index.json holds what the index was made from and, as `file`, the size and sha256 of index.faiss. They help against
damage alone: who gives away a folder writes both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distillkit.callable import Say
from distillkit.store.format.manifest import file_digest
from distillkit.system.atomic import parsed_json, remove_file

FILE = "file"


def made_from(told: Path) -> dict[str, Any]:
    """What index.json says that the index was made from."""
    content: dict[str, Any] = parsed_json(told.read_bytes())
    return {key: value for key, value in content.items() if key != FILE}


def with_digest(identity: dict[str, Any], index: Path) -> dict[str, Any]:
    """What index.json is to say once the index is written."""
    return identity | {FILE: file_digest(index).model_dump()}


def forget_damaged(told: Path, index: Path, identity: dict[str, Any], say: Say) -> None:
    """Remove index.json where the index beside it is not the one that was written, so that it is made anew.

    An index of an older version, which has no checksum, is made anew, too; one that was made from something else stays.
    """
    if not told.is_file():
        return
    try:
        made, have = made_from(told), parsed_json(told.read_bytes()).get(FILE)
    except (ValueError, AttributeError):  # no JSON, or no table
        made, have = identity, "damaged"
    if made != identity:
        return
    if have is None:
        why = "an older version kept it without a checksum"
    elif not index.is_file() or file_digest(index).model_dump() != have:
        why = "damaged"
    else:
        return
    say(f"{index}: {why}; the index is made again")
    remove_file(told)
