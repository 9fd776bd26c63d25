"""Where a view finds its store: beside it on a disk, or behind a URL, whichever machine opens it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from distillkit.errors import StoreError
from distillkit.hidden import public
from distillkit.store.bucket.remote import mirrored, origin
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
        found = mirrored(name, digest)
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
