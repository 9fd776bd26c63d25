"""Random rows of a store against other readers of the same rows. `pip install "distillkit[bench]"` brings the peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from distillkit.store.reading.reader import FeatureStore
from tests.bench.measure import Row, compare, not_installed
from tests.bench.stores import BATCH, WIDTH, make_store, random_batches

Read = Callable[[np.ndarray], object]


def run(folder: Path, quick: bool) -> list[Row]:
    """Each as it comes, with the threads that it starts by itself."""
    rows, shard = (16_384, 4_096) if quick else (1_000_000, 65_536)
    store = make_store(folder / "store", rows, shard)
    peers = (
        ("tensorstore on the same files", "tensorstore", _tensorstore, 50, 10),
        ("Lance", "lance", _lance, 50, 10),
        ("TinyViT's reader", "numpy", _tinyvit, 25, 20),
        ("WebDataset, which only shuffles 10,000 rows", "webdataset", _webdataset, 300, 4),
        ("zarr-python (oindex) on the same files", "zarr", _zarr, 1000, 1),
    )
    return [_row(store, folder, *peer, quick) for peer in peers]


def _row(
    store: FeatureStore,
    folder: Path,
    title: str,
    package: str,
    open_peer: Callable[[FeatureStore, Path], Read],
    goal: float,
    count: int,
    quick: bool,
) -> Row:
    name = f"random gather of {BATCH} x {WIDTH} fp16 / {title}"
    if find_spec(package) is None:
        return not_installed(name, goal)
    batches = random_batches(len(store), 20 if quick else 200)
    fewer = batches[: 1 if quick else count]
    out = torch.empty(BATCH, WIDTH, dtype=torch.float16)
    read = open_peer(store, folder)

    def ours() -> None:
        for batch in batches:
            store.read("image", batch, out=out)

    def theirs() -> None:
        for batch in fewer:
            read(batch)

    amounts = {"amount": BATCH * len(batches), "their_amount": BATCH * len(fewer)}
    return compare(name, ours, theirs, goal=goal, **amounts, unit="rows/s", rounds=2 if quick else 9)


def _checked(read: Callable[[np.ndarray], np.ndarray], store: FeatureStore) -> Read:
    rows = np.array([5, 0, len(store) - 1])
    np.testing.assert_array_equal(read(rows), store.read("image", rows).numpy())
    return read


def _field(store: FeatureStore) -> Path:
    return store.path / store.field_name("image")


def _tensorstore(store: FeatureStore, folder: Path) -> Read:
    import tensorstore

    place = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(_field(store))}}
    array = tensorstore.open(place, read=True, open=True).result()
    return _checked(lambda rows: array[rows].read().result(), store)


def _zarr(store: FeatureStore, folder: Path) -> Read:
    import zarr

    array = zarr.open_array(_field(store), mode="r")
    return _checked(lambda rows: array.oindex[rows], store)


def _lance(store: FeatureStore, folder: Path) -> Read:
    import lance
    import pyarrow as pa

    schema = pa.schema([("image", pa.list_(pa.float16(), WIDTH))])

    def batches() -> Iterator[pa.RecordBatch]:
        for rows in np.array_split(np.arange(len(store)), max(len(store) // 65_536, 1)):
            values = pa.array(store.read("image", rows).numpy().reshape(-1))
            yield pa.record_batch([pa.FixedSizeListArray.from_arrays(values, WIDTH)], schema)

    dataset = lance.write_dataset(batches(), str(folder / "lance"), schema)

    def read(rows: np.ndarray) -> np.ndarray:
        return dataset.take(rows)["image"].combine_chunks().flatten().to_numpy().reshape(len(rows), WIDTH)

    return _checked(read, store)


def _tinyvit(store: FeatureStore, folder: Path) -> Read:
    """One open file, a dict from key to place, and for every sample a seek, a read and a copy; then they are stacked.

    After https://github.com/microsoft/Cream/tree/main/TinyViT (data/augmentation/manager.py).
    """
    keys = store.index["key"].to_pylist()
    place, size = {key: number for number, key in enumerate(keys)}, store.field("image").row_bytes
    path = folder / "values.bin"
    with path.open("wb") as file:
        for rows in np.array_split(np.arange(len(store)), max(len(store) // 65_536, 1)):
            file.write(store.read("image", rows).numpy().tobytes())
    values = path.open("rb")

    def sample(key: str) -> np.ndarray:
        values.seek(place[key] * size)
        return np.frombuffer(values.read(size), np.float16).copy()

    def read(rows: np.ndarray) -> np.ndarray:
        return np.stack([sample(keys[row]) for row in rows.tolist()])

    return _checked(read, store)


def _webdataset(store: FeatureStore, folder: Path) -> Read:
    """A stream in the order of the tar, through a buffer of 10,000 rows: what it gives is not the rows asked for."""
    import webdataset

    count = min(len(store), 50_000)
    values = store.read("image", np.arange(count)).numpy()
    with webdataset.TarWriter(str(folder / "rows.tar")) as tar:
        for row in range(count):
            tar.write({"__key__": f"{row:08d}", "bin": values[row].tobytes()})
    stream = webdataset.WebDataset(str(folder / "rows.tar"), shardshuffle=False).repeat().shuffle(min(10_000, count))
    samples = iter(stream.map(lambda sample: np.frombuffer(sample["bin"], np.float16)))
    return lambda rows: np.stack([next(samples) for _ in rows])
