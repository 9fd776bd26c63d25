"""Folders that go, also on disks that keep what is open: file servers and FUSE give a file that is removed while some
process has it open another name, and take that away when it is closed. Until then its folder cannot go.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY)
_KEPT = re.compile(r"\.nfs[0-9a-fA-F]+|\.fuse_hidden[0-9a-fA-F]+")


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; OSError where something stays that is not such a file. With one, folders stay."""
    shutil.rmtree(folder, onerror=_unless_kept)


def remove_empty(folder: Path) -> None:
    """Remove a folder that has no file any more; it stays, too, around what is still open."""
    try:
        folder.rmdir()
    except OSError as error:
        if not _kept(error, folder):
            raise


def _unless_kept(_call: Callable[..., Any], place: str, told: tuple[Any, BaseException, Any]) -> None:
    if not isinstance(error := told[1], OSError) or not _kept(error, Path(place)):
        raise error


def _kept(error: OSError, place: Path) -> bool:
    """Whether an error only says that something below is open; other names there are of others, who write now."""
    if error.errno not in _NOT_EMPTY:
        return False
    files = [place] if not place.is_dir() else [one for one in place.rglob("*") if not one.is_dir()]
    return bool(files) and all(_KEPT.fullmatch(one.name) for one in files)
