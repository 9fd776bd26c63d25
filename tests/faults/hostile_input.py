"""One hostile input after the other, given to who reads it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

from distillkit.errors import DistillkitError
from tests.faults.targets import TARGETS

PATIENCE = 20  # seconds an input


class Reader:
    """The reader of a target, in a world of its own at `folder`, which is a copy of `world`."""

    def __init__(self, world: Path, folder: Path, name: str):
        self.name, self.target, self.world, self.folder = name, TARGETS[name], world, folder
        self.original = (world / self.target.file).read_bytes()
        shutil.copytree(world, folder)

    def given(self, content: bytes, what: str) -> None:
        """As `read`, and AssertionError for a hang."""
        before = signal.signal(signal.SIGALRM, _late)
        signal.alarm(PATIENCE)
        try:
            self.read(content, what)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    def read(self, content: bytes, what: str) -> None:
        """AssertionError, which names `what`, for anything but rows or a refusal in one line."""
        if self.target.changes:
            shutil.rmtree(self.folder / self.target.changes)
            shutil.copytree(self.world / self.target.changes, self.folder / self.target.changes)
        (self.folder / self.target.file).write_bytes(content)
        try:
            self.target.use(self.folder)
        except DistillkitError as error:
            assert "\n" not in str(error).strip(), f"{self.name}, {what}: more than one line: {error}"
        except Exception as error:
            raise AssertionError(f"{self.name}, {what}: {error!r}") from error


def _late(*_: Any) -> None:
    raise AssertionError("it hangs")
