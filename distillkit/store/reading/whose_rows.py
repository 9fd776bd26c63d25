"""Where a view finds its store: beside it on a disk, or behind a URL, whichever machine opens it."""

from __future__ import annotations

import errno
import glob
import os
from pathlib import Path

from distillkit.errors import StoreError
from distillkit.hidden import public
from distillkit.store.bucket.cache import folder as cache_folder
from distillkit.store.bucket.remote import origin
from distillkit.store.format.manifest import FILE_NAME, Manifest
from distillkit.system.remote import is_remote
from distillkit.system.wording import as_word


def named(store: Path, view: Path) -> str:
    """What the view at `view` calls its store: its URL, if it has one, as the folder that stands for it is of this
    machine's cache and may go; else the way from the view to it.
    """
    there = origin(store.absolute())
    return os.path.relpath(store.absolute(), view.absolute()) if there is None else there.url


def place(view: Path, name: str, digest: str) -> Path:
    """Where the store of that name can be opened. ValueError for a name that no disk could have; StoreError for a URL
    that nobody has opened here: a view, which may be a stranger's, has nothing fetched that no command names.
    """
    if is_remote(name):
        found = _mirrored(name, digest)
        if found is None:
            told = f"{view}: is a view of {public(name)}, which this machine has not opened yet"
            raise StoreError(f"{told}; open it once: distillkit store info {as_word(public(name))}")
        return found
    found = Path(os.path.normpath(view / name))
    try:
        found.exists()
    except OSError as error:  # any other is told where the store is opened
        if error.errno == errno.ENAMETOOLONG:
            raise ValueError(f"the name of its store: {error.strerror}") from error
    return found


def _mirrored(url: str, digest: str) -> Path | None:
    """The folder that stands for the store at a URL, as somebody here has opened it: the one of that digest, or of what
    was opened last; None where there is none.
    """
    found = [
        mirror
        for mirror in cache_folder().glob(f"{glob.escape(url.rpartition('/')[2])}-*")
        if (mirror / FILE_NAME).is_file() and (there := origin(mirror)) is not None and there.url == url
    ]
    found.sort(key=lambda mirror: (mirror / FILE_NAME).stat().st_mtime)
    same = [mirror for mirror in found if Manifest.read(mirror).digest == digest]
    return (same or found)[-1] if found else None
