"""Files that belong together: what is there of them is of one time, whatever happens to the process."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from distillkit.system.atomic import atomic_file, noticing_a_full_disk, remove_file


def write_together(files: Mapping[Path, Callable[[BinaryIO], object]], without: Sequence[Path] = ()) -> None:
    """Write each file by its function, all of them under temporary names; then the old ones go, and the new ones come.

    They come in this order, so the last is the one without which the others mean nothing. An error, as DiskFull, leaves
    the old ones; a kill may leave fewer than all, but never old beside new. `without`: what belonged to the old ones,
    and is not written this time. Whoever writes the same files at once is kept out by the caller.
    """
    with ExitStack() as stack:
        held = {}
        for path, write in reversed([*files.items()]):  # who enters first comes last
            held[path] = stack.enter_context(atomic_file(path))
            with noticing_a_full_disk(path):
                write(held[path])
                held[path].flush()
                os.fsync(held[path].fileno())
        old = [] if all(_there(path, file) for path, file in held.items()) else list(held)
        for path in (*old, *without):
            remove_file(path)


def _there(path: Path, file: BinaryIO) -> bool:
    """Whether these very bytes are there already: then nobody who reads them now needs to miss them."""
    return path.is_file() and filecmp.cmp(file.name, path, shallow=False)
