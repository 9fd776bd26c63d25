"""A shard that another folder has already, taken over as it is: linked where the disk is the same, else copied."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from distillkit.errors import StoreError
from distillkit.store.format.maker import how_again
from distillkit.store.format.manifest import Shard, file_digest
from distillkit.store.writing.commits import commit_of, commit_path
from distillkit.store.writing.stamps import place
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.atomic import atomic_file, make_folder, sync

# What link() answers where it cannot: another disk, a file system without links, too many of them.
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


def adopt(writer: StoreWriter, folder: Path, shard: int, record: Shard, *, check: bool = True) -> None:
    """Take over the shard of that number from `folder`. StoreError names a file that is not as it was written.

    `check`: read every byte; else a file need only be there, and of the right size.

    No file of a store is ever changed in place, so two stores may share one.
    """
    for name, want in record.files.items():
        path, target = folder / name, writer.path / name
        there = path.is_file() and path.stat().st_size == want.bytes
        if not there or (check and file_digest(path) != want):
            raise StoreError(
                f"{path}: missing, or not as it was written; make that shard again first: {how_again(folder)}"
            )
        _share(path, target, writer.path)
    if (stamps := folder / place(shard)).is_file():
        _share(stamps, writer.path / place(shard), writer.path)
    writer.home.prove(commit_path(shard), commit_of(record), writer.refuse_another_store)


def _share(path: Path, target: Path, store: Path) -> None:
    """One file under two names, or, where the disk cannot, a copy."""
    make_folder(target.parent, store)
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with path.open("rb") as source, atomic_file(target, within=store) as copy:
            shutil.copyfileobj(source, copy)
    else:
        sync(target.parent)
