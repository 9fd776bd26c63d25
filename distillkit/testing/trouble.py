"""What befalls a command on its way: it is killed, the disk is full, or another process has its shards."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from hypothesis import strategies as st

from distillkit.system.atomic import make_folder

Trouble = tuple[Literal["killed", "disk full"], int] | None

_HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "ab")
for shard in sys.argv[2:]:
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 1 + int(shard))
print("held", flush=True)
sys.stdin.read()
"""


class Killed(BaseException):
    """The process is gone."""


def troubles() -> st.SearchStrategy[Trouble]:
    """Mostly none; else what happens, and after how many fsyncs."""
    bad: st.SearchStrategy[Any] = st.tuples(st.sampled_from(["killed", "disk full"]), st.integers(0, 40))
    return st.one_of(st.none(), bad)


@contextmanager
def befalling(trouble: Trouble) -> Iterator[None]:
    """From some fsync on each raises Killed, or says that the disk is full."""
    real, left = os.fsync, trouble[1] if trouble else 0

    def failing(handle: Any) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            real(handle)
        elif trouble and trouble[0] == "killed":
            raise Killed
        else:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch.object(os, "fsync", failing if trouble else real):
        yield


@contextmanager
def another_process_has(store: Path, shards: Collection[int]) -> Iterator[None]:
    """Another process has claimed these shards of a store, and lives as long as this."""
    make_folder(store.parent)
    command = [sys.executable, "-S", "-c", _HOLDER, str(store.parent / f".{store.name}.lock"), *map(str, shards)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            holder.stdin.close()
