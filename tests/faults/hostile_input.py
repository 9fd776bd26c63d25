"""One hostile input after the other, given to who reads it."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distillkit.errors import DistillkitError
from tests.faults.hostile import mutated
from tests.faults.targets import TARGETS

PATIENCE = 20  # seconds an input
_MEMORY = 1 << 30  # bytes that the process may come to have more than when the reader was made
_ADDRESSES = 8 << 30  # ... and may ask for, threads' stacks and all: the machine is to outlive what asks for more


class Reader:
    """The reader of a target, in a world of its own at `folder`, which is a copy of `world`."""

    def __init__(self, world: Path, folder: Path, name: str):
        self.name, self.target, self.world, self.folder = name, TARGETS[name], world, folder
        self.original = (world / self.target.file).read_bytes()
        shutil.copytree(world, folder)
        self._peak = _peak()

    def changed(self, seed: int) -> bytes:
        """What others have written, changed at random."""
        return mutated(self.original, seed, self.target.last)

    def given(self, content: bytes, what: str) -> None:
        """As `read`, and AssertionError for a hang, and for more memory than a small file can ask for."""
        before = signal.signal(signal.SIGALRM, _late)
        signal.alarm(PATIENCE)
        try:
            with _no_more_than(_ADDRESSES):
                self.read(content, what)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        grown = _peak() - self._peak
        assert grown < _MEMORY, f"{self.name}, {what}: it took {grown / 2**20:,.0f} MB"

    def read(self, content: bytes, what: str) -> None:
        """AssertionError, which names `what`, for anything but rows or a refusal in one line."""
        if self.target.changes:
            shutil.rmtree(self.folder / self.target.changes)
            shutil.copytree(self.world / self.target.changes, self.folder / self.target.changes)
        (self.folder / self.target.file).write_bytes(self.target.sealed(content))
        try:
            self.target.use(self.folder)
        except DistillkitError as error:
            assert "\n" not in str(error).strip(), f"{self.name}, {what}: more than one line: {error}"
        except Exception as error:
            raise AssertionError(f"{self.name}, {what}: {error!r}") from error


def _peak() -> int:
    """The most bytes that the process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _no_more_than(more: int) -> Iterator[None]:
    """Allocations that go beyond what the process has by more than that are refused, which is a MemoryError."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    allowed = [limit for limit in limits if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([now + more, *allowed]), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _late(*_: Any) -> None:
    raise AssertionError("it hangs")
