"""An epoch of a store that is in no cache, by block shuffle, against reading its files from end to end."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

from distillkit.store.reading.reader import FeatureStore
from tests.bench.measure import Row, compare
from tests.bench.stores import BATCH, WIDTH, make_store


def run(folder: Path, quick: bool) -> list[Row]:
    if not hasattr(os, "posix_fadvise"):
        return [Row("cold epoch by block shuffle / reading the same files", ">= 0.8", note="needs posix_fadvise")]
    rows, shard = (65_536, 8_192) if quick else (1_000_000, 65_536)
    path = make_store(folder / "store", rows, shard).path
    files = sorted(path.glob("bench/image/c/*/0"), key=lambda file: int(file.parent.name))
    buffer = memoryview(bytearray(8 << 20))
    pool = {"pool": rows // 8} if quick else {}

    def ours() -> None:
        seen = 0
        for numbers, features in FeatureStore(path).blocks(["image"], BATCH, **pool):
            seen += len(features["image"])
            assert len(numbers) == len(features["image"])
        assert seen == rows

    def theirs() -> None:
        for file in files:
            with file.open("rb", buffering=0) as raw:
                while raw.readinto(buffer):
                    pass

    def prepare() -> None:
        gc.collect()  # a file that is mapped stays in the cache
        for file in files:
            _forget(file)

    return [
        compare(
            f"cold epoch of {WIDTH} fp16 by block shuffle, batches of {BATCH} / reading the same files",
            ours,
            theirs,
            goal=0.8,
            amount=rows,
            unit="rows/s",
            rounds=2 if quick else 7,
            prepare=prepare,
        )
    ]


def _forget(path: Path) -> None:
    """Take a file out of the page cache, and see that it is: the kernel may need a moment to let go."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        for _ in range(50):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            if not _cached(handle, path.stat().st_size // 2):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{path} stays in the page cache")
    finally:
        os.close(handle)


def _cached(handle: int, place: int) -> bool:
    try:
        return os.preadv(handle, [bytearray(4096)], place, os.RWF_NOWAIT) > 0
    except OSError:
        return False  # it would have to wait, or the file system cannot say
