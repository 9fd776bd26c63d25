"""Writing a store to memory (tmpfs), checksums, index and commit included, against zarr-python and against raw npy."""

from __future__ import annotations

import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import zarr

from distillkit.store.format.field import Field
from distillkit.store.writing.fill import fill
from distillkit.store.writing.writer import StoreWriter
from tests.bench.measure import Row, at_most, compare
from tests.bench.stores import WIDTH, plan

_FIELD = Field(teacher="bench", shape=[WIDTH], dtype="float16")
_IDENTITY = {"source": {"kind": "bench", "knobs": {}, "root": None}, "teachers": {"bench": {}}, "views": {}}


def run(folder: Path, quick: bool) -> list[Row]:
    shard, shards = (4_096, 2) if quick else (65_536, 6)
    block = np.random.default_rng(1).standard_normal((shard, WIDTH), dtype=np.float32).astype(np.float16)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else folder) as place:
        return _rows(Path(place), block, shards, 2 if quick else 7)


def _rows(place: Path, block: np.ndarray, shards: int, rounds: int) -> list[Row]:
    def clear() -> None:
        for path in place.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    keys = plan(0, len(block) * shards)

    def ours() -> None:
        _store(place / "store", block, keys)

    def theirs() -> None:
        shape, inner = (len(block) * shards, WIDTH), (64, WIDTH)
        array = zarr.create_array(
            place / "zarr", shape=shape, shards=block.shape, chunks=inner, dtype="f2", compressors=None, fill_value=0
        )
        for first in range(0, shape[0], len(block)):
            array[first : first + len(block)] = block

    def raw() -> None:
        (place / "npy").mkdir()
        with (place / "npy/rows.npy").open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (len(block) * shards, WIDTH)}
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(shards):
                file.write(block.data)

    options = {"amount": block.nbytes * shards / 1e6, "unit": "MB/s", "rounds": rounds, "prepare": clear}
    size = f"{shards} x {len(block):,} rows of {WIDTH} fp16 in memory"
    speed = [
        compare(f"store write, {size} / zarr-python", ours, theirs, goal=4.5, **options),
        compare(f"store write with sha256, {size} / raw npy", ours, raw, goal=0.65, **options),
    ]
    clear()
    peak = _peak(ours) / block.nbytes
    return [
        *speed,
        at_most("store write: private memory beside the shards it is given", [peak], 1, "shards"),
        *_sizes(place, block.nbytes * shards),
    ]


def _store(path: Path, block: np.ndarray, keys: pa.Table) -> None:
    writer = StoreWriter(path, keys, {"bench/image": _FIELD}, len(block), _IDENTITY)
    fill(writer, lambda first, stop: ({"bench/image": block}, []), {})


def _sizes(place: Path, payload: int) -> list[Row]:
    """Everything in the store's folder but the corpus (keys and texts) and the rows themselves."""
    store = place / "store"
    sizes = {path.relative_to(store).as_posix(): path.stat().st_size for path in store.rglob("*") if path.is_file()}
    corpus = {name for name in sizes if name.startswith("index/") or name == "plan.arrow"}
    extra = sum(size for name, size in sizes.items() if name not in corpus) - payload
    per_million = -(-1_000_000 // 65_536) + 1
    return [
        at_most("store overhead, without keys and texts", [100 * extra / payload], 0.1, "%"),
        at_most(f"files of a field for 1,000,000 x {WIDTH} fp16", [per_million], 20, "files"),
    ]


def _peak(work) -> float:
    """Bytes of private memory that the process takes more, at most, while it works."""
    before, most, done = _private(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            most[0] = max(most[0], _private() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return most[0]


def _private() -> int:
    with suppress(FileNotFoundError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return 0
