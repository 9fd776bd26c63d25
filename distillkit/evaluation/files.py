"""What lies in the files that an eval names by their place and its answers hang on: masks, lists, names of classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError
from distillkit.evals._encode import OpenStore
from distillkit.store.format.manifest import file_digest
from distillkit.system.progress import hearer, paced

_LOOKED = 64  # files between two words on how far it is


class Contents:
    """sha256 of files, each read once in its life, which is that of one command: a file may change before the next."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, measure: Any, open_store: OpenStore) -> dict[str, str]:
        """By the knob that names them: of the names and contents of an eval's files; nothing of one that names none."""
        named = measure.files(open_store) if hasattr(measure, "files") else {}
        return {knob: self._of(knob, files) for knob, files in named.items()}

    def _of(self, knob: str, files: Iterable[Path]) -> str:
        """Names are below the folder that all lie in: the same files elsewhere are the same."""
        every = sorted({Path(file).absolute() for file in files})
        root = os.path.commonpath([file.parent for file in every]) if every else ""
        made = hashlib.sha256()
        for start in paced(f"{root}: files of {knob} looked at", len(every), _LOOKED, hearer()):
            for file in every[start : start + _LOOKED]:
                made.update(os.fsencode(file.relative_to(root).as_posix()) + b"\0" + self._sha256(file).encode())
        return made.hexdigest()

    def _sha256(self, file: Path) -> str:
        if file not in self._known:
            try:
                self._known[file] = file_digest(file).sha256
            except OSError as error:
                raise StoreError(f"{file}: cannot be read ({error.strerror}); mend it, or name another") from error
        return self._known[file]
